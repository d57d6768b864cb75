import type { CommandSpec, WriteCommand } from '@loxilb/sdk/command';
import type { Answer } from './client.js';
import { type Output, printLine, type Terminal } from './terminal.js';

/** Error body of the daemon. Only some members are there, depending on who refused. */
interface ErrorBody {
  readonly message?: string;
  readonly result?: string;
  readonly error?: ErrorDetails;
}

interface ErrorDetails {
  readonly code?: string;
  /** The refusal in words; `result` may be one of the old, short texts that clients know. */
  readonly text?: string;
  readonly field?: string;
  readonly value?: unknown;
  readonly remedy?: string;
}

/** Prints the answer to a POST or DELETE. True when it was a success. */
export function printResult(
  terminal: Terminal,
  output: Output,
  style: WriteCommand['output'],
  spec: CommandSpec,
  answer: Answer,
): boolean {
  const data = output === 'json' || output === 'yaml';
  if (style !== 'quiet') {
    printLine(data ? terminal.stderr : terminal.stdout, `Debug: response.StatusCode: ${answer.status}`);
  }
  if (answer.status !== 200) {
    printFailure(terminal, output, spec, answer);
    return false;
  }
  const body = parse(answer.text);
  if (body instanceof SyntaxError) {
    printLine(errorStream(terminal, output), `Error: Failed to unmarshal HTTP response: (${body.message})`);
    return false;
  }
  const result = resultOf(body);
  const failed = isRefusal(answer);
  if (data) printLine(terminal.stdout, JSON.stringify(body, null, 4));
  else if (style !== 'policy' || failed) printLine(terminal.stdout, result);
  return !failed;
}

/** Some refusals come with status 200: one of every release, all of them from a daemon that speaks the legacy dialect. */
export function isRefusal(answer: Answer): boolean {
  const result = resultOf(parse(answer.text));
  return answer.status !== 200 || (result !== '' && result !== 'Success');
}

/** The daemon has the object already, exactly as it was sent: by convention such codes end so. */
export function isThereAlready({ status, text }: Answer): boolean {
  const body = parse(text) as Partial<ErrorBody> | null;
  return status === 409 && /_EXISTS$/.test(body?.error?.code ?? '');
}

function resultOf(body: unknown): string {
  return String((body as { result?: unknown } | null)?.result ?? '');
}

/** Prints why the daemon refused: its text, then the reason, the field and the remedy if it names them. */
export function printFailure(terminal: Terminal, output: Output, spec: CommandSpec, answer: Answer): void {
  const stream = errorStream(terminal, output);
  const body = parse(answer.text);
  if (typeof body !== 'object' || body === null || body instanceof SyntaxError) {
    printLine(stream, `Error: ${answer.text.trim() || `HTTP status ${answer.status}`}`);
    return;
  }
  const { result, message, error } = body as ErrorBody;
  if (answer.status === 404 && result === undefined && /^path .* was not found$/.test(message ?? '')) {
    printLine(stream, `Error: plugin '${spec.plugin}' is not enabled on this loxilb: add it to loxilb.config.ts`);
    return;
  }
  const short = result ?? message ?? `HTTP status ${answer.status}`;
  printLine(stream, `Error: ${short}`);
  if (error) printDetails(terminal.stderr, error, short);
}

function printDetails(stderr: Terminal['stderr'], { text, field, value, remedy }: ErrorDetails, short: string): void {
  if (text && text !== short) printLine(stderr, `  reason: ${text}`);
  if (field) printLine(stderr, `  field: ${field}${valueText(value)}`);
  if (remedy) printLine(stderr, `  remedy: ${remedy}`);
}

/** Where errors go: with the tables they belong to, but never into data another program reads. */
export function errorStream(terminal: Terminal, output: Output): Terminal['stdout'] {
  return output === 'json' || output === 'yaml' ? terminal.stderr : terminal.stdout;
}

function valueText(value: unknown): string {
  return value === undefined || value === null ? '' : ` (${JSON.stringify(value)})`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return error as SyntaxError;
  }
}
