import type { CommandRequest, CommandSpec, FlagValue, WriteCommand } from '@loxilb/sdk/command';
import { CommandError } from '@loxilb/sdk/command';
import { TransportError } from './client.js';
import type { Session } from './get.js';
import { errorStream, printResult } from './result.js';
import { printLine } from './terminal.js';

/** `create <object>` and `delete <object>`. Every planned request is sent; true when all were a success. */
export async function runWrite(
  session: Session,
  spec: CommandSpec,
  write: WriteCommand,
  args: readonly string[],
  flags: Readonly<Record<string, FlagValue>>,
): Promise<boolean> {
  const { terminal, output } = session;
  const notes = errorStream(terminal, output);
  let requests: CommandRequest[];
  try {
    requests = write.plan(args, flags, (line) => printLine(notes, line));
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    printLine(notes, error.message);
    return false;
  }
  let success = true;
  for (const request of requests) success = (await send(session, spec, write, request)) && success;
  return success;
}

async function send(
  session: Session,
  spec: CommandSpec,
  write: WriteCommand,
  request: CommandRequest,
): Promise<boolean> {
  const { client, terminal, output } = session;
  const notes = errorStream(terminal, output);
  for (const line of request.before ?? []) printLine(notes, line);
  try {
    const answer = await client.request(request.method, request.path, request.body);
    return printResult(terminal, output, write.output, spec, answer);
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    if (request.transportError) printLine(notes, request.transportError);
    printLine(notes, `Error: ${error.message}`);
    return false;
  }
}
