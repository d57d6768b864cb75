/** What the packet part measures of first packets: one entry per way a service and an endpoint are found. */
import { LbMode, LbSelect } from '../../../plugins/lb/layout.gen.js';
import { type Conversation, conversation, type Devices, oneWayConversation } from './cases.js';
import { plainRoute } from './routes.js';
import type { ServiceSpec } from './service.js';
import { WORLD } from './world.js';
import type { Stream } from './wrapper.js';

export interface Opening {
  readonly name: string;
  readonly services: readonly ServiceSpec[];
  readonly talk: Conversation;
  /** Those of its packets that are measured. */
  readonly measured: readonly Stream[];
  /** Nanoseconds. */
  readonly aim?: number;
}

const NEW_FLOW_NS = 1500;
const FIRST_PORT = 200;

export function planOpenings(devices: Devices): Opening[] {
  let port = FIRST_PORT;
  const plan = (name: string, extras: Partial<ServiceSpec> = {}, endpoints = 1, aim = NEW_FLOW_NS): Opening => {
    const route = plainRoute(4, { service: extras.port ?? port++, endpoint: 8080 });
    const { mark = 0 } = extras;
    const talk = conversation(devices, route, 'tcp', { mark });
    const service = { ...serviceOf(route.ports, endpoints), ...extras };
    return { name, services: [service], talk, measured: talk.opening.slice(0, 1), aim };
  };
  const handshake = (name: string, extras: Partial<ServiceSpec> = {}): Opening => {
    const { aim: _, ...opening } = plan(name, extras);
    return { ...opening, measured: opening.talk.opening.slice(0, 3) };
  };
  return [
    plan('one endpoint'),
    handshake('one endpoint, whole handshake (3 packets)'),
    handshake('one endpoint with idle timer, whole handshake', { hasIdleTimer: true }),
    plan('rr, 64 endpoints', {}, 64),
    plan('hash, 64 endpoints', { select: LbSelect.LB_SELECT_HASH }, 64),
    plan('priority, 64 endpoints', { select: LbSelect.LB_SELECT_PRIORITY }, 64),
    plan('persist, 64 endpoints, client known', { select: LbSelect.LB_SELECT_PERSIST }, 64),
    plan('lc, 3 endpoints', { select: LbSelect.LB_SELECT_LC }, 3),
    plan('lc, 64 endpoints', { select: LbSelect.LB_SELECT_LC }, 64),
    plan('lc, 1024 endpoints', { select: LbSelect.LB_SELECT_LC }, 1024, Number.NaN),
    plan('1 allowed source', { sources: 1 }),
    plan('10 000 allowed sources', { sources: 10_000 }),
    plan('of a mark', { mark: 7 }),
    fromTheMiddle(devices, port++),
    // From here on ranges are looked for.
    plan('range of ports', { port: 20_000, lastPort: 29_999 }),
    plan('one port, where there are ranges', { port: 25_000 }),
  ];
}

function serviceOf(ports: { service: number; endpoint: number }, endpoints: number): ServiceSpec {
  return {
    address: WORLD.vip[4],
    port: ports.service,
    protocol: 'tcp',
    // The same address and port: which of them a flow has is all the same to packets.
    endpoints: Array.from({ length: endpoints }, () => ({ address: WORLD.server[4], port: ports.endpoint })),
  };
}

/** Direct server return: a flow is begun by whatever comes, when the table has lost it. */
function fromTheMiddle(devices: Devices, port: number): Opening {
  const { data } = oneWayConversation(devices, 4, port);
  const endpoints = Array.from({ length: 64 }, () => ({ address: WORLD.server[4], self: WORLD.self[4], port }));
  const dsr = { mode: LbMode.LB_MODE_DSR, select: LbSelect.LB_SELECT_HASH };
  const service = { address: WORLD.vip[4], port, protocol: 'tcp', ...dsr, endpoints } as const;
  // The second packet confirms it.
  const again = { ...data };
  const name = 'L2-DSR from the middle, hash, 64 endpoints';
  return {
    name,
    services: [service],
    talk: { opening: [data, again], data: again },
    measured: [data],
    aim: NEW_FLOW_NS,
  };
}
