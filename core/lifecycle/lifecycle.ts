import type { Logger, Plugin } from '@loxilb/sdk';
import { configError, describeIssues } from '../config/schema.js';
import { withDeadline } from './deadline.js';
import { type Failure, LifecycleError, type Phase } from './failures.js';
import type { LoadedPlugin } from './load-plugins.js';
import { explainMissingService } from './missing-service.js';
import { orderPlugins } from './order-plugins.js';
import { PluginScope, type ScopeParts } from './plugin-scope.js';

export type PluginState = 'loaded' | 'set-up' | 'started' | 'stopped' | 'failed';

export interface PluginStatus {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly state: PluginState;
  readonly dependsOn: readonly string[];
}

export interface LifecycleOptions {
  readonly parts: ScopeParts;
  readonly log: Logger;
  /** Per plugin and phase. */
  readonly deadlineMs?: number;
}

interface Hosted {
  readonly plugin: Plugin;
  readonly source: string;
  readonly options: unknown;
  scope?: PluginScope;
  state: PluginState;
}

const DEADLINE_MS = 10_000;

/** Brings plugins up in dependency order and down in reverse. Each step tells all its failures at once. */
export class Lifecycle {
  readonly #hosted: readonly Hosted[];
  readonly #deadlineMs: number;

  /** @throws LifecycleError when the plugins do not fit together */
  constructor(
    loaded: readonly LoadedPlugin[],
    private readonly options: LifecycleOptions,
  ) {
    this.#hosted = orderPlugins(loaded).map((entry) => ({ ...entry, state: 'loaded' as const }));
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  }

  status(): PluginStatus[] {
    return this.#hosted.map(({ plugin, source, state }) => ({
      name: plugin.name,
      summary: plugin.summary,
      source,
      state,
      dependsOn: plugin.dependsOn ?? [],
    }));
  }

  /** Lets every plugin declare what it has. A failure releases all of them. */
  async setup(): Promise<void> {
    const failures: Failure[] = [];
    for (const hosted of this.#hosted) {
      const failed = this.#brokenDependency(hosted);
      if (failed === undefined) await this.#setupOne(hosted, failures);
      else hosted.state = 'failed';
    }
    if (failures.length === 0) return;
    const explained = failures.map((failure) => this.#explain(failure));
    await this.#releaseAll();
    throw new LifecycleError(explained);
  }

  async #setupOne(hosted: Hosted, failures: Failure[]): Promise<void> {
    const { plugin } = hosted;
    const config = plugin.config.safeParse(hosted.options ?? {});
    if (!config.success) {
      const error = configError(`options of ${hosted.source}`, describeIssues(plugin.config, config.error));
      fail(hosted, 'config', error, failures);
      return;
    }
    const scope = new PluginScope(plugin.name, config.data, this.options.parts);
    hosted.scope = scope;
    await this.#attempt(hosted, 'setup', () => plugin.setup(scope.context), failures);
    if (hosted.state !== 'failed') hosted.state = 'set-up';
  }

  /** A plugin whose dependency failed is not worth another line in the report. */
  #brokenDependency({ plugin }: Hosted): string | undefined {
    return plugin.dependsOn?.find(
      (name) => this.#hosted.find((other) => other.plugin.name === name)?.state === 'failed',
    );
  }

  #explain(failure: Failure): Failure {
    const ownerOf = (id: string) => this.options.parts.services.ownerOf(id);
    return { ...failure, error: explainMissingService(failure.plugin, failure.error, ownerOf) };
  }

  /** Runs the start hooks. A failure stops what was started, the half-started plugin included. */
  async start(): Promise<void> {
    const failures: Failure[] = [];
    for (const hosted of this.#hosted) {
      for (const hook of hosted.scope?.startHooks ?? []) {
        if (failures.length === 0) await this.#attempt(hosted, 'start', hook, failures);
      }
      if (failures.length > 0) {
        hosted.state = 'failed';
        await this.#stopFrom(hosted, failures);
        throw new LifecycleError(failures);
      }
      hosted.state = 'started';
      this.options.log.debug({ plugin: hosted.plugin.name }, 'plugin started');
    }
  }

  /** @throws LifecycleError naming every plugin that did not stop cleanly; all of them were tried */
  async stop(): Promise<void> {
    const failures: Failure[] = [];
    await this.#stopFrom(this.#hosted.at(-1), failures);
    if (failures.length > 0) throw new LifecycleError(failures);
  }

  async #stopFrom(last: Hosted | undefined, failures: Failure[]): Promise<void> {
    const started = last ? this.#hosted.slice(0, this.#hosted.indexOf(last) + 1) : [];
    for (const hosted of [...started].reverse()) {
      hosted.scope?.abort();
      for (const hook of [...(hosted.scope?.stopHooks ?? [])].reverse()) {
        await this.#attempt(hosted, 'stop', hook, failures);
      }
      if (hosted.state !== 'failed') hosted.state = 'stopped';
    }
    await this.#releaseAll();
  }

  async #releaseAll(): Promise<void> {
    for (const hosted of [...this.#hosted].reverse()) {
      hosted.scope?.abort();
      await hosted.scope?.release();
      delete hosted.scope;
    }
  }

  async #attempt(hosted: Hosted, phase: Phase, work: () => void | Promise<void>, failures: Failure[]): Promise<void> {
    try {
      await withDeadline(`${phase} of plugin ${hosted.plugin.name}`, this.#deadlineMs, work);
    } catch (error) {
      fail(hosted, phase, error, failures);
    }
  }
}

function fail(hosted: Hosted, phase: Phase, error: unknown, failures: Failure[]): void {
  hosted.state = 'failed';
  failures.push({ plugin: hosted.plugin.name, phase, error });
}
