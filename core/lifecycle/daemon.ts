import type { AddressInfo } from 'node:net';
import { type AttachedInterface, BUILD_INFO, type BuildInfo, type Logger, NETWORK, RAW_SENDER } from '@loxilb/sdk';
import type { FastifyInstance } from 'fastify';
import type { Config } from '../config/schema.js';
import { type Container, coreToken, createContainer, register, resolve, Services } from '../container.js';
import { createDataPlaneBroker, type DataPlaneBroker, followNetwork } from '../dataplane/index.js';
import { type ClosableNetwork, type ClosableRawSender, createNetwork, createRawSender } from '../netlink/index.js';
import { Catalog } from '../router/catalog.js';
import { coreRoutes } from '../router/core-routes.js';
import { docsHandler } from '../router/docs.js';
import { openApiDocument } from '../router/openapi.js';
import { operationRoute, resourceRoutes } from '../router/resource-routes.js';
import type { Route } from '../router/route.js';
import { createServer } from '../router/server.js';
import { Mutations } from '../state/mutations.js';
import { type DesiredState, EphemeralStore, FileStore } from '../state/store.js';
import { declareAttachmentMetrics, declareDataPlaneMetrics, declareProcessMetrics } from '../telemetry/core-metrics.js';
import { Metrics } from '../telemetry/metrics.js';
import { WorkerPools } from '../workers/worker-pools.js';
import { enableForwarding } from './forwarding.js';
import { Lifecycle } from './lifecycle.js';
import { loadPlugins } from './load-plugins.js';
import { reconcileResources } from './reconcile.js';
import { UndoStack } from './undo-stack.js';

export interface DaemonOptions {
  readonly config: Config;
  /** Paths of plugins are relative to it. */
  readonly configFile: string;
  readonly objectFile: string;
  readonly build: BuildInfo;
  readonly log: (name: string) => Logger;
}

const STORE = coreToken<DesiredState>('store');
const BROKER = coreToken<DataPlaneBroker>('broker');
const METRICS = coreToken<Metrics>('metrics');
const WORKERS = coreToken<WorkerPools>('workers');
const CATALOG = coreToken<Catalog>('catalog');
const SERVICES = coreToken<Services>('services');

/** Requests still running get this long when the daemon stops. */
const DRAIN_MS = 3_000;

/** The whole daemon in one object: `start` brings it up step by step, `stop` takes it down in reverse. */
export class Daemon {
  readonly #container: Container;
  readonly #undo = new UndoStack();
  readonly #log: Logger;
  #server: FastifyInstance | undefined;

  constructor(private readonly options: DaemonOptions) {
    this.#log = options.log('core');
    this.#container = composeCore(options);
  }

  /** Where the API listens, once it does. */
  get address(): AddressInfo | undefined {
    const address = this.#server?.server.address();
    return typeof address === 'object' ? (address ?? undefined) : undefined;
  }

  /** Resolves when packets are served and the API answers. A failure takes down what had come up. */
  async start(): Promise<void> {
    try {
      await this.#bringUp();
    } catch (error) {
      await this.#undo.unwind(this.#log);
      throw error;
    }
  }

  /** Pinned programs, maps and links stay: traffic goes on. */
  async stop(): Promise<readonly unknown[]> {
    return this.#undo.unwind(this.#log);
  }

  /**
   * Makes the data plane what it is with nothing desired - services, addresses, whatever plugins put anywhere - and
   * ends. Nothing is attached, and what is stored stays stored when the options say `ephemeral`.
   */
  async retract(): Promise<void> {
    try {
      await this.#program();
    } finally {
      await this.#undo.unwind(this.#log);
    }
  }

  async #bringUp(): Promise<void> {
    const { broker, network, lifecycle } = await this.#program();
    this.#attach(broker, network);
    if (this.options.config.api.enabled) await this.#listen(lifecycle);
  }

  /** Everything up to the point where the maps say what is desired. */
  async #program(): Promise<{ broker: DataPlaneBroker; network: ClosableNetwork; lifecycle: Lifecycle }> {
    const { config, configFile } = this.options;
    const store = this.#openStore();
    const broker = this.#openBroker();
    const [network, rawSender, plugins] = await Promise.all([
      this.#openNetwork(),
      this.#openRawSender(),
      loadPlugins(config.plugins, configFile),
    ]);
    const lifecycle = this.#createLifecycle(plugins, network, rawSender);
    await lifecycle.setup();
    this.#undo.push('stopping plugins', () => lifecycle.stop());
    broker.load();
    await lifecycle.start();
    reconcileResources(resolve(this.#container, CATALOG).resources, store, this.#log);
    return { broker, network, lifecycle };
  }

  #openStore(): DesiredState {
    const store = resolve(this.#container, STORE);
    this.#undo.push('closing the store', () => store.close());
    return store;
  }

  #openBroker(): DataPlaneBroker {
    const broker = resolve(this.#container, BROKER);
    this.#undo.push('closing the data plane', () => broker.close());
    return broker;
  }

  async #openNetwork(): Promise<ClosableNetwork> {
    const network = await createNetwork({
      backend: this.options.config.dataplane.backend,
      log: this.options.log('network'),
    });
    this.#undo.push('closing the network', () => network.close());
    return network;
  }

  async #openRawSender(): Promise<ClosableRawSender> {
    const sender = await createRawSender({
      backend: this.options.config.dataplane.backend,
      log: this.options.log('network'),
    });
    this.#undo.push('closing raw sockets', () => sender.close());
    return sender;
  }

  #createLifecycle(
    plugins: Awaited<ReturnType<typeof loadPlugins>>,
    network: ClosableNetwork,
    rawSender: ClosableRawSender,
  ): Lifecycle {
    const services = resolve(this.#container, SERVICES);
    services.provide('core', NETWORK, network);
    services.provide('core', RAW_SENDER, rawSender);
    services.provide('core', BUILD_INFO, this.options.build);
    return new Lifecycle(plugins, {
      log: this.#log,
      parts: {
        services,
        broker: resolve(this.#container, BROKER),
        catalog: resolve(this.#container, CATALOG),
        metrics: resolve(this.#container, METRICS),
        workers: resolve(this.#container, WORKERS),
        store: resolve(this.#container, STORE),
        log: this.options.log,
      },
    });
  }

  #attach(broker: DataPlaneBroker, network: ClosableNetwork): void {
    const { dataplane } = this.options.config;
    if (broker.backend === 'kernel' && dataplane.manageSysctl) enableForwarding(this.#log);
    const log = this.options.log('dataplane');
    this.#undo.push('following the network', followNetwork({ broker, network, allowed: dataplane.interfaces, log }));
    const problems = broker.verifyAttached();
    for (const problem of problems) this.#log.error(problem, 'interface is not served as it should be');
    const names = broker.attached().map((one) => `${one.name}(${describeHooks(one)})`);
    this.#log.info({ interfaces: names }, names.length > 0 ? 'programs attached' : 'no interface to attach to yet');
  }

  async #listen(lifecycle: Lifecycle): Promise<void> {
    const { api } = this.options.config;
    const routes = this.#routes(lifecycle);
    const server = createServer({
      routes,
      dialect: api.dialect,
      log: this.options.log('api'),
      audit: this.options.log('audit'),
      outside: docsHandler(() => openApiDocument(routes, this.options.build.version)),
    });
    await server.listen({ host: api.host, port: api.port });
    this.#server = server;
    this.#undo.push('closing the API', () => closeServer(server));
    warnOfRemoteListen(api.host, this.#log);
  }

  #routes(lifecycle: Lifecycle): Route[] {
    const [catalog, store] = [resolve(this.#container, CATALOG), resolve(this.#container, STORE)];
    const mutations = new Mutations(store, this.#log);
    return [
      ...catalog.resources.flatMap((entry) => resourceRoutes(entry, store, mutations)),
      ...catalog.operations.map(operationRoute),
      ...coreRoutes({
        catalog,
        store,
        metrics: resolve(this.#container, METRICS),
        plugins: () => lifecycle.status(),
      }),
    ];
  }
}

/** Names every part once; each is made when it is first needed. */
function composeCore({ config, objectFile, log }: DaemonOptions): Container {
  const container = createContainer();
  register(container, STORE, () =>
    config.ephemeral ? new EphemeralStore() : new FileStore({ dir: config.stateDir, log: log('state') }),
  );
  register(container, BROKER, () => {
    const { backend, bpfDir, hook, xdp } = config.dataplane;
    return createDataPlaneBroker({ backend, bpfDir, objectFile, hook, xdp, log: log('dataplane') });
  });
  register(container, METRICS, () => {
    const metrics = new Metrics(log('metrics'));
    declareProcessMetrics(metrics.factory('core'));
    declareDataPlaneMetrics(metrics.factory('core'), () => resolve(container, BROKER).counters());
    declareAttachmentMetrics(metrics.factory('core'), () => resolve(container, BROKER).attached());
    return metrics;
  });
  register(container, WORKERS, () => new WorkerPools());
  register(container, CATALOG, () => new Catalog());
  register(container, SERVICES, () => new Services(container));
  return container;
}

function describeHooks({ hook, xdp }: AttachedInterface): string {
  return xdp && xdp.mode !== 'off' ? `${hook}+xdp ${xdp.mode}` : hook;
}

async function closeServer(server: FastifyInstance): Promise<void> {
  const impatience = setTimeout(() => server.server.closeAllConnections(), DRAIN_MS);
  await server.close();
  clearTimeout(impatience);
}

function warnOfRemoteListen(host: string, log: Logger): void {
  if (['127.0.0.1', '::1', 'localhost'].includes(host)) return;
  log.warn({ host }, 'THE API LISTENS BEYOND THIS MACHINE, WITHOUT A TOKEN AND WITHOUT TLS');
}
