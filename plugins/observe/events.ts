/** `struct dp_event`, as people read it. */
import { hostPort, type Labels, protocolName, tcpFlagNames } from './labels.js';
import { type DpEvent, dpEvent } from './layout.gen.js';
import type { ObservedEvent } from './model.js';
import { reasonOf } from './reasons.js';

const TCP = 6;

/** Undefined when the record is not an event: of another packet path. */
export function decodeEvent(record: Uint8Array): DpEvent | undefined {
  if (record.byteLength < dpEvent.size) return undefined;
  return dpEvent.decode(new DataView(record.buffer, record.byteOffset, record.byteLength), 0);
}

type EventLabels = Pick<Labels, 'service' | 'endpoint' | 'interface'>;

/** @param bootTime nanoseconds since 1970 at which the clock of the packet path was zero */
export function describeEvent(event: DpEvent, labels: EventLabels, bootTime: bigint): ObservedEvent {
  const { reason, serviceId, endpointId, proto, saddr, sport, daddr, dport, tcpFlags } = event;
  const { name, kind } = reasonOf(reason);
  const service = serviceId === 0 ? undefined : labels.service(serviceId);
  return {
    time: timestamp(bootTime + event.time),
    kind,
    reason: name,
    number: reason,
    ...(service && { service: service.service, serviceAddress: service.address }),
    ...(endpointId !== 0 && { endpoint: labels.endpoint(endpointId, proto) }),
    interface: labels.interface(event.ifindex),
    protocol: protocolName(proto),
    source: hostPort(saddr, sport, proto),
    destination: hostPort(daddr, dport, proto),
    length: event.length,
    ...(proto === TCP && { tcpFlags: tcpFlagNames(tcpFlags) }),
  };
}

/** RFC 3339 with microseconds. */
function timestamp(nanoseconds: bigint): string {
  const micros = nanoseconds / 1000n;
  const date = new Date(Number(micros / 1000n)).toISOString();
  return `${date.slice(0, -1)}${String(micros % 1000n).padStart(3, '0')}Z`;
}

/** Of CLOCK_MONOTONIC, which the packet path stamps its events with. */
export function bootTimeNow(): bigint {
  return BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
}
