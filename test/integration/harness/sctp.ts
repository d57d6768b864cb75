/** SCTP end points of our own: this needs none in the kernel. */
import { existsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Background } from './background.js';
import type { Namespace } from './namespace.js';
import type { Network } from './network.js';
import { must } from './run.js';

const source = fileURLToPath(new URL('../programs/sctp-peer.c', import.meta.url));
let pipes = 0;

/** Compiles `programs/sctp-peer.c` into the network's folder, once. */
async function compilePeer({ folder }: Network): Promise<string> {
  const program = join(folder, 'sctp-peer');
  if (!existsSync(program)) await must('gcc', ['-O2', '-Wall', '-o', program, source, '-lusrsctp', '-lpthread']);
  return program;
}

/** Echoes what it gets. `addresses`: those it uses, all of them unless given. */
export async function startSctpServer(
  network: Network,
  netns: Namespace,
  port: number,
  addresses: readonly string[] = [],
): Promise<Background> {
  const server = netns.spawn('sctp server', await compilePeer(network), ['server', String(port), ...addresses]);
  await server.line(/^listening$/m);
  return server;
}

export class SctpClient {
  private constructor(
    readonly process: Background,
    private readonly input: FileHandle,
  ) {}

  static async start(
    network: Network,
    netns: Namespace,
    to: { readonly host: string; readonly port: number; readonly from?: number },
    addresses: readonly string[] = [],
  ): Promise<SctpClient> {
    const program = await compilePeer(network);
    const pipe = join(network.folder, `sctp-${++pipes}`);
    await must('mkfifo', [pipe]);
    // Opened for both, so that nobody waits for the other and the program sees no end.
    const input = await open(pipe, 'r+');
    const args = [program, 'client', to.host, String(to.port), ...addresses];
    const env: Record<string, string> = to.from === undefined ? {} : { SCTP_PORT: String(to.from) };
    const script = `exec "$@" <${pipe}`;
    return new SctpClient(netns.spawn('sctp client', 'bash', ['-c', script, 'sctp-peer', ...args], env), input);
  }

  /** A line of text is sent; `.abort`, `.shutdown` and `.peers` are not. */
  async say(line: string): Promise<void> {
    await this.input.write(`${line}\n`);
  }

  /** Sends a line and waits until it comes back. */
  async echo(line: string, timeoutMs = 10_000): Promise<void> {
    await this.say(line);
    await this.process.line(new RegExp(`^< ${line.slice(0, 40)}`, 'm'), timeoutMs);
  }

  async stop(): Promise<void> {
    await this.process.kill();
    await this.input.close();
  }
}
