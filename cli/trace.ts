import { CommandError, type FlagValue } from '@loxilb/sdk/command';
import {
  formatTrace,
  command as observe,
  TRACE_PATH,
  type TraceAnswer,
  traceBody,
} from '../plugins/observe/command.js';
import type { Session } from './get.js';
import { errorStream, isRefusal, printFailure } from './result.js';
import { printLine } from './terminal.js';

/** `trace <source> <destination>`: what becomes of one made-up packet. */
export async function runTrace(
  session: Session,
  args: readonly string[],
  flags: Readonly<Record<string, FlagValue>>,
): Promise<boolean> {
  const { client, terminal, output } = session;
  let body: ReturnType<typeof traceBody>;
  try {
    body = traceBody(args, flags);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    printLine(errorStream(terminal, output), error.message);
    return false;
  }
  const answer = await client.request('POST', TRACE_PATH, body);
  if (isRefusal(answer)) {
    printFailure(terminal, output, observe, answer);
    return false;
  }
  const traced = JSON.parse(answer.text) as TraceAnswer;
  if (output === 'json') printLine(terminal.stdout, JSON.stringify(traced, null, 4));
  else if (output === 'yaml') terminal.stdout.write((await import('yaml')).stringify(traced));
  else terminal.stdout.write(formatTrace(traced, output === 'wide'));
  return true;
}
