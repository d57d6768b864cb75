import type { Command, Option } from 'commander';

/** Help in the layout of the Go client (cobra), which scripts and the guide quote. */
export function helpText(command: Command): string {
  return `${command.description()}\n\n${usageText(command)}`;
}

/** The part of help that follows an error too. */
export function usageText(command: Command): string {
  const own = command.options.filter((option) => !option.hidden);
  const sections = [
    `Usage:\n${usageLines(command).join('\n')}`,
    aliasSection(command),
    commandSection(command),
    `Flags:\n${flagLines([...own, helpFlag(command)])}`,
    command.parent ? `Global Flags:\n${flagLines(root(command).options)}` : '',
    command.commands.length > 0
      ? `Use "${pathOf(command)} [command] --help" for more information about a command.`
      : '',
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

export function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

export function root(command: Command): Command {
  return command.parent ? root(command.parent) : command;
}

function usageLines(command: Command): string[] {
  const path = pathOf(command);
  if (!command.parent) return [`  ${path} [command]`];
  if (command.commands.length > 0) return [`  ${path} [flags]`, `  ${path} [command]`];
  return [`  ${pathOf(command.parent)} ${command.usage()}`];
}

function aliasSection(command: Command): string {
  const aliases = command.aliases();
  return aliases.length === 0 ? '' : `Aliases:\n  ${[command.name(), ...aliases].join(', ')}`;
}

function commandSection(command: Command): string {
  if (command.commands.length === 0) return '';
  const commands = [...command.commands].sort((a, b) => (a.name() < b.name() ? -1 : 1));
  const width = Math.max(...commands.map((sub) => sub.name().length));
  const lines = commands.map((sub) => `  ${sub.name().padEnd(width)} ${sub.summary()}`);
  return `Available Commands:\n${lines.join('\n')}`;
}

interface FlagLine {
  readonly sort: string;
  readonly names: string;
  readonly help: string;
}

function helpFlag(command: Command): FlagLine {
  return { sort: 'help', names: '  -h, --help', help: `help for ${command.name()}` };
}

function flagLines(flags: readonly (Option | FlagLine)[]): string {
  const lines = flags
    .map((flag) => ('names' in flag ? flag : flagLine(flag)))
    .sort((a, b) => (a.sort < b.sort ? -1 : 1));
  const width = Math.max(...lines.map((line) => line.names.length));
  return lines.map((line) => `${line.names.padEnd(width)}   ${line.help}`).join('\n');
}

function flagLine(option: Option): FlagLine {
  const long = option.long ?? '';
  const type = /<(.*)>/.exec(option.flags)?.[1];
  const names = `  ${option.short ? `${option.short}, ` : '    '}${long}${type ? ` ${type}` : ''}`;
  return { sort: long.slice(2), names, help: `${option.description}${defaultText(option.defaultValue)}` };
}

function defaultText(value: unknown): string {
  if (value === undefined || value === '' || value === 0 || value === false) return '';
  return ` (default ${typeof value === 'string' ? `"${value}"` : String(value)})`;
}
