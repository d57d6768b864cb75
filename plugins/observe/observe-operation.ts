import type { DirectoryService, OperationSpec, ServiceDirectory, StreamReply } from '@loxilb/sdk';
import { badParameter, serviceUnknown } from './errors.js';
import { type EventKind, OBSERVE_PATH } from './model.js';
import type { Watchers, WatchFilter } from './watchers.js';

const KINDS: readonly EventKind[] = ['drop', 'pass', 'event'];
const MAX_SAMPLE = 1_000_000_000;

export function observeOperation(watchers: Watchers, directory: () => ServiceDirectory | undefined): OperationSpec {
  return {
    method: 'GET',
    path: OBSERVE_PATH,
    summary:
      'Packets that are dropped, left alone or change a flow, as they come (server-sent events); kind=drop,pass,event; service; sample=n for one of n',
    access: 'read',
    contentType: 'text/event-stream',
    handle: ({ query }): StreamReply => ({ live: true, stream: watchers.add(parseFilter(query, directory())) }),
  };
}

export function parseFilter(
  { kind, service, sample }: Readonly<Record<string, string>>,
  directory: ServiceDirectory | undefined,
): WatchFilter {
  return {
    kinds: kind ? parseKinds(kind) : KINDS,
    sample: sample ? parseSample(sample) : 1,
    ...(service && { serviceId: findService(service, directory).id }),
  };
}

function parseKinds(text: string): EventKind[] {
  return text.split(',').map((word) => {
    const kind = KINDS.find((known) => known === word);
    if (!kind) throw badParameter('kind', word, KINDS.join(', '));
    return kind;
  });
}

function parseSample(text: string): number {
  const sample = Number(text);
  if (!/^\d+$/.test(text) || sample < 1 || sample > MAX_SAMPLE) {
    throw badParameter('sample', text, `a number from 1 to ${MAX_SAMPLE}`);
  }
  return sample;
}

/** By name, `address:port` or `address:port/protocol`; an address with colons stands in brackets. */
function findService(text: string, directory: ServiceDirectory | undefined): DirectoryService {
  const services = directory?.list() ?? [];
  const found = services.find(({ name }) => name !== '' && name === text) ?? services.find(named(text));
  if (!found) throw serviceUnknown(text);
  return found;
}

function named(text: string): (service: DirectoryService) => boolean {
  const [place = '', protocol] = text.split('/');
  return (service) => {
    const host = service.address.includes(':') ? `[${service.address}]` : service.address;
    if (protocol !== undefined && protocol !== service.protocol) return false;
    const port = Number(place.slice(host.length + 1));
    if (place === host || place === service.address) return true;
    return place.startsWith(`${host}:`) && port >= service.port && port <= service.lastPort;
  };
}
