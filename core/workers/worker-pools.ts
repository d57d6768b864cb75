import { fileURLToPath } from 'node:url';
import type { WorkerPool, WorkerSpec } from '@loxilb/sdk';
import type { Piscina } from 'piscina';

/** Threads stop after this long without a task: an idle daemon has none. */
const IDLE_TIMEOUT_MS = 5_000;

/** Worker pools of the plugins. A pool starts with its first task. */
export class WorkerPools {
  readonly #pools = new Map<string, Set<Promise<Piscina>>>();

  create(owner: string, spec: WorkerSpec): WorkerPool {
    let pool: Promise<Piscina> | undefined;
    return {
      run: async (input, options) => {
        pool ??= this.#start(owner, spec);
        const running = await pool;
        return running.run(input, options?.transfer ? { transferList: [...options.transfer] } : {});
      },
    };
  }

  #start(owner: string, spec: WorkerSpec): Promise<Piscina> {
    const pool = openPool(spec);
    const pools = this.#pools.get(owner) ?? new Set();
    this.#pools.set(owner, pools.add(pool));
    return pool;
  }

  async release(owner: string): Promise<void> {
    const pools = this.#pools.get(owner) ?? new Set();
    this.#pools.delete(owner);
    await Promise.all([...pools].map(async (pool) => (await pool).destroy()));
  }
}

async function openPool(spec: WorkerSpec): Promise<Piscina> {
  const { Piscina } = await import('piscina');
  return new Piscina({
    filename: fileURLToPath(spec.file),
    minThreads: 0,
    maxThreads: spec.maxThreads ?? 1,
    idleTimeout: IDLE_TIMEOUT_MS,
  });
}
