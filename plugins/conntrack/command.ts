import type { CommandSpec, Flag } from '@loxilb/sdk/command';

interface Flow {
  readonly servName?: string;
  readonly destinationIP?: string;
  readonly sourceIP?: string;
  readonly destinationPort?: number;
  readonly sourcePort?: number;
  readonly protocol?: string;
  readonly ident?: string;
  readonly conntrackState?: string;
  readonly conntrackAct?: string;
  readonly packets?: number;
  readonly bytes?: number;
}

const SERVICE: Flag = { name: 'servName', type: 'string', help: 'Only the flows of the service of this name' };

export const command: CommandSpec = {
  name: 'conntrack',
  aliases: ['ct', 'conntracks', 'cts'],
  plugin: 'conntrack',
  path: '/config/conntrack',
  envelope: 'ctAttr',
  get: {
    summary: 'Get a Conntrack',
    long: 'It shows connection track information',
    flags: [SERVICE],
    indents: true,
    query: (flags): Record<string, string> => (flags.servName ? { servName: String(flags.servName) } : {}),
    filter: (flow: Flow, flags) => !flags.servName || flow.servName === flags.servName,
    sortKey: (flow: Flow) =>
      [
        flow.destinationIP ?? '',
        flow.sourceIP ?? '',
        fiveDigits(flow.destinationPort),
        fiveDigits(flow.sourcePort),
        flow.protocol ?? '',
      ].join('|'),
    narrow: {
      titlesWhenEmpty: true,
      columns: [
        { title: 'Service Name', value: (flow: Flow) => flow.servName ?? '-' },
        { title: 'DestIP', value: 'destinationIP' },
        { title: 'SrcIP', value: 'sourceIP' },
        { title: 'DPort', value: (flow: Flow) => String(flow.destinationPort ?? 0) },
        { title: 'SPort', value: (flow: Flow) => String(flow.sourcePort ?? 0) },
        { title: 'Proto', value: 'protocol' },
        { title: 'Ident', value: 'ident' },
        { title: 'State', value: 'conntrackState' },
        { title: 'Act', value: 'conntrackAct' },
        { title: 'Packets', value: (flow: Flow) => String(flow.packets ?? 0) },
        { title: 'Bytes', value: (flow: Flow) => String(flow.bytes ?? 0) },
      ],
    },
  },
  delete: {
    summary: 'End connection tracking entries',
    long: [
      'End all connection tracking entries, or those of one service. Running connections are set up again by their',
      'next packet, as new ones.',
      '',
      'ex)',
      '    loxicmd delete conntrack',
      '    loxicmd delete conntrack --servName=http-service',
    ].join('\n'),
    usage: 'conntrack [--servName=<service-name>]',
    flags: [SERVICE],
    output: 'debug',
    helpWithoutArgs: false,
    plan: (_args, flags) => {
      const query = flags.servName ? `?servName=${encodeURIComponent(String(flags.servName))}` : '';
      return [{ method: 'DELETE', path: `/config/conntrack/all${query}` }];
    },
  },
};

function fiveDigits(port: number | undefined): string {
  return String(port ?? 0).padStart(5, '0');
}
