import type { CommandSpec } from '@loxilb/sdk/command';
import { DROPS_PATH, type DropEntry, type ServiceDrops } from './model.js';

export {
  formatEvent,
  formatLost,
  formatTrace,
  observeFlags,
  observePath,
  TRACE_USAGE,
  traceBody,
  traceFlags,
} from './command-line.js';
export { type LostEvents, type ObservedEvent, TRACE_PATH, type TraceAnswer } from './model.js';

/** `loxicmd get drops`. */
export const command: CommandSpec = {
  name: 'drops',
  aliases: ['drop'],
  plugin: 'observe',
  path: DROPS_PATH,
  envelope: 'dropAttr',
  get: {
    summary: 'Get dropped packets by reason and service',
    long: 'It shows how many packets were dropped, why, and of which services; -o wide says what to do about it',
    sortKey: ({ number }: DropEntry) => number,
    narrow: {
      titlesWhenEmpty: true,
      columns: [{ title: 'Reason' }, { title: 'Service' }, { title: 'Address' }, { title: 'Packets' }],
      rows: (entry: DropEntry) => serviceRows(entry).map((row) => [entry.reason, ...cells(row)]),
    },
    wide: {
      titlesWhenEmpty: true,
      columns: [
        { title: 'No' },
        { title: 'Reason' },
        { title: 'Service' },
        { title: 'Address' },
        { title: 'Packets' },
        { title: 'Meaning' },
        { title: 'Remedy' },
      ],
      rows: (entry: DropEntry) => serviceRows(entry).map((row, index) => wideCells(entry, row, index === 0)),
    },
  },
};

/** Explained once: the rows below are about the same. */
function wideCells(entry: DropEntry, row: ServiceDrops, first: boolean): string[] {
  const words = first ? [entry.meaning, entry.remedy] : ['', ''];
  return [String(entry.number), entry.reason, ...cells(row), ...words];
}

function cells({ service, address, packets }: ServiceDrops): string[] {
  return [service, address, String(packets)];
}

/** A row for each service, and one for packets of none: together they are all packets of the reason. */
function serviceRows({ packets, services }: DropEntry): ServiceDrops[] {
  const rest = packets - services.reduce((sum, row) => sum + row.packets, 0);
  return rest > 0 || services.length === 0
    ? [...services, { service: '', address: '-', packets: rest }]
    : [...services];
}
