import type { Mutations } from '../state/mutations.js';
import type { DesiredState } from '../state/store.js';
import type { AnyResource, CatalogOperation, CatalogResource } from './catalog.js';
import type { Route } from './route.js';

const SUCCESS = { result: 'Success' };

/** POST, GET and the DELETE forms of one resource. */
export function resourceRoutes(entry: CatalogResource, store: DesiredState, mutations: Mutations): Route[] {
  const { definition, plugin } = entry;
  return [postRoute(definition, plugin, mutations), listRoute(definition, plugin, store)].concat(
    definition.deletes.map((form) => ({
      method: 'DELETE',
      path: `${definition.path}${form.path}`,
      summary: form.summary,
      tag: plugin,
      access: 'write',
      ...(form.numbers && { numbers: form.numbers }),
      ...(form.query && { query: form.query }),
      audited: true,
      handle({ params, query, audit }) {
        audit.resource = definition.name;
        audit.keys = mutations.remove(definition, form, { params, query });
        return SUCCESS;
      },
    })),
  );
}

function postRoute(definition: AnyResource, plugin: string, mutations: Mutations): Route {
  return {
    method: 'POST',
    path: definition.path,
    summary: definition.summary,
    tag: plugin,
    access: 'write',
    body: { schema: definition.schema, name: definition.bodyName ?? 'attr', typeName: definition.kind },
    audited: true,
    handle({ body, audit }) {
      audit.resource = definition.name;
      audit.keys = mutations.post(definition, body);
      return SUCCESS;
    },
  };
}

function listRoute(definition: AnyResource, plugin: string, store: DesiredState): Route {
  return {
    method: 'GET',
    path: `${definition.path}/all`,
    summary: `List: ${definition.summary}`,
    tag: plugin,
    access: 'read',
    handle: () => ({ [definition.envelope]: definition.status([...store.section(definition.name).values()]) }),
  };
}

/** Audited like a mutation when it is one by its method. */
export function operationRoute({ plugin, spec }: CatalogOperation): Route {
  return {
    method: spec.method,
    path: spec.path,
    summary: spec.summary,
    tag: plugin,
    access: spec.access,
    ...(spec.body && { body: { schema: spec.body, name: 'attr', typeName: 'Body' } }),
    ...(spec.reply && { reply: spec.reply }),
    ...(spec.contentType && { contentType: spec.contentType }),
    audited: spec.method !== 'GET',
    handle: (request) => spec.handle(request),
  };
}
