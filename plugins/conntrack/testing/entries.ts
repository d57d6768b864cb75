import { encodeBytes, type RawBatch } from '@loxilb/sdk';
import { type CtEntry, type CtKey, ctEntry, ctKey } from '../layout.gen.js';

/** One direction of a flow, by hand: what is not given is zero. */
export interface TestFlow {
  readonly key: Partial<CtKey>;
  readonly entry: Partial<CtEntry>;
}

const NO_ADDRESS = '::';

export function testKey(key: Partial<CtKey>): CtKey {
  return { saddr: NO_ADDRESS, daddr: NO_ADDRESS, sport: 0, dport: 0, proto: 6, zone: 0, ...key };
}

export function testEntry(entry: Partial<CtEntry>): CtEntry {
  return {
    packets: 0n,
    bytes: 0n,
    nsaddr: NO_ADDRESS,
    ndaddr: NO_ADDRESS,
    nsport: 0,
    ndport: 0,
    dmac: new Uint8Array(6),
    smac: new Uint8Array(6),
    oif: 0,
    addrDelta: 0,
    portDelta: 0,
    mtu: 65535,
    state: 0,
    way: 0,
    flags: 0,
    nat: 0,
    generation: 0,
    resolved: 0,
    seen: 0,
    endpointId: 0,
    tcpAck: 0,
    tcpWindow: 0,
    serviceId: 0,
    tcpWscale: 0,
    special: 0,
    ppv2: 0,
    ppv2Tick: 0,
    ...entry,
  };
}

/** The flows as the kernel would hand them out in one batch. */
export function rawBatch(flows: readonly TestFlow[]): RawBatch {
  const keys = new Uint8Array(flows.length * ctKey.size);
  const values = new Uint8Array(flows.length * ctEntry.size);
  flows.forEach((flow, index) => {
    keys.set(encodeBytes(ctKey, testKey(flow.key)), index * ctKey.size);
    values.set(encodeBytes(ctEntry, testEntry(flow.entry)), index * ctEntry.size);
  });
  return { keys, values, count: flows.length };
}

/** The connection of the guide's HA chapter: client .103 to service .99:55001, sent on by .81 to endpoint .80:30523. */
export function guideConnection(serviceId: number): [TestFlow, TestFlow] {
  return [
    {
      key: { saddr: '192.168.1.103', sport: 55873, daddr: '192.168.1.99', dport: 55001 },
      entry: {
        nsaddr: '192.168.1.81',
        nsport: 55873,
        ndaddr: '192.168.1.80',
        ndport: 30523,
        state: 3,
        nat: 1,
        packets: 2n,
        bytes: 92n,
        serviceId,
      },
    },
    {
      key: { saddr: '192.168.1.80', sport: 30523, daddr: '192.168.1.81', dport: 55873 },
      entry: {
        nsaddr: '192.168.1.99',
        nsport: 55001,
        ndaddr: '192.168.1.103',
        ndport: 55873,
        state: 3,
        nat: 1,
        flags: 1,
        packets: 1n,
        bytes: 52n,
        serviceId,
      },
    },
  ];
}
