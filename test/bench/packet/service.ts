import { encodeBytes, ipFamily } from '@loxilb/sdk';
import { DpXdpFlags, dpControl, dpXdpDevice } from '../../../core/dataplane/layout.gen.js';
import { CtNewUse, ctHalfOpen } from '../../../plugins/conntrack/layout.gen.js';
import {
  LbEndpointFlags,
  LbMode,
  LbSelect,
  LbServiceFlags,
  lbEndpoint,
  lbService,
  lbServiceKey,
  lbServiceState,
  lbSlot,
} from '../../../plugins/lb/layout.gen.js';
import { type LoadedObject, updateMap, word } from './bpf.js';
import type { Devices } from './cases.js';
import { writePortBlocks, writeSources } from './prefixes.js';
import { protocolNumber, type Transport } from './transport.js';
import { WORLD } from './world.js';

export const SERVICE_PORT = 80;
export const ENDPOINT_PORT = 8080;
/** Services over UDP whose endpoint gets packets as they are: by its MAC address, and in a tunnel. */
export const DSR_PORT = 81;
export const TUNNEL_PORT = 82;

/** Never, as far as a run goes. */
const LONG_TICKS = 0xff_ffff;
/** Slots of a Maglev table are a few thousand, whatever the number of endpoints. */
const HASH_SLOTS = 4096;

export interface EndpointSpec {
  readonly address: string;
  readonly port: number;
  /** Address it sees as its client; the client's own unless given. */
  readonly source?: string;
  /** The balancer's address towards it: source of tunnels. */
  readonly self?: string;
  /** enum lb_endpoint_flags */
  readonly flags?: number;
}

export interface ServiceSpec {
  readonly address: string;
  readonly port: number;
  /** Last port of a range. */
  readonly lastPort?: number;
  readonly protocol: Transport['protocol'];
  readonly mark?: number;
  /** enum lb_mode */
  readonly mode?: number;
  /** enum lb_select */
  readonly select?: number;
  readonly ppv2?: boolean;
  /** Number of prefixes that may use it, the clients' among them. */
  readonly sources?: number;
  /** Idle flows end to the second. */
  readonly hasIdleTimer?: boolean;
  readonly endpoints: readonly EndpointSpec[];
}

/** Services without a daemon: the entries their rules would become. */
export class Services {
  private nextService = 1;
  private nextEndpoint = 1;
  private nextSlot = 1;

  constructor(private readonly object: LoadedObject) {
    this.write('dp_control', word(0), encodeBytes(dpControl, { layoutVersion: 2, generation: 1 }));
    // As after a pass of the daemon: it has found the table of surplus half-open flows empty.
    const empty = { taken: 0, givenBack: 0, newUse: CtNewUse.CT_NEW_EMPTY, recount: 0, atBegin: 0 };
    this.write('ct_half_open', word(0), encodeBytes(ctHalfOpen, empty));
  }

  add(spec: ServiceSpec): void {
    const id = this.nextService++;
    const endpoints = spec.endpoints.map((endpoint) => this.addEndpoint(id, endpoint));
    const slots = this.addSlots(spec, endpoints);
    if (spec.sources) writeSources(this.object, id, spec.sources);
    this.write('lb_svc_state', word(id), serviceState(spec));
    const value = encodeBytes(lbService, { ...serviceValue(spec), serviceId: id, ...slots });
    const { address: addr, port, lastPort, mark = 0 } = spec;
    const proto = protocolNumber(spec.protocol, ipFamily(addr));
    if (lastPort !== undefined) writePortBlocks(this.object, { addr, proto, mark }, [port, lastPort], value);
    else this.write('lb_service', encodeBytes(lbServiceKey, { addr, port, proto, mark }), value);
  }

  private addEndpoint(serviceId: number, spec: EndpointSpec): number {
    const { address: addr, port, source = '::', self = '::', flags = 0 } = spec;
    const id = this.nextEndpoint++;
    const value = { addr, source, self, port, active: 1, serviceId, weight: 1, flags, ports: 1 };
    this.write('lb_endpoint', word(id), encodeBytes(lbEndpoint, value));
    return id;
  }

  private addSlots({ select = 0 }: ServiceSpec, endpoints: readonly number[]): { slotBase: number; slotCount: number } {
    const isTable = select === LbSelect.LB_SELECT_HASH || select === LbSelect.LB_SELECT_PERSIST;
    const slotBase = this.nextSlot;
    const slotCount = isTable && endpoints.length > 1 ? HASH_SLOTS : endpoints.length;
    for (let slot = 0; slot < slotCount; slot++) {
      const endpointId = endpoints[slot % endpoints.length] as number;
      this.write('lb_slot', word(this.nextSlot++), encodeBytes(lbSlot, { endpointId }));
    }
    return { slotBase, slotCount };
  }

  private write(map: string, key: Uint8Array, value: Uint8Array): void {
    updateMap(this.object.map(map), key, value);
  }
}

function serviceValue({ mode = 0, select = 0, port, ppv2, sources }: ServiceSpec) {
  const flags = (ppv2 ? LbServiceFlags.LB_SERVICE_PPV2 : 0) | (sources ? LbServiceFlags.LB_SERVICE_SOURCES : 0);
  return { affinityTicks: LONG_TICKS, select, mode, flags, port };
}

function serviceState({ hasIdleTimer }: ServiceSpec): Uint8Array {
  return encodeBytes(lbServiceState, { cursor: 0, idleTicks: LONG_TICKS, alive: 1, reset: hasIdleTimer ? 1 : 0 });
}

/** One endpoint, for each family and protocol; and what gets packets as they are. */
export function writeServices(object: LoadedObject): Services {
  const services = new Services(object);
  for (const family of [4, 6] as const) {
    const [address, server] = [WORLD.vip[family], WORLD.server[family]];
    for (const protocol of ['tcp', 'udp'] as const) {
      services.add({ address, port: SERVICE_PORT, protocol, endpoints: [{ address: server, port: ENDPOINT_PORT }] });
    }
  }
  const [address, endpoint] = [WORLD.vip[4], { address: WORLD.server[4], self: WORLD.self[4] }];
  const direct = { address, protocol: 'udp', mode: LbMode.LB_MODE_DSR, select: LbSelect.LB_SELECT_HASH } as const;
  services.add({ ...direct, port: DSR_PORT, endpoints: [{ ...endpoint, port: DSR_PORT }] });
  const flags = LbEndpointFlags.LB_EP_TUNNEL;
  services.add({ ...direct, port: TUNNEL_PORT, endpoints: [{ ...endpoint, port: TUNNEL_PORT, flags }] });
  return services;
}

/** What the daemon tells the XDP program of devices it is attached to. */
export function writeDevices(object: LoadedObject, { client, server }: Devices): void {
  for (const { ifindex, mac } of [client, server]) {
    const bytes = Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));
    const flags = DpXdpFlags.DP_XDP_IN | DpXdpFlags.DP_XDP_OUT;
    updateMap(object.map('dp_xdp_device'), word(ifindex), encodeBytes(dpXdpDevice, { mac: bytes, flags }));
  }
}
