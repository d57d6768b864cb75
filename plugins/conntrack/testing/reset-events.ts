import { encodeBytes } from '@loxilb/sdk';
import { type CtKey, type CtResetEvent, CtResetReason, ctResetEvent } from '../layout.gen.js';
import { testKey } from './entries.js';

export type TestReset = Partial<Omit<CtResetEvent, 'key'>> & { readonly key?: Partial<CtKey> };

/** An event as it comes out of the ring; by default of a flow through a full-NAT IPv4 service. */
export function resetEvent({ key, ...fields }: TestReset = {}): Uint8Array {
  return encodeBytes(ctResetEvent, {
    key: testKey({ saddr: '10.0.0.1', sport: 40000, daddr: '20.20.20.1', dport: 2020, ...key }),
    nsaddr: '31.31.31.254',
    nsport: 40001,
    ndaddr: '31.31.31.1',
    ndport: 8080,
    clientSeq: 0xfffffffe,
    endpointSeq: 0x01020304,
    serviceId: 7,
    special: 0,
    reason: CtResetReason.CT_RESET_IDLE,
    oneWay: 0,
    ...fields,
  });
}
