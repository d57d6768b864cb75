import type { DirectoryEndpoint, EndpointDirectory } from '@loxilb/sdk';
import { activeReader } from './endpoint-reader.js';
import type { LbMaps } from './maps.js';
import { isMonitored } from './model.js';
import type { EndpointRecord, LbState } from './state.js';

/** The endpoints rules use, one per address, protocol and port. */
export function endpointDirectory(state: LbState, maps: Pick<LbMaps, 'endpoint'>): EndpointDirectory {
  return {
    list() {
      const records = [...state.records];
      const isActive = activeReader(maps, records.map(anyId));
      return records.map((record): DirectoryEndpoint => {
        const { address, protocol, port, users } = record;
        const monitored = users.toArray().some(({ service }) => isMonitored(service.rule));
        return { address, protocol, port, active: isActive(anyId(record)), monitored, rules: users.size };
      });
    },
  };
}

/** Health is the same whichever rule uses the endpoint. */
function anyId({ users }: EndpointRecord): number {
  return users.first?.id ?? 0;
}
