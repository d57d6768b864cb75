import type {
  Hook,
  Logger,
  MapSpec,
  OperationSpec,
  PluginContext,
  ResourceDefinition,
  ResourceHandle,
  Token,
  WorkerSpec,
} from '@loxilb/sdk';
import type { Services } from '../container.js';
import type { DataPlaneBroker } from '../dataplane/index.js';
import type { AnyResource, Catalog } from '../router/catalog.js';
import type { DesiredState } from '../state/store.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { WorkerPools } from '../workers/worker-pools.js';
import { missingService } from './missing-service.js';

/** What the core lends to plugins. */
export interface ScopeParts {
  readonly broker: DataPlaneBroker;
  readonly catalog: Catalog;
  readonly metrics: Metrics;
  readonly workers: WorkerPools;
  readonly services: Services;
  readonly store: DesiredState;
  readonly log: (plugin: string) => Logger;
}

/** One plugin's context and everything it obtained through it. */
export class PluginScope {
  readonly startHooks: Hook[] = [];
  readonly stopHooks: Hook[] = [];
  readonly context: PluginContext<unknown>;
  readonly #abort = new AbortController();

  constructor(
    readonly plugin: string,
    config: unknown,
    private readonly parts: ScopeParts,
  ) {
    const { broker, catalog, metrics, workers, services, log } = parts;
    this.context = {
      config,
      log: log(plugin),
      signal: this.#abort.signal,
      dataplane: broker.dataplane,
      metrics: metrics.factory(plugin),
      map: <K, V>(spec: MapSpec<K, V>) => broker.claim(plugin, spec),
      view: <K, V>(spec: MapSpec<K, V>) => broker.view(plugin, spec),
      feature: (name, value = true) => broker.setFeature(plugin, name, value),
      resource: <S, W>(definition: ResourceDefinition<S, W>) => this.#addResource(definition),
      operation: (spec: OperationSpec) => catalog.addOperation(plugin, spec),
      workers: (spec: WorkerSpec) => workers.create(plugin, spec),
      provide: (token, implementation) => services.provide(plugin, token, implementation),
      use: <T>(token: Token<T>) => this.#use(token),
      useOptional: <T>(token: Token<T>) => services.find(token),
      onStart: (hook) => void this.startHooks.push(hook),
      onStop: (hook) => void this.stopHooks.push(hook),
    };
  }

  #addResource<S, W>(definition: ResourceDefinition<S, W>): ResourceHandle<S> {
    this.parts.catalog.addResource(this.plugin, definition as unknown as AnyResource);
    return { list: () => this.parts.store.section(definition.name) as ReadonlyMap<string, S> };
  }

  #use<T>(token: Token<T>): T {
    const service = this.parts.services.find(token);
    if (service === undefined) throw missingService(this.plugin, token.id);
    return service;
  }

  /** Tells the plugin's own loops to end. First step of stopping, before its hooks. */
  abort(): void {
    this.#abort.abort();
  }

  /** Takes back everything the plugin obtained. */
  async release(): Promise<void> {
    const { catalog, metrics, workers, services } = this.parts;
    catalog.release(this.plugin);
    metrics.release(this.plugin);
    services.release(this.plugin);
    await workers.release(this.plugin);
  }
}
