/** Errors about packets of further paths of SCTP associations, for which no flow was seen to be opened. */
import { Kind, RawPacket } from '../reference/raw.js';
import { type RawChange, RawQuote, sameBytes } from '../reference/raw-translate.js';
import type { ServiceModel } from './model.js';

const SCTP = 132;

const outgoing = new RawPacket();
const outgoingQuote = new RawQuote();

/**
 * The direction that answers the quoted packet, as what came out says it; undefined when that is not between a service
 * and its endpoints.
 */
export function pathOfError(
  quote: RawQuote,
  services: readonly ServiceModel[],
  output: Uint8Array,
  length: number,
): RawChange | undefined {
  outgoing.read(output, length);
  if (quote.protocol !== SCTP || outgoing.kind !== Kind.error || !outgoingQuote.read(outgoing)) return undefined;
  const { addresses: at, size, sport, dport, protocol } = outgoingQuote;
  const source = output.slice(at + size, at + 2 * size);
  const destination = output.slice(at, at + size);
  const path = { source, destination, sport: dport, dport: sport };
  const known = services.some((service) => isBetween(service, quote, path));
  return protocol === SCTP && size === quote.size && known ? path : undefined;
}

function isBetween({ vip, protocol, first, endpoints }: ServiceModel, quote: RawQuote, path: RawChange): boolean {
  if (protocol !== SCTP || vip.length !== quote.size) return false;
  return endpoints.some(({ address, port }) => {
    const there = quote.sport === first && path.dport === port && isSame(path.destination, address);
    return there || (quote.dport === port && path.sport === first && isSame(path.source, vip));
  });
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && sameBytes(one, 0, other, 0, one.length);
}
