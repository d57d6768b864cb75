/** ICMP errors the balancer itself sends about a packet it will not forward. */
import { expect } from 'vitest';
import { type RunResult, VERDICT } from './harness.js';
import { buildIp } from './reference/build.js';
import type { Packet } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';

/** RFC 1812 4.3.2.3 and RFC 4443 2.4(c): an error is no longer than this. */
const LONGEST = { 4: 576, 6: 1280 } as const;

export interface ErrorKind {
  readonly type: number;
  readonly code: number;
  /** The MTU, or zero. */
  readonly rest: number;
}

/** The answer goes back where the packet came from, and quotes it as it arrived, before any translation. */
export function expectErrorAbout(result: RunResult, packet: Packet, kind: ErrorKind): void {
  expect(result.verdict).toBe(VERDICT.redirect);
  const answer = parseFrame(result.frame);
  const { source, destination } = packet.ethernet;
  expect(answer.ethernet).toEqual({ source: destination, destination: source });
  expect(answer.ip).toMatchObject({ version: packet.ip.version, destination: packet.ip.source });
  expect(answer.ip.ttl).toBeGreaterThanOrEqual(64);
  expect(answer.trailer.length).toBe(0);
  expect(answer.transport).toMatchObject({ kind: 'error', ...kind });
  if (answer.transport.kind !== 'error') return;
  const { quote } = answer.transport;
  const header = packet.ip.version === 4 ? 20 : 40;
  expect(quote.length).toBeGreaterThanOrEqual(header + 8);
  expect(header + 8 + quote.length).toBeLessThanOrEqual(LONGEST[packet.ip.version]);
  expect(Buffer.from(quote)).toEqual(Buffer.from(buildIp(packet.ip, packet.transport).subarray(0, quote.length)));
}
