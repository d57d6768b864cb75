import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { FlagValue } from '@loxilb/sdk/command';
import {
  formatEvent,
  formatLost,
  type LostEvents,
  type ObservedEvent,
  command as observe,
  observePath,
} from '../plugins/observe/command.js';
import type { Session } from './get.js';
import { errorStream, printFailure } from './result.js';
import { printLine } from './terminal.js';

/** `observe`: prints packets as they come, until the daemon ends, `--count` of them came, or somebody interrupts. */
export async function runObserve(session: Session, flags: Readonly<Record<string, FlagValue>>): Promise<boolean> {
  const { client, terminal, output } = session;
  const path = observePath(flags);
  const response = await client.open('GET', path, undefined, 'endless');
  // A daemon that speaks the legacy dialect refuses with status 200.
  if (response.statusCode !== 200 || response.headers['content-type'] === 'application/json') {
    const text = await client.read('GET', path, response);
    printFailure(terminal, output, observe, { status: response.statusCode ?? 0, text });
    return false;
  }
  const limit = Number(flags.count ?? 0) || Number.POSITIVE_INFINITY;
  const whole = await showMessages(session, response, limit);
  response.destroy();
  if (!whole) printLine(errorStream(terminal, output), 'Error: the daemon has ended the stream');
  return whole;
}

/** True when `limit` packets were shown. */
async function showMessages(session: Session, response: Readable, limit: number): Promise<boolean> {
  let shown = 0;
  try {
    for await (const { name, data } of readMessages(response)) {
      if (name === 'lost') printLine(session.terminal.stderr, formatLost(data as LostEvents));
      if (name !== 'packet') continue;
      const event = data as ObservedEvent;
      const text = session.output === 'json' ? JSON.stringify(event) : formatEvent(event);
      printLine(session.terminal.stdout, text);
      if (++shown >= limit) return true;
    }
  } catch (error) {
    throw session.client.explain('GET', '/observe', error);
  }
  return false;
}

/** Server-sent events, as the daemon writes them: one line of data each. */
async function* readMessages(response: Readable): AsyncGenerator<{ name: string; data: unknown }> {
  let name = '';
  for await (const line of createInterface({ input: response })) {
    const [, field, value = ''] = /^(\w+): (.*)$/.exec(line) ?? [];
    if (field === 'event') name = value;
    else if (field === 'data') yield { name, data: JSON.parse(value) };
  }
}
