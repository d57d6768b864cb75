import type { CommandSpec } from '@loxilb/sdk/command';

interface Neighbor {
  readonly ipAddress?: string;
  readonly dev?: string;
  readonly macAddress?: string;
}

export const command: CommandSpec = {
  name: 'neighbor',
  aliases: ['nei', 'neigh'],
  plugin: 'neighbor',
  path: '/config/neighbor',
  envelope: 'neighborAttr',
  get: {
    summary: 'Get neighbors',
    long: 'It shows the neighbors of the kernel',
    sortKey: (entry: Neighbor) => `${entry.ipAddress ?? ''}|${entry.dev ?? ''}|${entry.macAddress ?? ''}`,
    narrow: {
      columns: [
        { title: 'IP Address', value: 'ipAddress' },
        { title: 'Device Name', value: 'dev' },
        { title: 'MAC Address', value: 'macAddress' },
      ],
    },
  },
};
