/** Makes a list of commands that fails as short as it gets. */
import type { Command } from './commands.js';

/** Tells whether the list still fails, in the same way. */
export type Fails = (commands: readonly Command[]) => Promise<boolean>;

/** Chunks go first, from half of the list down to single commands; then what the commands say is made simpler. */
export async function shrink(commands: readonly Command[], fails: Fails): Promise<readonly Command[]> {
  let shortest = commands;
  for (let before = -1; before !== sizeOf(shortest); ) {
    before = sizeOf(shortest);
    shortest = await dropChunks(shortest, fails);
    shortest = await simplify(shortest, fails);
  }
  return shortest;
}

function sizeOf(commands: readonly Command[]): number {
  return JSON.stringify(commands).length;
}

async function dropChunks(commands: readonly Command[], fails: Fails): Promise<readonly Command[]> {
  let left = commands;
  for (let size = Math.ceil(left.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = left.length - size; from > -size; from -= size) {
      const without = [...left.slice(0, Math.max(0, from)), ...left.slice(Math.max(0, from + size))];
      if (without.length < left.length && (await fails(without))) left = without;
    }
  }
  return left;
}

async function simplify(commands: readonly Command[], fails: Fails): Promise<readonly Command[]> {
  let simplest = commands;
  for (let index = 0; index < simplest.length; index++) {
    for (let better: Command | undefined = simplest[index]; better; ) {
      better = undefined;
      for (const candidate of simpler(simplest[index] as Command)) {
        const list = simplest.map((command, at) => (at === index ? candidate : command));
        if (!(await fails(list))) continue;
        simplest = list;
        better = candidate;
        break;
      }
    }
  }
  return simplest;
}

/** The same with one thing less. */
function simpler(command: Command): Command[] {
  if (command.do !== 'post') return withoutMembers(command, ['drain', 'fail', 'mark', 'crash', 'name']);
  const { rule, ...rest } = command;
  const optional = ['mode', 'sel', 'tunnel', 'ppv2', 'name', 'sources', 'idle', 'drain', 'down', 'portMax', 'mark'];
  const rules = withoutMembers(rule, optional);
  if (rule.endpoints.length > 1)
    for (const gone of rule.endpoints) rules.push({ ...rule, endpoints: rule.endpoints.filter((one) => one !== gone) });
  const posts = rules.map((one): Command => ({ ...rest, rule: one }));
  return rest.fail === undefined && rest.dies === undefined ? posts : [{ do: 'post', rule }, ...posts];
}

function withoutMembers<T extends object>(value: T, names: readonly string[]): T[] {
  return names
    .filter((name) => name in value)
    .map((name) => Object.fromEntries(Object.entries(value).filter(([key]) => key !== name)) as T);
}
