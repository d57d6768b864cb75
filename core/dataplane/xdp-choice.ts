/** Where the XDP program is to hang, and why not elsewhere. */
import type { NetworkLink } from '@loxilb/sdk';

export type XdpMode = 'native' | 'generic';
export type XdpChoice = 'auto' | 'off' | XdpMode;

export interface XdpWish {
  /** Undefined: tc alone. */
  readonly mode: XdpMode | undefined;
  /** Why, as the end of a sentence: `veth gains nothing by XDP`. */
  readonly reason: string;
}

/** Driver of Xen's guests: frames of guests on the same host come with unfinished checksums. */
const DRIVERS_OF_UNFINISHED_CHECKSUMS: ReadonlySet<string> = new Set(['vif', 'xen_netfront']);

/**
 * @param master what the link is a member of, if anything
 * @param driver name of the kernel driver, undefined when it has none or it cannot be told
 */
export function wishXdp(
  choice: XdpChoice,
  link: NetworkLink,
  master: NetworkLink | undefined,
  driver: string | undefined,
): XdpWish {
  if (choice === 'off') return none('XDP is off');
  // XDP cannot tell that a checksum is unfinished, and those of packets that never leave the machine all are.
  if (link.loopback) return none('loopback');
  if (choice !== 'auto') return { mode: choice, reason: `XDP is set to ${choice}` };
  if (link.kind !== '') return none(`${link.kind} gains nothing by XDP`);
  if (master && master.kind !== 'vrf') return none(`a member of ${master.name}, which packets leave by`);
  if (driver && DRIVERS_OF_UNFINISHED_CHECKSUMS.has(driver)) return none(`${driver} hands over unfinished checksums`);
  return { mode: 'native', reason: driver ? `driver ${driver}` : 'a real device' };
}

function none(reason: string): XdpWish {
  return { mode: undefined, reason };
}

/** Drivers that take redirected frames, for kernels that cannot say so (before 6.3). */
const REDIRECT_TARGETS: ReadonlySet<string> = new Set(
  'ena i40e ice igb igc ixgbe mlx5_core mvneta mvpp2 qede sfc veth virtio_net'.split(' '),
);

/** Frames up to this MTU are in one buffer whatever the driver. */
const ONE_BUFFER_MTU = 1500;

/** Bits of enum netdev_xdp_act: frames redirected to the device leave by it, and also those in several buffers. */
const NDO_XMIT = 4;
const NDO_XMIT_SG = 64;

/**
 * Whether frames that XDP redirects to this device in native mode leave by it; a driver that cannot drops them.
 *
 * @param features what the kernel says of the driver, undefined when it cannot say
 */
export function takesRedirects(link: NetworkLink, driver: string | undefined, features: number | undefined): boolean {
  const smallFrames = link.mtu <= ONE_BUFFER_MTU;
  if (features === undefined) return smallFrames && REDIRECT_TARGETS.has(driver ?? link.kind);
  return (features & NDO_XMIT) !== 0 && (smallFrames || (features & NDO_XMIT_SG) !== 0);
}
