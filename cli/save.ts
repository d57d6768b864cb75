import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandSpec } from '@loxilb/sdk/command';
import type { Session } from './get.js';
import { printFailure } from './result.js';
import { printLine } from './terminal.js';

const FILE_NAME = 'lbconfig.txt';

interface SavedRule {
  readonly serviceArguments: { readonly managed?: boolean; readonly snat?: boolean; readonly name?: string };
  readonly endpoints?: readonly Record<string, unknown>[] | null;
}

/** `save --lb`: rules somebody else manages are left out, because somebody else will bring them back. */
export async function saveRules(session: Session, spec: CommandSpec, folder: string): Promise<boolean> {
  const { client, terminal, output } = session;
  const answer = await client.request('GET', `${spec.path}/all`);
  if (answer.status !== 200) {
    printFailure(terminal, output, spec, answer);
    return false;
  }
  const body = JSON.parse(answer.text) as Record<string, readonly SavedRule[] | null>;
  const rules = (body[spec.envelope] ?? []).filter(isOwn).map(withoutCounters);
  const file = join(folder, FILE_NAME);
  try {
    mkdirSync(folder, { recursive: true });
    if (existsSync(file)) renameSync(file, `${file}.bk`);
    else printLine(terminal.stdout, 'There is no saved config file');
    writeFileSync(file, JSON.stringify({ [spec.envelope]: rules }), { mode: 0o600 });
  } catch (error) {
    printLine(terminal.stdout, `Error: Can't save to ${folder}: ${(error as Error).message}`);
    return false;
  }
  printLine(terminal.stdout, `LB Configuration saved in ${file}`);
  return true;
}

function isOwn({ serviceArguments: service }: SavedRule): boolean {
  return !service.managed && !service.snat && !service.name?.includes('ipvs');
}

/** What the daemon had counted, and what was on its way out, is no part of a configuration. */
function withoutCounters(rule: SavedRule): unknown {
  const endpoints = rule.endpoints?.map((endpoint) => ({ ...endpoint, counter: '', stats: undefined })) ?? null;
  return { ...rule, stats: undefined, draining: undefined, endpoints };
}
