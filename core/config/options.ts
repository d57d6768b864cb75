import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { LEVEL_NAMES } from '../telemetry/log.js';
import type { Config } from './schema.js';

/** What the command line says. Members are absent when it says nothing. */
export interface CommandLine {
  readonly config?: string;
  readonly host?: string;
  readonly port?: number;
  readonly stateDir?: string;
  readonly bpfDir?: string;
  readonly interfaces?: readonly string[];
  readonly dataplane?: 'kernel' | 'memory';
  readonly xdp?: 'auto' | 'off' | 'native' | 'generic';
  readonly dialect?: 'current' | 'legacy';
  readonly ephemeral?: boolean;
  readonly cleanup?: boolean;
  readonly logLevel?: string;
  readonly loglevel?: string;
  /** Upstream's switch: with it there is no REST server. */
  readonly api?: boolean;
  readonly prometheus?: boolean;
}

/** The daemon is not to start: help was shown, or the command line makes no sense. The text is already printed. */
export class CommandLineExit extends Error {
  override name = 'CommandLineExit';
  constructor(readonly exitCode: number) {
    super('command line answered');
  }
}

/** @throws CommandLineExit */
export function parseCommandLine(args: readonly string[], version: string): CommandLine {
  const command = describeOptions(version).exitOverride();
  try {
    command.parse([...args], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) throw new CommandLineExit(error.exitCode === 0 ? 0 : 2);
    throw error;
  }
  return command.opts<CommandLine>();
}

function describeOptions(version: string): Command {
  return new Command('loxilb')
    .description('Load balancer daemon: eBPF packet path, features as plugins')
    .version(version, '-v, --version', 'print the version and exit')
    .helpOption('-h, --help', 'print this and exit')
    .allowExcessArguments(false)
    .showSuggestionAfterError(true)
    .option(
      '--config <file>',
      "config file (default: /etc/loxilb/loxilb.config.{ts,js,yaml,yml,json}, then the package's own)",
    )
    .addOption(new Option('--host <address>', 'listen address of the REST API (default: 127.0.0.1)').env('HOST'))
    .addOption(
      new Option('--port <port>', 'TCP port of the REST API (default: 11111)').env('PORT').argParser(parsePort),
    )
    .option('--state-dir <dir>', 'folder of the stored desired state (default: /var/lib/loxilb)')
    .option('--bpf-dir <dir>', 'folder of pinned maps, programs and links (default: /opt/loxilb/dp/bpf)')
    .option(
      '--interfaces <names>',
      'comma list of interfaces to serve, * matches any text (default: all usable)',
      parseList,
    )
    .addOption(
      new Option('--dataplane <backend>', 'memory forwards nothing (default: kernel)').choices(['kernel', 'memory']),
    )
    .addOption(
      new Option(
        '--xdp <mode>',
        'fast path in the drivers: on real devices, nowhere, or forced (default: auto)',
      ).choices(['auto', 'off', 'native', 'generic']),
    )
    .addOption(
      new Option('--dialect <name>', 'legacy answers every error with status 200 (default: current)').choices([
        'current',
        'legacy',
      ]),
    )
    .option('--ephemeral', 'store nothing')
    .option('--cleanup', 'detach the programs, remove every pin and address of ours, and exit')
    .option('--log-level <level>', `one of ${LEVEL_NAMES.join(', ')} (default: info)`)
    .option('--loglevel <level>', 'the same as --log-level')
    .option('-a, --api', 'run without the REST API')
    .option('-p, --prometheus', 'accepted for compatibility: metrics are always on');
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65535) throw new InvalidArgumentError('A port is a number from 0 to 65535.');
  return port;
}

function parseList(text: string): string[] {
  const names = text.split(',').filter((name) => name !== '');
  if (names.length === 0) throw new InvalidArgumentError('Name at least one interface.');
  return names;
}

/** The command line wins over the file. */
export function applyCommandLine(config: Config, line: CommandLine): Config {
  const level = line.logLevel ?? line.loglevel;
  return {
    ...config,
    api: {
      enabled: line.api ? false : config.api.enabled,
      host: line.host ?? config.api.host,
      port: line.port ?? config.api.port,
      dialect: line.dialect ?? config.api.dialect,
    },
    dataplane: {
      ...config.dataplane,
      backend: line.dataplane ?? config.dataplane.backend,
      interfaces: line.interfaces ? [...line.interfaces] : config.dataplane.interfaces,
      bpfDir: line.bpfDir ?? config.dataplane.bpfDir,
      xdp: line.xdp ?? config.dataplane.xdp,
    },
    stateDir: line.stateDir ?? config.stateDir,
    ephemeral: line.ephemeral ?? config.ephemeral,
    logLevel: level ?? config.logLevel,
  };
}
