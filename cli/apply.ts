import { readFileSync } from 'node:fs';
import { CommandError, type CommandSpec } from '@loxilb/sdk/command';
import { TransportError } from './client.js';
import type { Session } from './get.js';
import { errorStream, isRefusal, isThereAlready, printFailure } from './result.js';
import { printLine } from './terminal.js';

/** Finds the command a YAML kind belongs to, asking the daemon for those this client lacks. */
export type FindKind = (kind: string) => Promise<CommandSpec | undefined>;

/** One object of a configuration file. */
interface Item {
  readonly spec: CommandSpec;
  readonly body: unknown;
}

/** `apply -f FILE`: every document of the file in order; one that fails does not stop the others. */
export async function applyFile(session: Session, findKind: FindKind, file: string): Promise<boolean> {
  return report(session, file, await eachItem(session, () => readItems(findKind, file), create));
}

/** `delete -f FILE`: removes what `apply -f FILE` made, last document first. */
export async function deleteFile(session: Session, findKind: FindKind, file: string): Promise<boolean> {
  const items = async (): Promise<(Item | CommandError)[]> => (await readItems(findKind, file)).reverse();
  return report(session, file, await eachItem(session, items, remove));
}

/** `apply --lb FILE`: a dump of `save` (`{"lbAttr": [...]}`), or the documents `apply -f` takes. */
export async function applyDump(
  session: Session,
  findKind: FindKind,
  spec: CommandSpec,
  file: string,
): Promise<boolean> {
  const items = async (): Promise<(Item | CommandError)[]> => {
    const dump = dumpedEntries(readText(file), spec.envelope);
    return dump ? dump.map((entry) => ({ spec, body: bodyOf(spec, entry, {}) })) : readItems(findKind, file);
  };
  return report(session, file, await eachItem(session, items, create));
}

async function eachItem(
  session: Session,
  read: () => Promise<(Item | CommandError)[]>,
  send: (session: Session, item: Item) => Promise<boolean>,
): Promise<boolean> {
  const notes = errorStream(session.terminal, session.output);
  let success = true;
  try {
    for (const item of await read()) {
      if (item instanceof CommandError) {
        printLine(notes, item.message);
        success = false;
      } else success = (await send(session, item)) && success;
    }
  } catch (error) {
    if (!(error instanceof CommandError || error instanceof TransportError)) throw error;
    printLine(notes, error instanceof TransportError ? `Error: ${error.message}` : error.message);
    return false;
  }
  return success;
}

function report({ terminal }: Session, file: string, success: boolean): boolean {
  printLine(terminal.stdout, `Configuration ${success ? 'applied' : 'failed'} - ${file}`);
  return success;
}

async function create(session: Session, { spec, body }: Item): Promise<boolean> {
  return succeed(session, spec, 'POST', spec.path, body);
}

async function remove(session: Session, { spec, body }: Item): Promise<boolean> {
  if (!spec.deletePath) throw new CommandError('Not Supported');
  return succeed(session, spec, 'DELETE', spec.deletePath(body));
}

async function succeed(
  { client, terminal, output }: Session,
  spec: CommandSpec,
  method: 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<boolean> {
  const answer = await client.request(method, path, body);
  if (!isRefusal(answer)) return true;
  // A file may be applied again and again.
  if (method === 'POST' && isThereAlready(answer)) return true;
  printFailure(terminal, output, spec, answer);
  return false;
}

/** The documents of a YAML file; those of an unknown kind as the error to print. */
async function readItems(findKind: FindKind, file: string): Promise<(Item | CommandError)[]> {
  const text = readText(file);
  const { parseAllDocuments } = await import('yaml');
  const parsed = parseAllDocuments(text);
  const documents = Array.isArray(parsed) ? parsed : [];
  for (const { errors } of documents) {
    const [error] = errors;
    if (!error) continue;
    const line = error.linePos?.[0].line ?? 0;
    const [reason = ''] = error.message.split(' at line ');
    throw new CommandError(`Error: Failed to unmarshal File: (yaml: line ${line}: ${reason})`);
  }
  const values = documents.map((document) => document.toJS() as unknown).filter((value) => value !== null);
  return Promise.all(values.map((value) => itemOf(findKind, value)));
}

async function itemOf(findKind: FindKind, document: unknown): Promise<Item | CommandError> {
  if (typeof document !== 'object' || Array.isArray(document)) {
    return new CommandError('Error: Failed to unmarshal File: (a document must have kind and spec)');
  }
  const members = new Map(Object.entries(document as object).map(([key, value]) => [key.toLowerCase(), value]));
  const kind = String(members.get('kind') ?? '');
  const spec = await findKind(kind);
  if (!spec) return new CommandError(`Not Supported\nError: kind '${kind}' is not known`);
  const metadata = (members.get('metadata') ?? {}) as Record<string, unknown>;
  return { spec, body: bodyOf(spec, members.get('spec') ?? {}, metadata) };
}

function bodyOf(spec: CommandSpec, value: unknown, metadata: Record<string, unknown>): unknown {
  return spec.fromYaml ? spec.fromYaml(value, metadata) : value;
}

/** Undefined when the file is not such a dump. */
function dumpedEntries(text: string, envelope: string): readonly unknown[] | undefined {
  if (!text.trimStart().startsWith('{')) return undefined;
  try {
    const dump = JSON.parse(text) as Record<string, readonly unknown[] | null>;
    return envelope in dump ? (dump[envelope] ?? []) : undefined;
  } catch (error) {
    throw new CommandError(`Error: Failed to unmarshal File: (${(error as SyntaxError).message})`);
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'no such file or directory' : message;
    throw new CommandError(`open ${file}: ${reason}`);
  }
}
