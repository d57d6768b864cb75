/**
 * Thousands of packets with bytes changed at random. Whatever comes in, a packet goes on untouched, or is translated
 * exactly as its service or flow says, or is answered properly, or is dropped and counted.
 */
import { describe, expect, it } from 'vitest';
import { addPlainService, type Conversation, conversation } from './conversation.js';
import { type RunResult, VERDICT } from './harness.js';
import { CLIENT_SIDE, type Device, SERVER_SIDE } from './network.js';
import { ipBytes, macBytes } from './reference/address.js';
import { be16, buildFrame, buildIp } from './reference/build.js';
import { internetChecksum } from './reference/checksum.js';
import { joinBytes, type Packet, TCP } from './reference/packet.js';
import { InvalidPacket, parseFrame, parseIp, parseIpHeader } from './reference/parse.js';
import { randomBytes, seeded } from './reference/random.js';
import { type Peer, translate, translateError } from './reference/translate.js';
import {
  type Bench,
  departure,
  describePath,
  ENDPOINT_PORT,
  EVERY_KIND,
  type Family,
  type Host,
  host,
  MODE,
  type Protocol,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  scene,
} from './scenario.js';

const ROUNDS = 1500;

interface World {
  readonly bench: Bench;
  readonly family: Family;
  readonly protocol: Protocol;
  readonly talk: Conversation;
  readonly server: Host;
  /** Another service of the machine, whose addresses must not turn up. */
  readonly foreign: readonly string[];
}

/** A service with one flow, and a second service that differs in address, endpoint and source address. */
function buildWorld(bench: Bench, family: Family, protocol: Protocol): World {
  bench.reset();
  addPlainService(bench, family, protocol);
  const foreignVip = family === 4 ? '20.20.20.77' : '2001:db8:20::77';
  const foreignEndpoint = host(SERVER_SIDE, family, 45);
  const foreignSource = family === 4 ? '10.77.0.1' : '2001:db8:77::1';
  bench.addService({
    address: foreignVip,
    port: SERVICE_PORT,
    protocol: protocolNumber(family, protocol === 'tcp' ? 'udp' : 'tcp'),
    mode: MODE.fullnat,
    endpoints: [{ address: foreignEndpoint.address, source: foreignSource }],
  });
  const talk = conversation(family, protocol);
  bench.receive(talk.request, CLIENT_SIDE);
  bench.receive(talk.reply, SERVER_SIDE);
  return {
    bench,
    family,
    protocol,
    talk,
    server: scene(family).endpoint(0),
    foreign: [foreignEndpoint.address, foreignSource],
  };
}

interface Sample {
  readonly frame: Uint8Array;
  readonly device: Device;
}

function samples({ family, talk, server }: World): Sample[] {
  const { client } = scene(family);
  const kind = family === 4 ? { type: 3, code: 4, rest: 1400 } : { type: 2, code: 0, rest: 1400 };
  const quote = buildIp(talk.requestOut.ip, talk.requestOut.transport);
  const error = packetFrom(server, client.address, { kind: 'error', ...kind, quote });
  return [
    { frame: buildFrame(talk.request), device: CLIENT_SIDE },
    { frame: buildFrame(talk.reply), device: SERVER_SIDE },
    { frame: buildFrame(error), device: SERVER_SIDE },
  ];
}

/** Changes up to four bytes, now and then cuts the frame, and often makes the IPv4 header sum right again. */
function mutate(frame: Uint8Array, family: Family, random: () => number): Uint8Array {
  const pick = (limit: number): number => Math.floor(random() * limit);
  const shortest = 14 + (family === 4 ? 20 : 40);
  const length = random() < 0.1 ? shortest + pick(frame.length - shortest) : frame.length;
  const out = frame.slice(0, length);
  for (let change = pick(4); change >= 0; change--) {
    const at = 14 + pick(out.length - 14);
    out.set(random() < 0.5 ? randomBytes(random, 1) : [(out[at] ?? 0) ^ (1 << pick(8))], at);
  }
  if (family === 4 && random() < 0.8) {
    out.set([0, 0], 24);
    out.set(be16(internetChecksum(out.subarray(14, 34))), 24);
  }
  return out;
}

function tryParse(frame: Uint8Array): Packet | string {
  try {
    return parseFrame(frame);
  } catch (error) {
    if (error instanceof InvalidPacket) return error.message;
    throw error;
  }
}

/** The packets a valid input may become; empty when it has to pass untouched. */
function allowedOutputs(world: World, input: Packet): Packet[] {
  const { family, protocol, server, talk } = world;
  const { vip, client } = scene(family);
  const { transport, ip } = input;
  if (transport.kind === 'error') return errorOutputs(world, input, transport.quote);
  if (transport.kind === 'opaque') return [];
  const matches = transport.kind === (protocol === 'icmp' ? 'echo' : protocol);
  if (!matches) return [];
  const ports =
    transport.kind === 'echo'
      ? { from: transport.identifier, to: transport.identifier }
      : { from: transport.sourcePort, to: transport.destinationPort };
  const servicePort = transport.kind === 'echo' ? ports.to : SERVICE_PORT;
  if (ip.destination === vip && ports.to === servicePort) {
    const destination = { address: server.address, port: ENDPOINT_PORT };
    return [translate(input, { destination, hop: departure(server), hops: 1 })];
  }
  const answers = ip.source === server.address && ip.destination === client.address && ports.to === talk.from.port;
  if (answers && (transport.kind === 'echo' || ports.from === ENDPOINT_PORT)) {
    const source = { address: vip, port: SERVICE_PORT };
    return [translate(input, { source, hop: departure(client), hops: 1 })];
  }
  return [];
}

/** An error may quote either packet of the flow, with anything changed that is not in its tuple. */
function errorOutputs({ family, protocol, talk, server }: World, input: Packet, quote: Uint8Array): Packet[] {
  const { vip, client } = scene(family);
  let addresses: { source: string; destination: string };
  try {
    addresses = parseIpHeader(quote).ip;
  } catch {
    return [];
  }
  if (addresses.source !== client.address || addresses.destination !== server.address) return [];
  const vipPeer: Peer = { address: vip, port: protocol === 'icmp' ? talk.from.port : SERVICE_PORT };
  const source = input.ip.source === server.address ? vip : undefined;
  return [translateError(input, { source, quoted: { source: talk.from, destination: vipPeer }, hops: 1 })];
}

/** A packet turned round: an ICMP error that quotes it, or a reset. Sums of what is quoted are nobody's business here. */
function isAnswer(frame: Uint8Array, output: Packet): boolean {
  const { source, destination } = output.ethernet;
  const turned = Buffer.compare(joinBytes(macBytes(source), macBytes(destination)), frame.subarray(0, 12)) === 0;
  const sourceAt = output.ip.version === 4 ? 26 : 22;
  const sender = frame.subarray(sourceAt, sourceAt + ipBytes(output.ip.destination).length);
  const back = Buffer.compare(ipBytes(output.ip.destination), sender) === 0;
  const { transport } = output;
  if (transport.kind === 'tcp') return turned && back && (transport.flags & TCP.rst) !== 0;
  if (transport.kind !== 'error') return false;
  return turned && back && Buffer.compare(transport.quote, frame.subarray(14, 14 + transport.quote.length)) === 0;
}

/** What is wrong with what the program did, or undefined. */
function judge(world: World, frame: Uint8Array, result: RunResult, drops: number): string | undefined {
  const same = Buffer.compare(result.frame, frame) === 0;
  if (result.verdict === VERDICT.drop) return drops > 0 ? undefined : 'dropped without a count';
  if (result.verdict === VERDICT.next && same) return undefined;
  if (result.verdict !== VERDICT.redirect && result.verdict !== VERDICT.next) return `verdict ${result.verdict}`;
  const input = tryParse(frame);
  const output = tryParse(result.frame);
  if (typeof output !== 'string' && isAnswer(frame, output)) return undefined;
  if (typeof input === 'string' || typeof output === 'string') {
    // A wrong checksum or length is carried on as wrong as it was; it is for the receiver to see.
    return input === output ? undefined : `input ${describeFault(input)}, output ${describeFault(output)}`;
  }
  if (world.foreign.some((address) => [output.ip.source, output.ip.destination].includes(address)))
    return 'addresses of another service';
  const expected = allowedOutputs(world, input).map(buildFrame);
  if (expected.some((bytes) => Buffer.compare(bytes, result.frame) === 0)) return undefined;
  return 'neither translated as it should be nor an answer';
}

function describeFault(packet: Packet | string): string {
  return typeof packet === 'string' ? `invalid (${packet})` : 'valid';
}

function countDrops(bench: Bench): number {
  return Object.entries(bench.path.counters())
    .filter(([name]) => name.startsWith('DROP_'))
    .reduce((sum, [, value]) => sum + value, 0);
}

describePath('random mutations', (bench) => {
  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    it(`${ROUNDS} packets`, () => {
      const random = seeded(family * 10 + protocol.length + protocol.charCodeAt(0));
      let world = buildWorld(bench(), family, protocol);
      const faults: string[] = [];
      let touched = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const choices = samples(world);
        const { frame: original, device } = choices[Math.floor(random() * choices.length)] ?? {
          frame: new Uint8Array(0),
          device: CLIENT_SIDE,
        };
        const frame = mutate(original, family, random);
        const before = countDrops(bench());
        const result = bench().path.ingress(frame, { ifindex: bench().network.ifindex(device) });
        const fault = judge(world, frame, result, countDrops(bench()) - before);
        if (result.verdict !== VERDICT.next) touched++;
        if (fault) faults.push(`${fault}\n   in ${hex(frame)}\n  out ${hex(result.frame)} (${result.verdict})`);
        // A reset or a new flow would make the next packets mean something else.
        if (result.verdict !== VERDICT.next) world = buildWorld(bench(), family, protocol);
      }
      expect(faults.slice(0, 3).join('\n')).toBe('');
      // The samples are close enough to real packets for the test to mean something.
      expect(touched).toBeGreaterThan(ROUNDS / 10);
    });
  });

  it('the judge itself is awake', () => {
    const world = buildWorld(bench(), 4, 'udp');
    const { talk } = world;
    const frame = buildFrame(talk.request);
    const redirect = (packet: Packet): RunResult => ({ verdict: VERDICT.redirect, frame: buildFrame(packet) });
    expect(judge(world, frame, redirect(talk.requestOut), 0)).toBeUndefined();
    const stolen = { ...talk.requestOut, ip: { ...talk.requestOut.ip, destination: world.foreign[0] ?? '' } };
    expect(judge(world, frame, redirect(stolen), 0)).toBe('addresses of another service');
    expect(judge(world, frame, redirect(talk.replyOut), 0)).toContain('neither');
    expect(judge(world, frame, { verdict: VERDICT.drop, frame }, 0)).toBe('dropped without a count');
    const broken = buildFrame(talk.requestOut);
    broken.set([1], 40);
    expect(judge(world, frame, { verdict: VERDICT.redirect, frame: broken }, 0)).toContain('invalid (UDP checksum)');
    expect(parseIp(frame.subarray(14)).length).toBe(frame.length - 14);
  });
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
