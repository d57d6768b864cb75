import { fileURLToPath } from 'node:url';
import { tryRun } from '../process.js';
import { urlOf } from './servers.js';

const SCRIPT = fileURLToPath(new URL('./wrk.lua', import.meta.url));
const CONNECTIONS = 32;
const THREADS = 2;

export interface WrkResult {
  readonly requests: number;
  readonly micros: number;
  readonly bytes: number;
  readonly p50: number;
  readonly p99: number;
  readonly errors: number;
}

/**
 * HTTP requests for `ms`, each on a connection of its own or all on kept ones. wrk counts in whole seconds, but reports
 * when interrupted.
 */
export async function loadHttp(
  namespace: string,
  addresses: readonly string[],
  keepAlive: boolean,
  ms: number,
): Promise<WrkResult> {
  const command = ['wrk', '-t', String(THREADS), '-c', String(CONNECTIONS), '-d', '60s', '-s', SCRIPT];
  if (!keepAlive) command.push('-H', 'Connection: close');
  command.push(urlOf(addresses[0] as string));
  const { stdout, stderr } = await tryRun(command, {
    namespace,
    interruptAfterMs: ms,
    environment: { BENCH_ADDRESSES: addresses.join(' ') },
  });
  const line = stdout.split('\n').find((text) => text.startsWith('{'));
  if (!line) throw new Error(`wrk gave no figures: ${(stderr || stdout).trim()}`);
  return JSON.parse(line) as WrkResult;
}
