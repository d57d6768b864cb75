import { encodeBytes } from '@loxilb/sdk';
import { DpXdpFlags, dpControl, dpXdpDevice } from '../../../core/dataplane/layout.gen.js';
import { CtNewUse, ctHalfOpen } from '../../../plugins/conntrack/layout.gen.js';
import {
  LbEndpointFlags,
  lbEndpoint,
  lbService,
  lbServiceKey,
  lbServiceState,
  lbSlot,
} from '../../../plugins/lb/layout.gen.js';
import { type LoadedObject, updateMap, word } from './bpf.js';
import type { Devices } from './cases.js';
import { WORLD } from './world.js';

export const SERVICE_PORT = 80;
export const ENDPOINT_PORT = 8080;
/** Services over UDP whose endpoint gets packets as they are: by its MAC address, and in a tunnel. */
export const DSR_PORT = 81;
export const TUNNEL_PORT = 82;

const MODE_DSR = 3;
const SELECT_HASH = 1;
const PROTOCOLS = { tcp: 6, udp: 17 } as const;

/** Services without a daemon: the entries a rule with one endpoint needs, for each family and protocol. */
export function writeServices(object: LoadedObject): void {
  updateMap(object.map('dp_control'), word(0), encodeBytes(dpControl, { layoutVersion: 2, generation: 1 }));
  // As after a pass of the daemon: it has found the table of surplus half-open flows empty.
  updateMap(
    object.map('ct_half_open'),
    word(0),
    encodeBytes(ctHalfOpen, { flows: 0, recount: 0, newUse: CtNewUse.CT_NEW_EMPTY }),
  );
  let id = 1;
  for (const family of [4, 6] as const) {
    for (const protocol of ['tcp', 'udp'] as const) {
      writeService(object, id++, {
        family,
        protocol,
        port: SERVICE_PORT,
        endpointPort: ENDPOINT_PORT,
        mode: 0,
        flags: 0,
      });
    }
  }
  const dsr = { family: 4, protocol: 'udp', mode: MODE_DSR } as const;
  writeService(object, id++, { ...dsr, port: DSR_PORT, endpointPort: DSR_PORT, flags: 0 });
  const flags = LbEndpointFlags.LB_EP_TUNNEL;
  writeService(object, id++, { ...dsr, port: TUNNEL_PORT, endpointPort: TUNNEL_PORT, flags });
}

/** What the daemon tells the XDP program of devices it is attached to. */
export function writeDevices(object: LoadedObject, { client, server }: Devices): void {
  for (const { ifindex, mac } of [client, server]) {
    const bytes = Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));
    const flags = DpXdpFlags.DP_XDP_IN | DpXdpFlags.DP_XDP_OUT;
    updateMap(object.map('dp_xdp_device'), word(ifindex), encodeBytes(dpXdpDevice, { mac: bytes, flags }));
  }
}

interface ServiceSpec {
  readonly family: 4 | 6;
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  readonly endpointPort: number;
  readonly mode: number;
  /** enum lb_endpoint_flags */
  readonly flags: number;
}

function writeService(object: LoadedObject, id: number, spec: ServiceSpec): void {
  const { family, protocol, port, endpointPort, mode, flags } = spec;
  updateMap(
    object.map('lb_endpoint'),
    word(id),
    encodeBytes(lbEndpoint, {
      addr: WORLD.server[family],
      source: '::',
      self: mode === MODE_DSR ? WORLD.self[family] : '::',
      port: endpointPort,
      active: 1,
      serviceId: id,
      weight: 1,
      flags,
      ports: 1,
    }),
  );
  updateMap(object.map('lb_slot'), word(id), encodeBytes(lbSlot, { endpointId: id }));
  updateMap(
    object.map('lb_svc_state'),
    word(id),
    encodeBytes(lbServiceState, { cursor: 0, idleTicks: 0xffff_ff, alive: 1, reset: 0 }),
  );
  updateMap(
    object.map('lb_service'),
    encodeBytes(lbServiceKey, { addr: WORLD.vip[family], port, proto: PROTOCOLS[protocol], mark: 0 }),
    encodeBytes(lbService, {
      serviceId: id,
      slotBase: id,
      slotCount: 1,
      affinityTicks: 0,
      select: mode === MODE_DSR ? SELECT_HASH : 0,
      mode,
      flags: 0,
      port,
    }),
  );
}
