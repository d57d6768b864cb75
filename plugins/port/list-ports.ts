import type { AttachedInterface, NetworkAddress, NetworkLink } from '@loxilb/sdk';
import { addressText, portType, portVlan } from './model.js';

export interface PortFacts {
  readonly links: readonly NetworkLink[];
  readonly addresses: readonly NetworkAddress[];
  /** Interfaces the packet path hangs on now. */
  readonly attached: readonly AttachedInterface[];
}

/** The wire's list of interfaces. Members that are zero, empty or false are left out, as clients know it. */
export function listPorts({ links, addresses, attached }: PortFacts): object[] {
  const byIndex = new Map(links.map((link) => [link.ifindex, link]));
  const loaded = new Map(attached.map((one) => [one.ifindex, one]));
  return links.map((link) => {
    const master = byIndex.get(link.masterIfindex);
    const own = addresses.filter((address) => address.ifindex === link.ifindex);
    return {
      portName: link.name,
      portNo: link.ifindex,
      zone: 'root',
      portSoftwareInformation: withoutZero({
        osId: link.ifindex,
        portType: portType(link, master),
        portActive: link.up && link.running,
        bpfLoaded: loaded.has(link.ifindex),
        ...programs(loaded.get(link.ifindex)),
      }),
      portHardwareInformation: hardware(link, master),
      portStatisticInformation: withoutZero(link.statistics),
      portL3Information: {
        ...withoutZero({ routed: own.length > 0 && !master }),
        IPv4Address: [addressText(own.filter(({ family }) => family === 4))],
        IPv6Address: [addressText(own.filter(({ family }) => family === 6))],
      },
      portL2Information: portVlan(link),
    };
  });
}

/** Members of our own: what hangs there, and when it is tc alone, why. */
function programs(attached: AttachedInterface | undefined): object {
  if (!attached?.xdp) return {};
  const { mode, reason } = attached.xdp;
  return { bpf: mode === 'off' ? 'tc' : `tc+xdp ${mode}`, bpfReason: reason };
}

function hardware(link: NetworkLink, master: NetworkLink | undefined): object {
  return {
    rawMacAddress: macBytes(link.mac),
    ...withoutZero({
      macAddress: link.mac,
      mtu: link.mtu,
      link: link.up,
      state: link.running,
      master: master?.name ?? '',
    }),
  };
}

/** Six numbers; zeros for devices without an Ethernet address. */
function macBytes(mac: string): number[] {
  const bytes = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  return bytes.length === 6 && bytes.every((byte) => byte >= 0) ? bytes : [0, 0, 0, 0, 0, 0];
}

function withoutZero(members: object): object {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => Boolean(value)));
}
