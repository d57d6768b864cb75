import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import type { Scope } from './scope.js';

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line that runs `command` in a network namespace; unlike `ip netns exec` it leaves /sys alone. */
export function inNamespace(namespace: string | undefined, command: readonly string[]): [string, string[]] {
  const line = namespace ? ['nsenter', `--net=/run/netns/${namespace}`, '--', ...command] : [...command];
  return [line[0] as string, line.slice(1)];
}

export interface RunOptions {
  readonly namespace?: string;
  readonly input?: string;
  /** SIGINT after so long, for tools that report when interrupted. */
  readonly interruptAfterMs?: number;
  readonly environment?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Runs to the end, whatever the exit code. */
export async function tryRun(command: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const [file, args] = inNamespace(options.namespace, command);
  const child = spawn(file, args, spawnOptions(options));
  const timer = options.interruptAfterMs ? setTimeout(() => child.kill('SIGINT'), options.interruptAfterMs) : undefined;
  // A command that ends without reading its input is judged by its exit code.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(options.input);
  const [stdout, stderr, code] = await Promise.all([collect(child, 'stdout'), collect(child, 'stderr'), ended(child)]);
  clearTimeout(timer);
  return { code, stdout, stderr };
}

/** Runs and returns stdout; throws with stderr when the command fails. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const outcome = await tryRun(command, options);
  if (outcome.code !== 0) {
    throw new Error(`${command.join(' ')}: exit ${outcome.code}: ${(outcome.stderr || outcome.stdout).trim()}`);
  }
  return outcome.stdout;
}

function spawnOptions(options: RunOptions): SpawnOptions {
  return {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.environment },
    ...(options.cwd ? { cwd: options.cwd } : {}),
  };
}

async function collect(child: ChildProcess, stream: 'stdout' | 'stderr'): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of child[stream] ?? []) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code));
  });
}

export interface Server {
  readonly pid: number;
  /** Set when the process has ended. */
  exited(): boolean;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts a process that stays; it is stopped with the scope. Its output goes to `log`. */
export function start(scope: Scope, command: readonly string[], log: string, options: RunOptions = {}): Server {
  const [file, args] = inNamespace(options.namespace, command);
  const output = openSync(log, 'a');
  const child = spawn(file, args, { ...spawnOptions(options), stdio: ['ignore', output, output] });
  const end = ended(child).catch(() => null);
  const exited = () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (exited()) return;
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    await end;
    clearTimeout(timer);
  };
  scope.defer(`stop ${command[0]}`, () => stop());
  return { pid: child.pid ?? -1, exited, stop };
}

/** Repeats `check` until it is true; throws with the name of what did not come. */
export async function until(what: string, check: () => Promise<boolean> | boolean, limitMs = 10_000): Promise<void> {
  for (const end = Date.now() + limitMs; Date.now() < end; ) {
    if (await check()) return;
    await pause(20);
  }
  throw new Error(`${what} did not happen within ${limitMs} ms`);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
