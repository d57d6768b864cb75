/**
 * Raw flow entries to JSON. This file runs in worker threads too: it imports nothing of the sdk (which would load its
 * schemas into every thread) and reads the bytes of `struct ct_key` and `struct ct_entry` itself. `format.test.ts`
 * holds it against the generated codecs.
 */
import { asBytes, JsonWriter } from './json-writer.js';

export const KEY_SIZE = 40;
export const ENTRY_SIZE = 104;
export const SERVICE_ID_OFFSET = 92;

const KEY = { saddr: 0, daddr: 16, sport: 32, dport: 34, proto: 36 } as const;
const ENTRY = {
  packets: 0,
  bytes: 8,
  nsaddr: 16,
  ndaddr: 32,
  nsport: 48,
  ndport: 50,
  state: 76,
  flags: 78,
  nat: 79,
  serviceId: SERVICE_ID_OFFSET,
} as const;
const FLAG_REPLY = 1;
const NAT_FULL = 1;

const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMP6 = 58;
const SCTP = 132;

/** Names of the protocols that have one; others are shown by number. */
export const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map([
  [TCP, 'tcp'],
  [UDP, 'udp'],
  [SCTP, 'sctp'],
  [ICMP, 'icmp'],
  [ICMP6, 'icmp6'],
]);

/** By the values of `enum ct_tcp_state`, `ct_udp_state`, `ct_icmp_state`, `ct_sctp_state`. */
const TCP_STATES = ['closed', 'sync-sent', 'sync-ack', 'est', 'fini', 'closed-wait', 'h/e'];
const UDP_STATES = ['closed', 'udp-uni', 'udp-est'];
const ICMP_STATES = ['closed', 'req-sent', 'bidir', 'dest-unr', 'ttl-exp', 'icmp-redir'];
const SCTP_STATES = [
  ...['closed', 'init', 'init-ack', 'cookie-echo', 'cookie-echo-resp', 'pre-est', 'est'],
  ...['shut', 'shut-ack', 'shut-complete', 'abort', 'err'],
];

/** Keeps the flows all of whose given members match. Addresses are the 16 bytes of the map. */
export interface FlowFilter {
  readonly serviceName?: string;
  readonly protocol?: number;
  readonly source?: Uint8Array;
  readonly destination?: Uint8Array;
}

export interface FormatTask {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
  /** Names of the services that occur in the batch. */
  readonly serviceNames: ReadonlyMap<number, string>;
  readonly filter: FlowFilter;
  readonly indented?: boolean;
}

/** Shown when a flow belongs to no named service. */
export const NO_SERVICE = '-';

/** What stands between the values: on one line, or four spaces a level as JSON.stringify would indent the whole list. */
function layoutOf(indented: boolean) {
  const next = indented ? ',\n            ' : ',';
  const colon = indented ? ': ' : ':';
  return {
    comma: asBytes(indented ? ',\n' : ','),
    destination: asBytes(`${indented ? '        {\n            ' : '{'}"destinationIP"${colon}"`),
    source: asBytes(`"${next}"sourceIP"${colon}"`),
    destinationPort: asBytes(`${next}"destinationPort"${colon}`),
    sourcePort: asBytes(`${next}"sourcePort"${colon}`),
    protocol: asBytes(`${next}"protocol"${colon}"`),
    state: asBytes(`"${next}"conntrackState"${colon}"`),
    act: asBytes(`"${next}"conntrackAct"${colon}"`),
    ident: asBytes(`"${next}"ident"${colon}"0:0"`),
    packets: asBytes(`${next}"packets"${colon}`),
    bytes: asBytes(`${next}"bytes"${colon}`),
    service: asBytes(`${next}"servName"${colon}`),
    close: asBytes(indented ? '\n        }' : '}'),
  } as const;
}

const oneLine = layoutOf(false);
const indented = layoutOf(true);
/** Of the batch being written. */
let text = oneLine;

const weight = asBytes(':w0');
const unknownState = asBytes('unk');

/** By the values of `enum ct_nat`. */
const acts = {
  forward: ['dnat-', 'fdnat-', 'hdnat-', 'ddsr-'].map(asBytes),
  reply: ['snat-', 'fsnat-', 'hsnat-', 'sdsr-'].map(asBytes),
} as const;

const states: ReadonlyMap<number, readonly Uint8Array[]> = new Map([
  [TCP, TCP_STATES.map(asBytes)],
  [UDP, UDP_STATES.map(asBytes)],
  [ICMP, ICMP_STATES.map(asBytes)],
  [ICMP6, ICMP_STATES.map(asBytes)],
  [SCTP, SCTP_STATES.map(asBytes)],
]);

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;

/** Kept between batches, so that its buffer is allocated once per thread. */
const writer = new JsonWriter();

/** The batch as JSON objects joined by commas: empty when the filter leaves none. */
export function formatBatch(task: FormatTask): Uint8Array<ArrayBuffer> {
  const { keys, count, filter } = task;
  const batch = { keys, values: task.values, view: viewOf(task.values) };
  const names = new Map([...task.serviceNames].map(([id, name]) => [id, asBytes(JSON.stringify(name || NO_SERVICE))]));
  writer.clear();
  text = task.indented ? indented : oneLine;
  for (let index = 0; index < count; index++) {
    const key = index * KEY_SIZE;
    const entry = index * ENTRY_SIZE;
    const serviceId = batch.view.getUint32(entry + ENTRY.serviceId, true);
    if (!isOfService(task, serviceId) || !matches(filter, keys, key)) continue;
    const name = names.get(serviceId) ?? noService;
    writer.reserve(name.length);
    if (writer.length > 0) writer.text(text.comma);
    writeFlow(batch, key, entry, name);
  }
  return writer.finish();
}

/** Packed entries being read; `key` and `entry` below are byte offsets into them. */
interface Batch {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly view: DataView;
}

const noService = asBytes(JSON.stringify(NO_SERVICE));

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function isOfService(task: FormatTask, serviceId: number): boolean {
  const { serviceName } = task.filter;
  return serviceName === undefined || (task.serviceNames.get(serviceId) || NO_SERVICE) === serviceName;
}

function matches(filter: FlowFilter, keys: Uint8Array, key: number): boolean {
  if (filter.protocol !== undefined && keys[key + KEY.proto] !== filter.protocol) return false;
  if (filter.source && !sameAddress(filter.source, 0, keys, key + KEY.saddr)) return false;
  return !filter.destination || sameAddress(filter.destination, 0, keys, key + KEY.daddr);
}

function sameAddress(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number): boolean {
  for (let index = 15; index >= 0; index--) if (a[aOffset + index] !== b[bOffset + index]) return false;
  return true;
}

function writeFlow(batch: Batch, key: number, entry: number, name: Uint8Array): void {
  const { keys, values, view } = batch;
  const sport = portAt(keys, key + KEY.sport);
  const dport = portAt(keys, key + KEY.dport);
  writer.text(text.destination);
  writer.address(keys, key + KEY.daddr);
  writer.text(text.source);
  writer.address(keys, key + KEY.saddr);
  writer.byte(QUOTE);
  writeNumber(text.destinationPort, dport);
  writeNumber(text.sourcePort, sport);
  writeProtocolAndState(keys[key + KEY.proto] as number, values[entry + ENTRY.state] as number);
  if (isTranslated(batch, key, entry)) writeAct(values, entry);
  writer.text(text.ident);
  writeNumber(text.packets, counterAt(view, entry + ENTRY.packets));
  writeNumber(text.bytes, counterAt(view, entry + ENTRY.bytes));
  writer.text(text.service);
  writer.text(name);
  writer.text(text.close);
}

function writeNumber(member: Uint8Array, value: number): void {
  if (value === 0) return;
  writer.text(member);
  writer.decimal(value);
}

function writeProtocolAndState(protocol: number, state: number): void {
  writer.text(text.protocol);
  const name = protocolBytes.get(protocol);
  if (name) writer.text(name);
  else writer.decimal(protocol);
  writer.text(text.state);
  writer.text(states.get(protocol)?.[state] ?? unknownState);
}

const protocolBytes = new Map([...PROTOCOL_NAMES].map(([number, name]) => [number, asBytes(name)]));

/**
 * The way out of an entry is its new tuple. Forward: new source and the endpoint; reply: the service (what the client
 * sees as its peer) and the client. The port shown is the endpoint's, or the service's. DSR changes no address of the
 * packet: the new tuple is its tunnel's, or just names the endpoint.
 */
function writeAct(values: Uint8Array, entry: number): void {
  const reply = ((values[entry + ENTRY.flags] as number) & FLAG_REPLY) !== 0;
  const nat = values[entry + ENTRY.nat] as number;
  const names = reply ? acts.reply : acts.forward;
  writer.text(text.act);
  writer.text(names[nat] ?? (names[0] as Uint8Array));
  if (nat === NAT_FULL) {
    writer.address(values, entry + ENTRY.nsaddr);
    writer.byte(COMMA);
    writer.address(values, entry + ENTRY.ndaddr);
  } else {
    writer.address(values, entry + (reply ? ENTRY.nsaddr : ENTRY.ndaddr));
  }
  writer.byte(COLON);
  writer.decimal(portAt(values, entry + (reply ? ENTRY.nsport : ENTRY.ndport)));
  writer.text(weight);
}

function isTranslated({ keys, values }: Batch, key: number, entry: number): boolean {
  return !(
    sameAddress(keys, key + KEY.daddr, values, entry + ENTRY.ndaddr) &&
    sameAddress(keys, key + KEY.saddr, values, entry + ENTRY.nsaddr) &&
    portAt(keys, key + KEY.dport) === portAt(values, entry + ENTRY.ndport) &&
    portAt(keys, key + KEY.sport) === portAt(values, entry + ENTRY.nsport)
  );
}

function portAt(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
}

/** Exact up to 2^53, which no counter of a flow reaches. */
function counterAt(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 0x1_0000_0000 + view.getUint32(offset, true);
}
