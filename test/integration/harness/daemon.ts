import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Api } from './api.js';
import type { Background } from './background.js';
import type { Network } from './network.js';
import { must, type RunResult } from './run.js';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
export const loxilbProgram = join(repository, 'bin/loxilb');
export const loxicmdProgram = join(repository, 'bin/loxicmd');

export const defaultPlugins: Readonly<Record<string, object>> = {
  lb: {},
  conntrack: {},
  endpoint: {},
  port: {},
  route: {},
  neighbor: {},
  version: {},
};

export interface DaemonOptions {
  readonly plugins?: Readonly<Record<string, object>>;
  readonly hook?: 'auto' | 'tcx' | 'clsact';
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The built daemon in the balancer's namespace, with folders of its own. */
export class Daemon {
  readonly port = 11111;
  readonly stateDir: string;
  readonly bpfDir: string;
  readonly configFile: string;
  process!: Background;
  api!: Api;

  constructor(
    readonly network: Network,
    private readonly options: DaemonOptions = {},
  ) {
    this.stateDir = join(network.folder, 'state');
    this.bpfDir = join(network.folder, 'bpf');
    this.configFile = join(network.folder, 'loxilb.config.json');
  }

  /** Starts it and returns when it says that it is ready. */
  async start(): Promise<this> {
    await this.launch();
    await this.process.line(/\bready\b/, 120_000);
    return this;
  }

  /** Starts it without waiting. */
  async launch(): Promise<Background> {
    this.api ??= await Api.open(this.network, this.port);
    await writeFile(this.configFile, JSON.stringify(this.config(), undefined, 2), { mode: 0o600 });
    this.process = this.network.lb.spawn('loxilb', loxilbProgram, this.arguments(), this.options.env ?? {});
    return this.process;
  }

  /** Ends it as an operator would; traffic goes on. */
  async stop(): Promise<void> {
    await this.process.stop(30_000);
  }

  /** Ends it without a chance to say goodbye. */
  async kill(): Promise<void> {
    await this.process.kill();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** `loxilb --cleanup`: detaches and unpins everything. */
  cleanup(): Promise<RunResult> {
    return this.network.lb.run(loxilbProgram, [...this.arguments(), '--cleanup']);
  }

  loxicmd(...args: readonly string[]): Promise<RunResult> {
    return this.network.lb.run(loxicmdProgram, args);
  }

  /** Runs loxicmd, which has to succeed, and returns what it printed. */
  loxicmdOk(...args: readonly string[]): Promise<string> {
    return this.network.lb.must(loxicmdProgram, args);
  }

  /** Path of a pinned map. */
  pin(name: string): string {
    return join(this.bpfDir, name);
  }

  /** Entries of a pinned map as bpftool formats them: objects with the C names. */
  async dumpMap(name: string): Promise<readonly MapEntry[]> {
    const text = await this.network.lb.must('bpftool', ['-j', 'map', 'dump', 'pinned', this.pin(name)]);
    const entries: { formatted?: MapEntry }[] = JSON.parse(text);
    return entries.flatMap(({ formatted }) => (formatted ? [formatted] : []));
  }

  /**
   * Values of an array map at these indexes, as bpftool formats them. For maps too large to dump: bpftool prints every
   * element of an array.
   */
  async lookUp<V>(name: string, indexes: readonly number[]): Promise<Map<number, V>> {
    if (indexes.length === 0) return new Map();
    const lines = indexes.map((index) => `map lookup pinned ${this.pin(name)} key ${bytesOf(index).join(' ')}`);
    const file = join(this.network.folder, 'bpftool.batch');
    await writeFile(file, `${lines.join('\n')}\n`);
    const answers: { output: { formatted: { value: V } } }[] = JSON.parse(
      await must('bpftool', ['-j', 'batch', 'file', file]),
    );
    return new Map(answers.map(({ output }, i) => [indexes[i] ?? 0, output.formatted.value]));
  }

  private arguments(): string[] {
    const options = ['--config', this.configFile, '--port', String(this.port)];
    return [...options, '--state-dir', this.stateDir, '--bpf-dir', this.bpfDir, ...(this.options.args ?? [])];
  }

  private config(): object {
    const dataplane = this.options.hook === undefined ? {} : { dataplane: { hook: this.options.hook } };
    return { plugins: this.options.plugins ?? defaultPlugins, ...dataplane };
  }
}

/** Little-endian, as bpftool takes a __u32 key. */
function bytesOf(value: number): number[] {
  return [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
}

export interface MapEntry {
  // biome-ignore lint/suspicious/noExplicitAny: the members are those of the C struct
  readonly key: any;
  // biome-ignore lint/suspicious/noExplicitAny: the members are those of the C struct
  readonly value: any;
}
