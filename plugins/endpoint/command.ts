import type { CommandSpec } from '@loxilb/sdk/command';

interface Endpoint {
  readonly hostName?: string;
  readonly name?: string;
  readonly probeType?: string;
  readonly probeReq?: string;
  readonly probePort?: number;
  readonly probeDuration?: number;
  readonly inactiveReTries?: number;
}

export const command: CommandSpec = {
  name: 'endpoint',
  aliases: ['Endpoint', 'EndPoint', 'ep', 'endpoints'],
  plugin: 'endpoint',
  path: '/config/endpoint',
  envelope: 'Attr',
  get: {
    summary: 'Get endpoints',
    long: 'It shows endpoints the load balancer rules use',
    aliases: ['ep', 'endpoints'],
    sortKey: (endpoint: Endpoint) =>
      [
        endpoint.hostName ?? '',
        String(endpoint.probePort ?? 0).padStart(5, '0'),
        endpoint.probeType ?? '',
        endpoint.name ?? '',
      ].join('|'),
    narrow: {
      columns: [
        { title: 'Host', value: 'hostName' },
        { title: 'Name', value: 'name' },
        { title: 'PType', value: (endpoint: Endpoint) => `${endpoint.probeType ?? ''}:${endpoint.probeReq ?? ''}` },
        { title: 'Port', value: (endpoint: Endpoint) => String(endpoint.probePort ?? 0) },
        { title: 'Duration', value: (endpoint: Endpoint) => String(endpoint.probeDuration ?? 0) },
        { title: 'Retries', value: (endpoint: Endpoint) => String(endpoint.inactiveReTries ?? 0) },
        { title: 'MinDelay', value: 'minDelay' },
        { title: 'AvgDelay', value: 'avgDelay' },
        { title: 'MaxDelay', value: 'maxDelay' },
        { title: 'State', value: 'currState' },
      ],
    },
  },
};
