import type { CommandSpec } from '@loxilb/sdk/command';

interface Route {
  readonly destinationIPNet?: string;
  readonly hardwareMark?: number;
  readonly statistic?: { readonly packets?: number; readonly bytes?: number };
}

const narrow = [
  { title: 'DestinationIPNet', value: 'destinationIPNet' },
  { title: 'Gateway', value: 'gateway' },
  { title: 'Flag', value: 'flags' },
];

export const command: CommandSpec = {
  name: 'route',
  plugin: 'route',
  path: '/config/route',
  envelope: 'routeAttr',
  get: {
    summary: 'Get a route',
    long: 'It shows the routes of the kernel',
    sortKey: (route: Route) => route.destinationIPNet ?? '',
    narrow: { columns: narrow },
    wide: {
      columns: [
        ...narrow,
        { title: 'HardwareMark', value: (route: Route) => String(route.hardwareMark ?? 0) },
        { title: 'Packets', value: (route: Route) => String(route.statistic?.packets ?? 0) },
        { title: 'Bytes', value: (route: Route) => String(route.statistic?.bytes ?? 0) },
      ],
    },
  },
};
