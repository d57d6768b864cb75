import type { CommandSpec } from '@loxilb/sdk/command';

interface Port {
  readonly portName?: string;
  readonly portNo?: number;
  readonly portSoftwareInformation?: {
    readonly portType?: number;
    readonly portActive?: boolean;
    readonly bpfLoaded?: boolean;
    readonly bpf?: string;
    readonly portReal?: { readonly portName?: string } | null;
  };
  readonly portHardwareInformation?: {
    readonly macAddress?: string;
    readonly link?: boolean;
    readonly state?: boolean;
    readonly mtu?: number;
  };
  readonly portStatisticInformation?: {
    readonly rxBytes?: number;
    readonly txBytes?: number;
    readonly rxPackets?: number;
    readonly txPackets?: number;
    readonly rxErrors?: number;
    readonly txErrors?: number;
  };
  readonly portL3Information?: {
    readonly routed?: boolean;
    readonly IPv4Address?: readonly string[] | null;
    readonly IPv6Address?: readonly string[] | null;
  };
  readonly portL2Information?: { readonly isPvid?: boolean; readonly vid?: number };
  readonly DataplaneSync?: number;
}

/** Bits of `portType`, in the order they are shown. */
const TYPES: readonly (readonly [bit: number, text: string])[] = [
  [0x1, 'phy'],
  [0x8, 'vlan-sif'],
  [0x10, 'vlan'],
  [0x2, 'bond-sif'],
  [0x4, 'bond'],
  [0x20, 'vxlan-sif'],
  [0x100, 'vti'],
  [0x40, 'vxlan'],
];

const index = { title: 'Index', value: (port: Port) => String(port.portNo ?? 0) };
const name = { title: 'PortName', value: 'portName' };
const mac = { title: 'MAC', value: 'portHardwareInformation.macAddress' };
const linkState = {
  title: 'Link/State',
  value: (port: Port) =>
    `${port.portHardwareInformation?.link ?? false}/${port.portHardwareInformation?.state ?? false}`,
};
const l3 = { title: 'L3Info', value: l3Text };
const l2 = { title: 'L2Info', value: l2Text };

export const command: CommandSpec = {
  name: 'port',
  plugin: 'port',
  path: '/config/port',
  envelope: 'portAttr',
  get: {
    summary: 'Get a Port dump',
    long: 'It shows the interfaces, their addresses and their counters',
    sortKey: (port: Port) => port.portNo ?? 0,
    narrow: { columns: [index, name, mac, linkState, l3, l2] },
    wide: {
      columns: [
        index,
        name,
        mac,
        linkState,
        { title: 'MTU', value: (port: Port) => String(port.portHardwareInformation?.mtu ?? 0) },
        { title: 'isActive/BPF\nPort type', value: activeText },
        { title: 'Statistics', value: statisticsText },
        l3,
        l2,
        { title: 'Sync', value: (port: Port) => String(port.DataplaneSync ?? 0) },
      ],
    },
  },
};

function l3Text({ portL3Information: l3 }: Port): string {
  return [
    `Routed: ${l3?.routed ?? false}`,
    `IPv4 : [${(l3?.IPv4Address ?? []).join(' ')}]`,
    `IPv6 : [${(l3?.IPv6Address ?? []).join(' ')}]`,
  ].join('\n');
}

function l2Text({ portL2Information: l2 }: Port): string {
  return `IsPVID: ${l2?.isPvid ?? false}\nVID : ${l2?.vid ?? 0}`;
}

function activeText({ portSoftwareInformation: software }: Port): string {
  const type = software?.portType ?? 0;
  const words = TYPES.filter(([bit]) => (type & bit) !== 0).map(([, text]) => text);
  if (software?.portReal?.portName) words.push(`(${software.portReal.portName})`);
  const lines = [`${software?.portActive ?? false}/${software?.bpfLoaded ?? false}`, words.join(',')];
  // tc alone is what everybody expects.
  if (software?.bpf?.includes('xdp')) lines.push(software.bpf);
  return lines.join('\n');
}

function statisticsText({ portStatisticInformation: counters }: Port): string {
  return [
    `rx/tx byte : ${counters?.rxBytes ?? 0}/${counters?.txBytes ?? 0}`,
    `rx/tx packets : ${counters?.rxPackets ?? 0}/${counters?.txPackets ?? 0}`,
    `rx/tx error : ${counters?.rxErrors ?? 0}/${counters?.txErrors ?? 0}`,
  ].join('\n');
}
