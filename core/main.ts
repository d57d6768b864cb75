import 'reflect-metadata';
import { existsSync, readFileSync } from 'node:fs';
import { isLoxilbError } from '@loxilb/sdk';
import type pino from 'pino';
import { loadConfig, packageFile } from './config/load-config.js';
import { applyCommandLine, type CommandLine, CommandLineExit, parseCommandLine } from './config/options.js';
import type { DaemonOptions } from './lifecycle/daemon.js';
import { LifecycleError } from './lifecycle/failures.js';
import { notifyServiceManager } from './lifecycle/sd-notify.js';
import { createRootLog, namedLog } from './telemetry/log.js';

const { version } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string };

/** Runs the daemon until a signal ends it. Resolves with the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const line = parseCommandLine(args, version);
  const { file, config } = await loadConfig(line.config);
  const effective = applyCommandLine(config, line);
  const root = createRootLog(effective.logLevel);
  const options: DaemonOptions = {
    config: effective,
    configFile: file,
    objectFile: objectFile(),
    build: { version, build: process.env.LOXILB_BUILD ?? '' },
    log: (name) => namedLog(root, name),
  };
  if (!line.cleanup) return serve(options, line, root);
  const { cleanUp } = await import('./lifecycle/cleanup.js');
  await cleanUp(options);
  return 0;
}

async function serve(options: DaemonOptions, line: CommandLine, root: pino.Logger): Promise<number> {
  const { config, configFile } = options;
  const log = namedLog(root, 'core');
  log.info({ version, configFile, dataplane: config.dataplane.backend }, 'starting');
  if (line.prometheus) log.info('--prometheus has no effect: metrics are always on');
  // Imported here so that `--help` and refused options answer at once.
  const { Daemon } = await import('./lifecycle/daemon.js');
  const daemon = new Daemon(options);
  const ended = untilSignal(root);
  await daemon.start();
  log.info({ address: daemon.address, startMs: Math.round(performance.now()) }, 'ready');
  await notifyServiceManager('READY=1', log);
  const signal = await ended;
  log.info({ signal }, 'stopping; pinned programs go on forwarding');
  await notifyServiceManager('STOPPING=1', log);
  const failures = await daemon.stop();
  log.info('stopped');
  return failures.length === 0 ? 0 : 1;
}

/** The compiled packet path: beside the compiled daemon, or where the build leaves it. */
function objectFile(): string {
  const candidates = ['dist/bpf/loxilb.bpf.o', 'bpf/build/loxilb.bpf.o'].map(packageFile);
  return candidates.find((file) => existsSync(file)) ?? (candidates[0] as string);
}

function untilSignal(root: pino.Logger): Promise<NodeJS.Signals> {
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      root.fatal({ err: error }, event);
      process.exit(1);
    });
  }
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
}

/** Bad configuration and plugins that fail are the operator's to read: plain text, no stack. */
function explain(error: unknown): string {
  if (error instanceof LifecycleError) return error.message;
  if (isLoxilbError(error))
    return [`${error.code}: ${error.message}`, ...(error.remedy ? [error.remedy] : [])].join('\n  ');
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** What is still open may take this long to close by itself. */
const EXIT_MS = 500;

/**
 * Lets the event loop run empty instead of cutting it off: native addons that are inside a callback of theirs abort the
 * process otherwise. A handle that somebody left open must not keep the daemon, though.
 */
function exitSoon(code: number): void {
  process.exitCode = code;
  setTimeout(() => process.exit(), EXIT_MS).unref();
}

main(process.argv.slice(2)).then(exitSoon, (error: unknown) => {
  if (error instanceof CommandLineExit) return exitSoon(error.exitCode);
  process.stderr.write(`loxilb: ${explain(error)}\n`);
  exitSoon(1);
});
