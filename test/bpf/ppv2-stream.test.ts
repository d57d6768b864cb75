/**
 * Conversations at random through a lossy network: whatever is lost, repeated or out of order, the endpoint reads the
 * header and then the client's bytes, and the client is never told of more than the endpoint has.
 */
import { describe, expect, it } from 'vitest';
import { type RunResult, VERDICT } from './harness.js';
import { ProxyFlow } from './proxy-flow.js';
import { joinBytes, TCP, type Tcp } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import { padded, sackOption } from './reference/proxy.js';
import { randomBytes, seeded } from './reference/random.js';
import { describePath } from './scenario.js';

const WINDOW = 20_000;
const STEPS = 400;

/** Distance on the circle of sequence numbers. */
const distance = (from: number, to: number): number => (to - from) | 0;

/** One side's view of what the other sends: bytes by their place behind its SYN. */
class Receiver {
  readonly bytes: number[] = [];
  finished = false;
  private readonly first: number;
  private readonly parts = new Map<number, number>();
  private end: number | undefined;

  constructor(first: number) {
    this.first = first;
  }

  take(segment: Tcp): void {
    const from = distance(this.first, segment.sequence);
    segment.payload.forEach((byte, index) => {
      const at = from + index;
      const known = at < this.bytes.length ? this.bytes[at] : this.parts.get(at);
      if (at < 0) return;
      if (known !== undefined && known !== byte) throw new Error(`byte ${at} was ${known}, now ${byte}`);
      if (at >= this.bytes.length) this.parts.set(at, byte);
    });
    if (segment.flags & TCP.fin) this.end = from + segment.payload.length;
    for (let next = this.parts.get(this.bytes.length); next !== undefined; next = this.parts.get(this.bytes.length)) {
      this.parts.delete(this.bytes.length);
      this.bytes.push(next);
    }
    this.finished = this.bytes.length === this.end;
  }

  /** The number it expects next. */
  get expected(): number {
    return (this.first + this.bytes.length + (this.finished ? 1 : 0)) >>> 0;
  }

  /** Options that say what it has besides. */
  options(): Uint8Array {
    const held = [...this.parts.keys()].sort((a, b) => a - b);
    const blocks: [number, number][] = [];
    for (const at of held) {
      const last = blocks.at(-1);
      if (last && last[1] === at) last[1] = at + 1;
      else blocks.push([at, at + 1]);
    }
    const edges = blocks.slice(0, 3).map(([a, b]): [number, number] => [this.first + a, this.first + b]);
    return edges.length ? padded(sackOption(...edges), 2) : new Uint8Array(0);
  }
}

function segmentOf(result: RunResult): Tcp {
  const { transport } = parseFrame(result.frame);
  if (transport.kind !== 'tcp') throw new Error('not TCP');
  return transport;
}

/** A client and an endpoint that know of each other what comes through. */
class Conversation {
  private readonly flow: ProxyFlow;
  private readonly random: () => number;
  private readonly stream: Uint8Array;
  private readonly receiver: Receiver;
  private known = false;
  private sent = 0;
  private acknowledged = 0;

  constructor(flow: ProxyFlow, random: () => number) {
    this.flow = flow;
    this.random = random;
    this.stream = randomBytes(random, 3000);
    this.receiver = new Receiver(flow.first);
  }

  private chance(of: number): boolean {
    return this.random() < of;
  }

  private get loss(): number {
    return 0.3;
  }

  /** What comes out towards the endpoint, unless it is lost there. */
  private toEndpoint(segment: Tcp): void {
    if (this.chance(this.loss)) return;
    if (!(segment.flags & TCP.ack)) throw new Error('no acknowledgment');
    this.known = true;
    this.receiver.take(segment);
    if (this.chance(0.5)) this.answer();
  }

  clientSends(): void {
    const from = this.chance(0.6) ? this.acknowledged : Math.min(this.sent, this.stream.length);
    const length = this.chance(0.2) ? 0 : Math.floor(this.random() * 400);
    const to = Math.min(from + length, this.stream.length);
    const fin = to === this.stream.length && this.chance(0.5) ? TCP.fin : 0;
    const at = this.chance(0.05) ? -1 : from;
    const fields = { sequence: this.flow.first + at, flags: TCP.ack | fin };
    const packet = this.flow.client({ ...fields, payload: this.stream.slice(from, at < 0 ? from : to) });
    this.sent = Math.max(this.sent, to + (fin ? 1 : 0));
    if (this.chance(this.loss)) return;
    const result = this.flow.fromClient(packet);
    expect(result.verdict).toBe(VERDICT.redirect);
    this.toEndpoint(segmentOf(result));
  }

  answer(): void {
    if (!this.known) return;
    const { expected } = this.receiver;
    const payload = randomBytes(this.random, this.chance(0.7) ? 0 : 50);
    const packet = this.flow.answer({
      acknowledgment: expected,
      window: WINDOW,
      payload,
      options: this.receiver.options(),
    });
    if (this.chance(this.loss)) return;
    const result = this.flow.fromEndpoint(packet);
    expect(result.verdict).toBe(VERDICT.redirect);
    const segment = segmentOf(result);
    if (segment.payload.length && segment.destinationPort === 8080) this.toEndpoint(segment);
    else this.clientReads(segment);
  }

  private clientReads(segment: Tcp): void {
    const acknowledged = distance(this.flow.first, segment.acknowledgment);
    const really = Math.max(0, distance(this.flow.first + this.flow.size, this.receiver.expected));
    expect(acknowledged).toBe(really);
    expect(acknowledged).toBeLessThanOrEqual(this.sent);
    this.acknowledged = Math.max(this.acknowledged, Math.min(acknowledged, this.stream.length));
    const view = new DataView(segment.options.buffer, segment.options.byteOffset, segment.options.byteLength);
    for (let edge = 4; edge + 8 <= segment.options.length; edge += 8) {
      const [left, right] = [view.getUint32(edge), view.getUint32(edge + 4)];
      expect(distance(segment.acknowledgment, left)).toBeGreaterThan(0);
      expect(distance(this.flow.first, right)).toBeLessThanOrEqual(this.sent);
    }
  }

  get finished(): boolean {
    return this.receiver.finished && this.acknowledged === this.stream.length;
  }

  judge(): void {
    const all = joinBytes(this.flow.header, this.stream);
    const { bytes } = this.receiver;
    expect(Buffer.from(bytes).toString('hex')).toBe(Buffer.from(all.slice(0, bytes.length)).toString('hex'));
  }
}

describePath('PROXY protocol, streams', (bench) => {
  describe.each([4, 6] as const)('IPv%d', (family) => {
    it.each(Array.from({ length: 25 }, (_, seed) => seed))('conversation %d', (seed) => {
      const random = seeded(1000 * family + seed);
      const flow = new ProxyFlow(bench(), family, { isn: Math.floor(random() * 0x1_0000_0000) });
      flow.begin();
      const talk = new Conversation(flow, random);
      for (let step = 0; step < STEPS && !talk.finished; step++) {
        if (random() < 0.7) talk.clientSends();
        else talk.answer();
        talk.judge();
      }
      expect(talk.finished).toBe(true);
    });
  });
});
