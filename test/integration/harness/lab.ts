import { Daemon, type DaemonOptions } from './daemon.js';
import { createNetwork, type Network } from './network.js';
import { startEchoServers, warmUp } from './traffic.js';

/** A network with echo servers on port 8080 and a daemon that is ready: what most tests begin with. */
export interface Lab {
  readonly network: Network;
  readonly daemon: Daemon;
  /** Detaches, ends and removes everything, whatever state the test left it in. */
  dispose(): Promise<void>;
}

export async function startLab(options: DaemonOptions & { readonly servers?: number } = {}): Promise<Lab> {
  const network = await createNetwork(options.servers ?? 3);
  const daemon = new Daemon(network, options);
  const dispose = async (): Promise<void> => {
    await daemon.process?.stop(3_000);
    // Pinned links keep the namespace's devices attached until the last pin goes.
    if (daemon.process) await daemon.cleanup().catch(() => {});
    await network.dispose();
  };
  try {
    await startEchoServers(network);
    await warmUp(network);
    await daemon.start();
    return { network, daemon, dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
