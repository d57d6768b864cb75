import type { CommandSpec, Flag, FlagValue, WriteCommand } from '@loxilb/sdk/command';
import { Command } from 'commander';
import { observeFlags, TRACE_USAGE, traceFlags } from '../plugins/observe/command.js';
import { SHELLS } from './completion.js';
import { flagValues, optionFor, unknownFlag } from './flags.js';
import { helpText } from './help.js';
import { wordsFor } from './registry.js';
import { type Terminal, UnknownObjectError, UnknownVerbError, UsageError } from './terminal.js';

type Flags = Readonly<Record<string, FlagValue>>;

/** What the commands do; the tree below only says how they are called. Each answers whether it succeeded. */
export interface Handlers {
  get(spec: CommandSpec, flags: Flags): Promise<boolean>;
  write(spec: CommandSpec, write: WriteCommand, args: readonly string[], flags: Flags): Promise<boolean>;
  apply(flags: Flags): Promise<boolean>;
  deleteFile(file: string): Promise<boolean>;
  save(flags: Flags): Promise<boolean>;
  observe(flags: Flags): Promise<boolean>;
  trace(args: readonly string[], flags: Flags): Promise<boolean>;
  version(): Promise<boolean>;
  help(words: readonly string[]): Promise<boolean>;
  completion(words: readonly string[]): Promise<boolean>;
}

export interface Program {
  readonly command: Command;
  /** Set by the command that ran. */
  outcome(): boolean;
}

const GLOBAL_FLAGS: readonly (readonly [flag: Flag, range?: readonly [number, number], typeName?: string])[] = [
  [{ name: 'apiserver', short: 's', type: 'string', help: 'Set API server IP address', default: '127.0.0.1' }],
  [{ name: 'output', short: 'o', type: 'string', help: 'Set output layer (ex.) wide, json, yaml' }],
  [{ name: 'port', short: 'p', type: 'int', help: 'Set API server port number', default: 11111 }, [1, 65535], 'uint16'],
  [{ name: 'protocol', type: 'string', help: 'Set API server http/https', default: 'http' }],
  [{ name: 'timeout', short: 't', type: 'int', help: 'Set timeout', default: 10 }, [0, 32767], 'int16'],
  [{ name: 'token', type: 'string', help: 'Set Token for the API server' }],
];

/** The verbs with an object behind them, and whether a command has that verb. */
const VERBS = ['get', 'create', 'delete'] as const;

export function buildProgram(specs: readonly CommandSpec[], handlers: Handlers, terminal: Terminal): Program {
  const tree = new Tree(specs, handlers, terminal);
  return { command: tree.build(), outcome: () => tree.success };
}

class Tree {
  success = true;

  constructor(
    private readonly specs: readonly CommandSpec[],
    private readonly handlers: Handlers,
    private readonly terminal: Terminal,
  ) {}

  build(): Command {
    const program = this.#prepare(new Command('loxicmd'), '', ROOT_HELP);
    for (const [flag, range, typeName] of GLOBAL_FLAGS) program.addOption(optionFor(flag, range, typeName));
    program.allowUnknownOption().action(([word]: string[]) => {
      if (word === undefined) this.terminal.stdout.write(helpText(program));
      else if (word.startsWith('-')) throw new UsageError(unknownFlag(word));
      else throw new UnknownVerbError(word);
    });
    for (const verb of VERBS) program.addCommand(this.#verb(verb));
    program.addCommand(this.#apply());
    program.addCommand(this.#save());
    program.addCommand(this.#observe());
    program.addCommand(this.#trace());
    program.addCommand(
      this.#plain('version', 'Get a version', 'It shows Loxicmd version.', 'version [flags]', () =>
        this.handlers.version(),
      ),
    );
    program.addCommand(
      this.#plain('help', 'Help about any command', HELP_HELP, 'help [command] [flags]', (words) =>
        this.handlers.help(words),
      ),
    );
    const shells = `completion [${SHELLS.join('|')}]`;
    program.addCommand(
      this.#plain('completion', 'Generate completion script', COMPLETION_HELP, shells, (words) =>
        this.handlers.completion(words),
      ),
    );
    return program;
  }

  #verb(verb: (typeof VERBS)[number]): Command {
    const { summary, long } = VERB_HELP[verb];
    const group = this.#prepare(new Command(verb), summary, `${summary}${long}`).allowUnknownOption();
    if (verb === 'delete') group.addOption(optionFor(FILE_FLAG));
    group.action(async (words: string[]) => {
      const file = flagValues(group).file;
      if (words[0]?.startsWith('-')) throw new UsageError(unknownFlag(words[0]));
      if (typeof file !== 'string') throw new UnknownObjectError(verb, words);
      this.success = await this.handlers.deleteFile(file);
    });
    for (const spec of this.specs) {
      const leaf = verb === 'get' ? this.#get(spec) : this.#write(spec, verb);
      if (leaf) group.addCommand(leaf);
    }
    return group;
  }

  #get(spec: CommandSpec): Command | undefined {
    const { get } = spec;
    if (!get && spec.descriptor === undefined) return undefined;
    const [name, ...aliases] = wordsFor(spec, 'get');
    const summary = get?.summary ?? spec.descriptor?.summary ?? '';
    const leaf = this.#prepare(new Command(name), summary, get?.long ?? summary).aliases(aliases);
    leaf.usage(`${name} [flags]`);
    for (const flag of get?.flags ?? []) leaf.addOption(optionFor(flag));
    return leaf.action(async () => {
      this.success = await this.handlers.get(spec, flagValues(leaf));
    });
  }

  #write(spec: CommandSpec, verb: 'create' | 'delete'): Command | undefined {
    const write = spec[verb];
    if (!write) return undefined;
    const [name, ...aliases] = wordsFor(spec, verb);
    const leaf = this.#prepare(new Command(name), write.summary, write.long ?? write.summary).aliases(aliases);
    leaf.usage(`${write.usage} [flags]`);
    for (const flag of write.flags) leaf.addOption(optionFor(flag));
    return leaf.action(async (args: string[]) => {
      if (args.length === 0 && write.helpWithoutArgs !== false) this.terminal.stdout.write(helpText(leaf));
      else this.success = await this.handlers.write(spec, write, args, flagValues(leaf));
    });
  }

  #apply(): Command {
    const command = this.#prepare(
      new Command('apply'),
      'Apply configuration',
      'Reads and apply configuration from the text file',
    ).usage('apply [flags]');
    command.addOption(optionFor(FILE_FLAG));
    command.addOption(
      optionFor({ name: 'lb', short: 'l', type: 'string', help: 'Load Balancer config file to apply' }),
    );
    return command.action(async () => {
      this.success = await this.handlers.apply(flagValues(command));
    });
  }

  #save(): Command {
    const command = this.#prepare(
      new Command('save'),
      'saves current configuration',
      'saves current configuration in text file',
    ).usage('save [flags]');
    for (const flag of SAVE_FLAGS) command.addOption(optionFor(flag));
    return command.action(async () => {
      this.success = await this.handlers.save(flagValues(command));
    });
  }

  #observe(): Command {
    const command = this.#prepare(new Command('observe'), 'Show packets as they are handled', OBSERVE_HELP).usage(
      'observe [flags]',
    );
    for (const flag of observeFlags) command.addOption(optionFor(flag));
    return command.action(async () => {
      this.success = await this.handlers.observe(flagValues(command));
    });
  }

  #trace(): Command {
    const command = this.#prepare(new Command('trace'), 'Show what becomes of a packet', TRACE_HELP).usage(
      `${TRACE_USAGE} [flags]`,
    );
    for (const flag of traceFlags) command.addOption(optionFor(flag));
    return command.action(async (args: string[]) => {
      if (args.length === 0) this.terminal.stdout.write(helpText(command));
      else this.success = await this.handlers.trace(args, flagValues(command));
    });
  }

  #plain(
    name: string,
    summary: string,
    long: string,
    usage: string,
    run: (words: readonly string[]) => Promise<boolean>,
  ): Command {
    return this.#prepare(new Command(name), summary, long)
      .usage(usage)
      .action(async (words: string[]) => {
        this.success = await run(words);
      });
  }

  #prepare(command: Command, summary: string, long: string): Command {
    return command
      .summary(summary)
      .description(long)
      .argument('[args...]')
      .helpCommand(false)
      .exitOverride()
      .configureHelp({ formatHelp: helpText })
      .configureOutput({ writeOut: (text) => this.terminal.stdout.write(text), writeErr: () => {} });
  }
}

const FILE_FLAG: Flag = { name: 'file', short: 'f', type: 'string', help: 'Config file to apply as like K8s' };
const SAVE_FLAGS: readonly Flag[] = [
  { name: 'all', short: 'a', type: 'bool', help: 'Saves all loxilb configuration' },
  { name: 'config-path', short: 'c', type: 'string', help: 'config file path setting (default "/etc/loxilb/")' },
  { name: 'lb', short: 'l', type: 'bool', help: 'Saves Load Balancer rules configuration' },
];

const VERB_HELP = {
  get: {
    summary: 'Get a Load balance features from LoxiLB.',
    long: `
Get - Service type external load-balancer, Endpoint, Route, Neighbor
Get Port(interface) dump used by loxilb or its docker
Get Connection track (TCP/UDP/ICMP) information
Objects of further plugins are asked from the daemon: loxicmd get <object>`,
  },
  create: {
    summary: 'Create a Load balance features in the LoxiLB.',
    long: `
Create - Service type external load-balancer, and the objects of further plugins`,
  },
  delete: {
    summary: 'Delete a Load balance features in the LoxiLB.',
    long: `
Delete - Service type external load-balancer, connection track entries, and the objects of further plugins`,
  },
} as const;

const OBSERVE_HELP = `It shows packets that are dropped, left to the kernel, or change a flow, as they come.
Nothing is written by the packet path while nobody watches.

ex)
    loxicmd observe --drop
    loxicmd observe --service=web --count=10
    loxicmd observe --sample=1000 -o json`;

const TRACE_HELP = `It sends one made-up packet through a copy of the packet path and shows each decision, and the packet
before and after. No flow, counter or packet is left behind. Where XDP hangs, its program is asked first. Fragments and ICMP
errors cannot be made up: what becomes of those is to be seen with observe.

ex)
    loxicmd trace 10.0.0.5 20.20.20.1 --tcp=40000:80 --in eth0
    loxicmd trace 10.0.0.5 20.20.20.1 --tcp=40000:80 --in eth0 --ack -o wide
    loxicmd trace 2001:db8::5 2001:db8::1 --icmp --in eth0`;

const ROOT_HELP = `loxicmd is the command-line tool for loxilb. It is equivalent of "kubectl" for loxilb. loxicmd provides the following (currently) :
    - Create/Delete/Get - Service type external load-balancer
    - Get Port(interface), Endpoint, Route and Neighbor information
    - Get Connection track (TCP/UDP/ICMP) information
    - Show dropped packets, packets as they come, and what becomes of one
loxicmd aim to provide all of the configuration for the loxilb.`;

const HELP_HELP = `Help provides help for any command in the application.
Simply type loxicmd help [path to command] for full details.`;

const COMPLETION_HELP = `To load completions

Bash:        source <(loxicmd completion bash)
Zsh:         source <(loxicmd completion zsh)
Fish:        loxicmd completion fish | source
PowerShell:  loxicmd completion powershell | Out-String | Invoke-Expression`;
