import { readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, type Server, start, tryRun } from './process.js';
import type { Scope } from './scope.js';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const READY_LIMIT_MS = 30_000;

/** This product's daemon in a namespace, with pins and state of its own below `directory`. */
export class Daemon {
  readonly bpfDir: string;
  private readonly stateDir: string;
  private readonly log: string;
  private server: Server | undefined;
  private starts = 0;

  private constructor(
    private readonly scope: Scope,
    private readonly namespace: string,
    directory: string,
    private readonly options: readonly string[],
  ) {
    this.bpfDir = join(directory, 'bpf');
    this.stateDir = join(directory, 'state');
    this.log = join(directory, 'daemon');
  }

  static async create(
    scope: Scope,
    namespace: string,
    directory: string,
    options: readonly string[] = [],
  ): Promise<Daemon> {
    await mkdir(directory);
    const daemon = new Daemon(scope, namespace, directory, options);
    await Promise.all([mkdir(daemon.bpfDir), mkdir(daemon.stateDir)]);
    scope.defer('pins of the daemon', () => daemon.removePins());
    return daemon;
  }

  get pid(): number {
    return this.server?.pid ?? -1;
  }

  /** Starts and waits for the ready line; milliseconds it took. */
  async start(): Promise<number> {
    const log = `${this.log}-${++this.starts}.log`;
    const begin = performance.now();
    this.server = start(this.scope, [...this.command(), ...this.options], log, { namespace: this.namespace });
    while (!hasReadyLine(log)) {
      if (this.server.exited() || performance.now() - begin > READY_LIMIT_MS) {
        throw new Error(`the daemon did not become ready: ${readFileSync(log, 'utf8').slice(-2000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return performance.now() - begin;
  }

  /** The end of what the last one started has logged. */
  logTail(): string {
    return this.starts ? readFileSync(`${this.log}-${this.starts}.log`, 'utf8').slice(-2000) : '';
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.server?.stop(signal);
  }

  /** POST, PUT, DELETE or GET below /netlox/v1; the body of the answer. Throws unless it is 200. */
  async request(method: string, path: string, body?: unknown): Promise<string> {
    const command = ['curl', '-sS', '--fail-with-body', '-m', '60', '-X', method, `${API}${path}`];
    if (body !== undefined) command.push('-H', 'Content-Type: application/json', '-d', JSON.stringify(body));
    return run(command, { namespace: this.namespace });
  }

  private command(): string[] {
    return [join(ROOT, 'bin/loxilb'), '--bpf-dir', this.bpfDir, '--state-dir', this.stateDir];
  }

  private async removePins(): Promise<void> {
    await this.stop();
    await tryRun([...this.command(), '--cleanup'], { namespace: this.namespace });
    while ((await tryRun(['umount', this.bpfDir])).code === 0) {
      // The daemon mounted it; mounts may lie on one another.
    }
  }
}

const API = 'http://127.0.0.1:11111/netlox/v1';

function hasReadyLine(log: string): boolean {
  return /\bready\b/.test(readFileSync(log, 'utf8'));
}

export interface Endpoint {
  readonly endpointIP: string;
  readonly targetPort: number;
  readonly weight: number;
}

export interface ServiceArguments {
  readonly externalIP: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly mode?: number;
  readonly sel?: number;
  readonly proxyprotocolv2?: boolean;
}

export interface Rule {
  readonly serviceArguments: ServiceArguments;
  readonly endpoints: readonly Endpoint[];
}

/** CPU nanoseconds all threads of a process have used. */
export function cpuNanoseconds(pid: number): number {
  let total = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    total += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]);
  }
  return total;
}

/** Resident megabytes of a process. */
export function residentMegabytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? Number.NaN) / 1024;
}
