import type { Flag, FlagValue } from '@loxilb/sdk/command';
import { type Command, type CommanderError, Option } from 'commander';
import { UsageError } from './terminal.js';

/**
 * Flags in GNU syntax with the texts of Go's pflag, on top of commander: a known script that fails today should fail
 * with the same words tomorrow.
 */
const RANGES: Readonly<Record<string, readonly [min: number, max: number]>> = {
  uint32: [0, 0xffffffff],
  int: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};
const TRUE_WORDS = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE_WORDS = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

/** A flag of any type as a commander option; the type's name stands where help shows it. */
export function optionFor(flag: Flag, range = RANGES[flag.type], typeName: string = flag.type): Option {
  const names = flag.short ? `-${flag.short}, --${flag.name}` : `--${flag.name}`;
  const option = new Option(flag.type === 'bool' ? names : `${names} <${typeName}>`, flag.help);
  if (flag.default !== undefined) option.default(flag.default);
  if (flag.type === 'strings') {
    option.argParser((value, previous: string[] | undefined) => [...(previous ?? []), ...splitList(value)]);
  } else if (range) option.argParser((value) => integer(names, value, range));
  return option;
}

/** Values by flag name; commander's own camel-case names stay in here. */
export function flagValues(command: Command): Record<string, FlagValue> {
  const values: Record<string, FlagValue> = {};
  for (const option of command.options) {
    values[option.long?.slice(2) ?? option.attributeName()] = command.getOptionValue(
      option.attributeName(),
    ) as FlagValue;
  }
  return values;
}

function integer(names: string, text: string, [min, max]: readonly [number, number]): number {
  const complain = (why: string): UsageError =>
    new UsageError(
      `invalid argument "${text}" for "${names}" flag: strconv.Parse${min >= 0 ? 'Uint' : 'Int'}: parsing "${text}": ${why}`,
    );
  if (!/^[+-]?\d+$/.test(text)) throw complain('invalid syntax');
  const value = Number(text);
  if (value < min || value > max) throw complain('value out of range');
  return value;
}

/** A comma list in which double quotes protect commas. */
function splitList(text: string): string[] {
  return text === '' ? [] : [...text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(unquote);
}

function unquote([, quoted, plain]: RegExpMatchArray): string {
  return quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"');
}

/** Rewrites the spellings commander lacks: `-o=json` and `--monitor=true`. */
export function normalizeArguments(argv: readonly string[], program: Command): string[] {
  const switches = new Set(
    allOptions(program)
      .filter((option) => option.isBoolean())
      .map((option) => option.long),
  );
  const normal: string[] = [];
  for (const [index, argument] of argv.entries()) {
    if (argument === '--') return [...normal, ...argv.slice(index)];
    const [, name, value = ''] = /^(--[^=]+)=(.*)$/s.exec(argument) ?? [];
    if (name !== undefined && switches.has(name)) {
      if (TRUE_WORDS.includes(value)) normal.push(name);
      else if (!FALSE_WORDS.includes(value)) {
        throw new UsageError(
          `invalid argument "${value}" for "${name}" flag: strconv.ParseBool: parsing "${value}": invalid syntax`,
        );
      }
    } else normal.push(/^-[A-Za-z]=/.test(argument) ? argument.replace('=', '') : argument);
  }
  return normal;
}

function allOptions(command: Command): Option[] {
  return [...command.options, ...command.commands.flatMap(allOptions)];
}

/** Commander's complaint in pflag's words. */
export function usageErrorFrom(error: CommanderError): UsageError {
  const quoted = /'([^']*)'/.exec(error.message)?.[1] ?? '';
  if (error.code === 'commander.unknownOption') return new UsageError(unknownFlag(quoted));
  if (error.code === 'commander.optionMissingArgument') {
    const [names = ''] = quoted.split(' <');
    return new UsageError(`flag needs an argument: ${names.split(', ').at(-1)}`);
  }
  return new UsageError(error.message.replace(/^error: /, ''));
}

export function unknownFlag(given: string): string {
  if (given.startsWith('--')) return `unknown flag: ${given.split('=')[0]}`;
  return `unknown shorthand flag: '${given[1] ?? ''}' in ${given}`;
}
