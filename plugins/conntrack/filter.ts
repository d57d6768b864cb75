import { encodeBytes, ipAddress, isIpAddress } from '@loxilb/sdk';
import { badFilter } from './errors.js';
import { type FlowFilter, PROTOCOL_NAMES } from './format.js';

/** Reads `servName`, `protocol`, `sourceIP` and `destinationIP` of a query; anything else is ignored, as everywhere. */
export function parseFilter(query: Readonly<Record<string, string>>): FlowFilter {
  const { servName, protocol, sourceIP, destinationIP } = query;
  return {
    ...(servName && { serviceName: servName }),
    ...(protocol && { protocol: parseProtocol(protocol) }),
    ...(sourceIP && { source: parseAddress('sourceIP', sourceIP) }),
    ...(destinationIP && { destination: parseAddress('destinationIP', destinationIP) }),
  };
}

function parseProtocol(text: string): number {
  for (const [number, name] of PROTOCOL_NAMES) if (name === text.toLowerCase()) return number;
  if (/^\d{1,3}$/.test(text) && Number(text) <= 255) return Number(text);
  throw badFilter('protocol', text, 'a protocol name or number');
}

function parseAddress(field: string, text: string): Uint8Array {
  if (!isIpAddress(text)) throw badFilter(field, text, 'an IP address');
  return encodeBytes(ipAddress, text);
}
