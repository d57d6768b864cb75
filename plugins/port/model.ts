import type { NetworkAddress, NetworkLink } from '@loxilb/sdk';

/** Bits of `portType` on the wire. */
export const PORT_TYPE = {
  real: 1,
  bondMember: 2,
  bond: 4,
  vlanMember: 8,
  vlanBridge: 16,
  vxlanMember: 32,
  vxlan: 64,
  wireguard: 128,
  vti: 256,
  ipip: 512,
  gre: 1024,
} as const;

/** rtnetlink kinds that are not plain ports. */
const TYPE_OF_KIND: Readonly<Record<string, number>> = {
  bond: PORT_TYPE.bond,
  vlan: PORT_TYPE.vlanMember,
  bridge: PORT_TYPE.vlanBridge,
  vxlan: PORT_TYPE.vxlan,
  wireguard: PORT_TYPE.wireguard,
  vti: PORT_TYPE.vti,
  vti6: PORT_TYPE.vti,
  ipip: PORT_TYPE.ipip,
  ip6tnl: PORT_TYPE.ipip,
  gre: PORT_TYPE.gre,
  gretap: PORT_TYPE.gre,
  ip6gre: PORT_TYPE.gre,
  ip6gretap: PORT_TYPE.gre,
};

/** What the interface is, and what it is part of. */
export function portType(link: NetworkLink, master: NetworkLink | undefined): number {
  const own = TYPE_OF_KIND[link.kind] ?? PORT_TYPE.real;
  if (master?.kind === 'bond') return own | PORT_TYPE.bondMember;
  if (master?.kind === 'bridge') return own | (link.kind === 'vxlan' ? PORT_TYPE.vxlanMember : PORT_TYPE.vlanMember);
  return own;
}

const PRIVATE_VLANS: Readonly<Record<string, number>> = { bond: 4000, wireguard: 4010, vti: 4020, vti6: 4020 };

/**
 * VLAN of untagged packets. A bridge named `vlan<id>` is that VLAN; any other port has a private one made of its
 * number.
 */
export function portVlan(link: NetworkLink): { readonly isPvid?: true; readonly vid: number } {
  const named = link.kind === 'bridge' ? /^vlan(\d{1,4})$/.exec(link.name) : null;
  if (named) return { vid: Number(named[1]) };
  return { isPvid: true, vid: (PRIVATE_VLANS[link.kind] ?? 3800) + link.ifindex };
}

/** `192.168.1.9/24 (P) 192.168.1.10/24 (S) `: primary and secondary addresses in one text, as clients expect. */
export function addressText(addresses: readonly NetworkAddress[]): string {
  return addresses
    .map((address, index) => {
      const isSecondary = addresses.slice(0, index).some((earlier) => sharesSubnet(earlier, address));
      return `${address.address}/${address.prefixLength} (${isSecondary ? 'S' : 'P'}) `;
    })
    .join('');
}

/** The kernel makes an IPv4 address secondary when an earlier one has its subnet. IPv6 knows no such thing. */
function sharesSubnet(a: NetworkAddress, b: NetworkAddress): boolean {
  if (a.family !== 4 || a.prefixLength !== b.prefixLength) return false;
  const hostBits = 2 ** (32 - a.prefixLength);
  return Math.floor(ipv4Number(a.address) / hostBits) === Math.floor(ipv4Number(b.address) / hostBits);
}

function ipv4Number(address: string): number {
  return address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
}
