import type { OperationSpec, StreamReply } from '@loxilb/sdk';
import { command } from './command.js';
import { parseFilter } from './filter.js';
import { type FlowFlusher, flushFlows } from './flush.js';
import { type FlowLister, listFlows } from './list-flows.js';

const path = `${command.path}/all`;

export function listOperation(lister: FlowLister): OperationSpec {
  return {
    method: 'GET',
    path,
    summary:
      'List flows, one entry per direction; narrow by servName, protocol, sourceIP, destinationIP; indent=4 for people',
    access: 'read',
    handle: ({ query }): StreamReply => ({ stream: listFlows(lister, parseFilter(query), query.indent === '4') }),
  };
}

export function flushOperation(flusher: FlowFlusher): OperationSpec {
  return {
    method: 'DELETE',
    path,
    summary: 'End all flows, or those of the service servName',
    access: 'write',
    handle: async ({ query }) => {
      await flushFlows(flusher, query.servName || undefined);
      return { result: 'Success' };
    },
  };
}
