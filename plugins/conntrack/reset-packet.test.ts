import { describe, expect, it } from 'vitest';
import { CtResetReason, ctResetEvent } from './layout.gen.js';
import { EVENT_SIZE, isOneWay, reasonOf, resetToClient, resetToEndpoint } from './reset-packet.js';
import { resetEvent } from './testing/reset-events.js';

const hex = (packet: Uint8Array | undefined) => packet && Buffer.from(packet).toString('hex');

const ipv6 = {
  key: { saddr: '2001:db8::1', sport: 50000, daddr: '2001:db8::99', dport: 80 },
  nsaddr: 'fd00::1',
  nsport: 50000,
  ndaddr: 'fd00::2',
  ndport: 8443,
  clientSeq: 0xdeadbeef,
  endpointSeq: 0,
};

/** Made by another program from RFC 791, 8200 and 9293, checksums included. */
const expected = {
  clientV4: '4500002800004000400608bb141414010a000001' + '07e49c40fffffffe0000000050040000d9a70000',
  endpointV4: '45000028000040004006bd931f1f1ffe1f1f1f01' + '9c411f9001020304000000005004000072cc0000',
  clientV6:
    '600000000014064020010db800000000000000000000009920010db8000000000000000000000001' +
    '0050c350deadbeef0000000050040000f2960000',
  endpointV6:
    '6000000000140640fd000000000000000000000000000001fd000000000000000000000000000002' +
    'c35020fb000000000000000050040000d1900000',
};

describe('a reset', () => {
  it('goes to the client from the service, and to the endpoint from whom it knew as its client', () => {
    expect(hex(resetToClient(resetEvent()))).toBe(expected.clientV4);
    expect(hex(resetToEndpoint(resetEvent()))).toBe(expected.endpointV4);
  });

  it('is the same in IPv6', () => {
    expect(hex(resetToClient(resetEvent(ipv6)))).toBe(expected.clientV6);
    expect(hex(resetToEndpoint(resetEvent(ipv6)))).toBe(expected.endpointV6);
  });

  it('is of the family of its end', () => {
    const { key, clientSeq } = ipv6;
    const event = resetEvent({ key, clientSeq });
    expect(hex(resetToClient(event))).toBe(expected.clientV6);
    expect(hex(resetToEndpoint(event))).toBe(expected.endpointV4);
  });

  it('has a right checksum whatever the numbers', () => {
    for (let round = 0; round < 500; round++) {
      const numbers = { clientSeq: (round * 0x9e3779b1) >>> 0, nsport: (round * 131) & 0xffff };
      for (const event of [resetEvent(numbers), resetEvent({ ...ipv6, ...numbers })]) {
        for (const packet of [resetToClient(event), resetToEndpoint(event)]) {
          expect(tcpSum(packet as Uint8Array)).toBe(0xffffn);
        }
      }
    }
  });

  it('is not made of an event that makes no sense', () => {
    expect(resetToEndpoint(resetEvent({ nsaddr: 'fd00::1' }))).toBeUndefined();
    expect(resetToClient(resetEvent().subarray(0, EVENT_SIZE - 1))).toBeUndefined();
  });
});

describe('the event', () => {
  it('is read with the layout the object was built with', () => {
    expect(EVENT_SIZE).toBe(ctResetEvent.size);
    expect(reasonOf(resetEvent({ reason: CtResetReason.CT_RESET_CUT }))).toBe(CtResetReason.CT_RESET_CUT);
    expect([isOneWay(resetEvent()), isOneWay(resetEvent({ oneWay: 1 }))]).toEqual([false, true]);
  });
});

/** One's complement sum of pseudo header and segment, all ones when the checksum is right: 2^16 - 1 divides it. */
function tcpSum(packet: Uint8Array): bigint {
  const segment = Buffer.from(packet.subarray(packet.length - 20));
  const addresses = Buffer.from(packet.length === 40 ? packet.subarray(12, 20) : packet.subarray(8, 40));
  const pseudo = Buffer.concat([addresses, Buffer.from([0, 6, 0, 20]), segment]);
  const value = BigInt(`0x${pseudo.toString('hex')}`) % 0xffffn;
  return value === 0n ? 0xffffn : value;
}
