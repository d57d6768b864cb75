import type { CommandSpec, FlagValue } from '@loxilb/sdk/command';
import { type Command, CommanderError } from 'commander';
import type { FindKind } from './apply.js';
import { Client, TransportError } from './client.js';
import { completionScript, SHELLS, type Shell } from './completion.js';
import { flagValues, normalizeArguments, usageErrorFrom } from './flags.js';
import { runGet, type Session } from './get.js';
import { helpText, usageText } from './help.js';
import { buildProgram, type Handlers, type Program } from './program.js';
import { COMMANDS, findKind } from './registry.js';
import { fetchCommands } from './remote.js';
import { errorStream } from './result.js';
import { isNear } from './spelling.js';
import { type Output, printLine, type Terminal, UnknownObjectError, UnknownVerbError, UsageError } from './terminal.js';
import { runWrite } from './write.js';

type Flags = Readonly<Record<string, FlagValue>>;
const DEFAULT_SAVE_FOLDER = '/etc/loxilb/';

/** Runs one command line; answers the exit status. */
export async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  const first = new Run(COMMANDS, terminal);
  try {
    return await first.execute(argv);
  } catch (error) {
    if (!(error instanceof UnknownObjectError)) throw error;
    const known = await first.withRemoteCommands(error);
    if (known) return await known.execute(argv);
    printLine(terminal.stdout, `Error: ${error.message}\nRun "loxicmd --help" for usage.\n`);
    terminal.stdout.write(helpText(first.find([error.verb])));
    return 1;
  }
}

class Run {
  readonly #specs: readonly CommandSpec[];
  readonly #terminal: Terminal;
  readonly #program: Program;
  #session: Session | undefined;

  constructor(specs: readonly CommandSpec[], terminal: Terminal) {
    this.#specs = specs;
    this.#terminal = terminal;
    this.#program = buildProgram(specs, this.#handlers(), terminal);
  }

  async execute(argv: readonly string[]): Promise<number> {
    const { command: program, outcome } = this.#program;
    try {
      const line = normalizeArguments(argv, program);
      await program.parseAsync(line, { from: 'user' });
      return outcome() ? 0 : 1;
    } catch (error) {
      return this.#explain(error, argv);
    } finally {
      this.#session?.client.close();
    }
  }

  /** The same run, with the daemon's commands, when it knows the object. */
  async withRemoteCommands({ words }: UnknownObjectError): Promise<Run | undefined> {
    const [word] = words;
    if (word === undefined || word.startsWith('-')) return undefined;
    const client = this.#open().client;
    const remote = await fetchCommands(client);
    client.close();
    const spec = remote.find(({ name, aliases }) => name === word || aliases?.includes(word));
    return spec && new Run([...this.#specs, spec], this.#terminal);
  }

  find(words: readonly string[]): Command {
    return this.#lookUp(words) ?? this.#program.command;
  }

  #lookUp(words: readonly string[]): Command | undefined {
    let command: Command | undefined = this.#program.command;
    for (const word of words) {
      command = command?.commands.find((sub) => sub.name() === word || sub.aliases().includes(word));
    }
    return command;
  }

  #open(): Session {
    if (this.#session) return this.#session;
    const flags = flagValues(this.#program.command);
    const protocol = String(flags.protocol);
    if (protocol !== 'http' && protocol !== 'https') {
      throw new UsageError(`invalid argument "${protocol}" for "--protocol" flag: http or https`);
    }
    const client = new Client({
      protocol,
      host: String(flags.apiserver).replace(/^\[(.*)\]$/, '$1'),
      port: Number(flags.port),
      timeout: Number(flags.timeout),
      token: String(flags.token ?? ''),
    });
    this.#session = { client, terminal: this.#terminal, output: outputOf(flags.output) };
    return this.#session;
  }

  #handlers(): Handlers {
    return {
      get: (spec, flags) => runGet(this.#open(), spec, flags),
      write: (spec, write, args, flags) => runWrite(this.#open(), spec, write, args, flags),
      apply: (flags) => this.#apply(flags),
      deleteFile: async (file) => (await import('./apply.js')).deleteFile(this.#open(), this.#kinds(), file),
      save: (flags) => this.#save(flags),
      observe: async (flags) => (await import('./observe.js')).runObserve(this.#open(), flags),
      trace: async (args, flags) => (await import('./trace.js')).runTrace(this.#open(), args, flags),
      version: () => this.#version(),
      help: async (words) => this.#help(words),
      completion: async (words) => this.#completion(words),
    };
  }

  async #apply(flags: Flags): Promise<boolean> {
    const { file, lb } = flags;
    if (typeof file !== 'string' && typeof lb !== 'string') return this.#noOptions('apply');
    const { applyDump, applyFile } = await import('./apply.js');
    const kinds = this.#kinds();
    let success = true;
    if (typeof lb === 'string') success = await applyDump(this.#open(), kinds, ruleSpec(this.#specs), lb);
    if (typeof file === 'string') success = (await applyFile(this.#open(), kinds, file)) && success;
    return success;
  }

  /** The daemon is asked for kinds at most once, and only for those this client lacks. */
  #kinds(): FindKind {
    let remote: Promise<readonly CommandSpec[]> | undefined;
    return async (kind) => {
      const known = findKind(this.#specs, kind);
      if (known) return known;
      remote ??= fetchCommands(this.#open().client);
      return findKind(await remote, kind);
    };
  }

  async #save(flags: Flags): Promise<boolean> {
    if (flags.all && flags.lb) {
      throw new UsageError(
        'if any flags in the group [all lb] are set none of the others can be; [all lb] were all set',
      );
    }
    if (!flags.all && !flags.lb) return this.#noOptions('save');
    const { saveRules } = await import('./save.js');
    return saveRules(this.#open(), ruleSpec(this.#specs), String(flags['config-path'] ?? DEFAULT_SAVE_FOLDER));
  }

  #noOptions(verb: string): boolean {
    this.#terminal.stdout.write(`Provide valid options\n${helpText(this.find([verb]))}`);
    return false;
  }

  async #version(): Promise<boolean> {
    const { clientVersion } = await import('./version.js');
    const { version, build } = clientVersion();
    printLine(this.#terminal.stdout, `Loxicmd version: ${version}\nLoxicmd build info: ${build}`);
    return true;
  }

  #help(words: readonly string[]): boolean {
    const command = this.#lookUp(words);
    if (command) {
      this.#terminal.stdout.write(helpText(command));
      return true;
    }
    const topic = words.map((word) => `\`${word}\``).join(' ');
    printLine(this.#terminal.stderr, `Unknown help topic [${topic}]\n${usageText(this.#program.command)}`);
    return false;
  }

  #completion(words: readonly string[]): boolean {
    if (words.length !== 1) throw new UsageError(`accepts 1 arg(s), received ${words.length}`);
    const shell = SHELLS.find((name) => name === words[0]);
    if (!shell) throw new UsageError(`invalid argument "${words[0]}" for "loxicmd completion"`);
    this.#terminal.stdout.write(completionScript(shell satisfies Shell, this.#program.command));
    return true;
  }

  #explain(error: unknown, argv: readonly string[]): number {
    const { stderr } = this.#terminal;
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    if (error instanceof TransportError) {
      const output = outputOf(flagValues(this.#program.command).output);
      printLine(errorStream(this.#terminal, output), `Error: ${error.message}`);
      return 1;
    }
    if (error instanceof UnknownVerbError) {
      printLine(stderr, unknownVerb(error.verb, this.#program.command));
      return 1;
    }
    const usage = error instanceof CommanderError ? usageErrorFrom(error) : error;
    if (!(usage instanceof UsageError)) throw error;
    printLine(stderr, `Error: ${usage.message}\n${usageText(this.find(this.#path(argv)))}`);
    return 1;
  }

  /** The words of the line that name a command, for the usage after an error. */
  #path(argv: readonly string[]): string[] {
    const path: string[] = [];
    for (const word of argv) if (this.#lookUp([...path, word])) path.push(word);
    return path;
  }
}

function outputOf(value: FlagValue): Output {
  return value === 'wide' || value === 'json' || value === 'yaml' ? value : 'narrow';
}

function ruleSpec(specs: readonly CommandSpec[]): CommandSpec {
  const spec = specs.find(({ name }) => name === 'lb');
  if (!spec) throw new Error('the lb command is missing');
  return spec;
}

function unknownVerb(verb: string, program: Command): string {
  const near = program.commands.map((command) => command.name()).filter((name) => isNear(verb, name));
  const hint = near.length > 0 ? `\n\nDid you mean this?\n${near.map((name) => `\t${name}`).join('\n')}\n` : '';
  return `Error: unknown command "${verb}" for "loxicmd"${hint}\nRun 'loxicmd --help' for usage.`;
}
