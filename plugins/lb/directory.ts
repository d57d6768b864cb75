import type { DirectoryEndpoint, EndpointDirectory } from '@loxilb/sdk';
import type { DrainNote, DrainTable } from './drain-table.js';
import { activeReader, flowsReader } from './endpoint-reader.js';
import type { LbMaps } from './maps.js';
import { isMonitored, protocolName } from './model.js';
import type { EndpointRecord, LbState } from './state.js';

export interface DirectoryParts {
  readonly state: LbState;
  readonly maps: Pick<LbMaps, 'endpoint' | 'flows'>;
  readonly drains: DrainTable;
}

/** The endpoints rules use, one per address, protocol and port; and those no rule uses any more whose flows drain. */
export function endpointDirectory(parts: DirectoryParts): EndpointDirectory {
  return { list: () => [...listUsed(parts), ...listDraining(parts)] };
}

function listUsed({ state, maps }: DirectoryParts): DirectoryEndpoint[] {
  const records = [...state.records];
  const isActive = activeReader(maps, records.map(anyId));
  return records.map((record): DirectoryEndpoint => {
    const { address, protocol, port, users } = record;
    const monitored = users.toArray().some(({ service }) => isMonitored(service.rule));
    return { address, protocol, port, active: isActive(anyId(record)), monitored, rules: users.size };
  });
}

/** Health is the same whichever rule uses the endpoint. */
function anyId({ users }: EndpointRecord): number {
  return users.first?.id ?? 0;
}

function listDraining({ state, maps, drains }: DirectoryParts): DirectoryEndpoint[] {
  const notes = [...drains.entries()];
  const flows = flowsReader(
    maps,
    notes.map(([id]) => id),
  );
  const found = new Map<string, DirectoryEndpoint>();
  for (const [id, note] of notes) {
    const entry = maps.endpoint.get(id);
    if (entry === undefined) continue;
    const { addr: address, port } = entry;
    const protocol = protocolName(note.proto);
    if (state.findRecord(address, protocol, port)) continue;
    const key = `${address}|${protocol}|${port}`;
    const draining = together(found.get(key)?.draining, flows(id), note);
    found.set(key, { address, protocol, port, active: false, monitored: false, rules: 0, draining });
  }
  return [...found.values()];
}

function together(before: DirectoryEndpoint['draining'], flows: number, { until }: DrainNote) {
  return { flows: (before?.flows ?? 0) + flows, until: Math.max(before?.until ?? 0, until) };
}
