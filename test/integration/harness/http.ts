import { fileURLToPath } from 'node:url';
import type { Background } from './background.js';
import type { Namespace } from './namespace.js';

const program = fileURLToPath(new URL('../programs/http-server.mjs', import.meta.url));

/** What a server says of an upload. */
export interface Uploaded {
  readonly name: string;
  /** The client's address as the server saw it. */
  readonly from: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** An HTTP server that answers GET with its name and takes uploads by PUT. */
export async function startHttpServer(netns: Namespace, name: string, port: number): Promise<Background> {
  const server = netns.spawn('http-server', process.execPath, [program, name, String(port)]);
  await server.line(/listening/);
  return server;
}

/** URL of a host; an IPv6 address gets its brackets. */
export function url(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}/`;
}

/** GET with curl; returns the body, or undefined when there is none. */
export async function curl(
  netns: Namespace,
  host: string,
  port: number,
  ...args: string[]
): Promise<string | undefined> {
  const { code, stdout } = await netns.run('curl', ['-sS', '-m', '20', ...args, url(host, port)]);
  return code === 0 ? stdout.trim() : undefined;
}

/**
 * Who answers requests of which each goes to a server that a hash chooses: asks until all of these have answered, ten times
 * at least and a hundred times at most. (Twenty requests miss one of three servers once in a thousand times.) A request
 * that fails is `undefined` among the answers.
 */
export async function answering(
  netns: Namespace,
  host: string,
  port: number,
  names: readonly string[],
): Promise<Set<string | undefined>> {
  const answers = new Set<string | undefined>();
  for (let i = 0; i < 100 && (i < 10 || !names.every((name) => answers.has(name))); i++) {
    answers.add(await curl(netns, host, port));
  }
  return answers;
}

/** Uploads a file with curl. */
export async function curlUpload(netns: Namespace, host: string, port: number, file: string): Promise<Uploaded> {
  return JSON.parse(await netns.must('curl', ['-sS', '-m', '60', '-T', file, url(host, port)]));
}
