import type { CommandDescriptor, CommandSpec, RenderedTable } from '@loxilb/sdk';
import type { PluginStatus } from '../lifecycle/lifecycle.js';
import type { DesiredState } from '../state/store.js';
import { METRICS_CONTENT_TYPE, type Metrics } from '../telemetry/metrics.js';
import type { Catalog, CatalogResource } from './catalog.js';
import { pathNotFound } from './framework-error.js';
import { renderTable } from './render-table.js';
import { BASE_PATH, type Route } from './route.js';

export interface CoreRouteParts {
  readonly catalog: Catalog;
  readonly store: DesiredState;
  readonly metrics: Metrics;
  readonly plugins: () => readonly PluginStatus[];
}

const TAG = 'daemon';

/** What the daemon itself answers, whatever plugins are on. */
export function coreRoutes(parts: CoreRouteParts): Route[] {
  return [pluginsRoute(parts), metricsRoute(parts), commandsRoute(parts), tableRoute(parts)];
}

function pluginsRoute({ plugins }: CoreRouteParts): Route {
  return {
    method: 'GET',
    path: '/plugins',
    summary: 'Plugins that are enabled, and their state',
    tag: TAG,
    access: 'read',
    handle: () => ({ pluginAttr: plugins() }),
  };
}

function metricsRoute({ metrics }: CoreRouteParts): Route {
  return {
    method: 'GET',
    path: '/metrics',
    summary: 'Metrics in the text format of Prometheus',
    tag: TAG,
    access: 'read',
    contentType: METRICS_CONTENT_TYPE,
    handle: () => metrics.scrape(),
  };
}

function commandsRoute({ catalog }: CoreRouteParts): Route {
  return {
    method: 'GET',
    path: '/commands',
    summary: 'What loxicmd needs to know to serve the enabled plugins',
    tag: TAG,
    access: 'read',
    handle: () => ({ commands: catalog.resources.map(describeCommand) }),
  };
}

/** What the author wrote, or as much as can be told of commands that are functions. */
function describeCommand({ plugin, definition }: CatalogResource): CommandDescriptor {
  const { command } = definition;
  const get = command.get;
  return (
    command.descriptor ?? {
      name: command.name,
      aliases: command.aliases ?? [],
      kind: command.kind ?? definition.kind,
      kindAliases: command.kindAliases ?? [],
      plugin,
      path: definition.path,
      envelope: definition.envelope,
      summary: definition.summary,
      columns: get ? titles(get.narrow) : [],
      ...(get?.wide && { wideColumns: titles(get.wide) }),
    }
  );
}

function titles(table: NonNullable<CommandSpec['get']>['narrow']): string[] {
  return table.columns.map(({ title }) => title);
}

function tableRoute({ catalog, store }: CoreRouteParts): Route {
  return {
    method: 'GET',
    path: '/commands/:name/table',
    summary: 'The table of `loxicmd get <name>`, laid out by the daemon',
    tag: TAG,
    access: 'read',
    query: { wide: 'boolean' },
    handle({ params, query }): RenderedTable {
      const { wide, ...flags } = query;
      const found = catalog.resources.find(({ definition: { command } }) => isNamed(command, params.name ?? ''));
      const get = found?.definition.command.get;
      if (!found || !get) throw pathNotFound(`${BASE_PATH}/commands/${params.name}/table`);
      const desired = [...store.section(found.definition.name).values()];
      return renderTable(get, found.definition.status(desired), { wide: wide === 'true', flags });
    },
  };
}

function isNamed(command: CommandSpec, name: string): boolean {
  return command.name === name || (command.aliases?.includes(name) ?? false);
}
