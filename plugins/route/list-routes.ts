import type { Network, NetworkNeighbor, NetworkRoute } from '@loxilb/sdk';

/** One prefix as the wire shows it. The kernel counts nothing per route, so `statistic` is zero. */
export interface WireRoute {
  readonly destinationIPNet: string;
  readonly gateway?: string;
  readonly protocol: string;
  readonly flags: string;
  readonly statistic: { readonly bytes: number; readonly packets: number };
}

const TABLE_MAIN = 254;
const TABLE_LOCAL = 255;
const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const PROTOCOL_NAMES = ['unspec', 'redirect', 'kernel', 'boot', 'static'];
const RTPROT_KERNEL = 2;

/** NUD_REACHABLE, STALE, DELAY, PROBE, PERMANENT: the neighbour's address is known and was resolved. */
const NUD_RESOLVED = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

/** Routes packets may take, one per prefix, and a host route for each neighbour. */
export function listRoutes(network: Pick<Network, 'routes' | 'neighbors'>): WireRoute[] {
  const wire = new Map<string, WireRoute>();
  for (const [prefix, routes] of routesByPrefix(network.routes())) wire.set(prefix, describe(prefix, routes));
  for (const neighbor of network.neighbors()) {
    const route = hostRoute(neighbor);
    if (route && !wire.has(route.destinationIPNet)) wire.set(route.destinationIPNet, route);
  }
  return [...wire.values()];
}

/** Of several routes to a prefix the ones with the lowest metric count; they are one multipath route. */
function routesByPrefix(routes: readonly NetworkRoute[]): Map<string, NetworkRoute[]> {
  const prefixes = new Map<string, NetworkRoute[]>();
  for (const route of routes.filter(isUsable)) {
    const known = prefixes.get(route.destination);
    const best = known?.[0]?.metric ?? Number.POSITIVE_INFINITY;
    if (route.metric < best) prefixes.set(route.destination, [route]);
    else if (route.metric === best) known?.push(route);
  }
  return prefixes;
}

function isUsable(route: NetworkRoute): boolean {
  return (
    (route.table === TABLE_MAIN && route.type === RTN_UNICAST) ||
    (route.table === TABLE_LOCAL && route.type === RTN_LOCAL)
  );
}

function describe(destination: string, routes: readonly NetworkRoute[]): WireRoute {
  const first = routes[0] as NetworkRoute;
  const gateways = [...new Set(routes.flatMap(({ gateway }) => gateway ?? []))];
  return {
    destinationIPNet: destination,
    ...(gateways.length > 0 && { gateway: gateways.join(',') }),
    protocol: PROTOCOL_NAMES[first.protocol] ?? String(first.protocol),
    flags: gateways.length > 0 ? 'Ind' : isOwn(first) ? 'Self' : 'Interface',
    statistic: { bytes: 0, packets: 0 },
  };
}

/** Own addresses and the subnets they came with. */
function isOwn(route: NetworkRoute): boolean {
  return route.type === RTN_LOCAL || route.protocol === RTPROT_KERNEL;
}

function hostRoute({ address, family, mac, state }: NetworkNeighbor): WireRoute | undefined {
  if (!mac || (state & NUD_RESOLVED) === 0) return undefined;
  return {
    destinationIPNet: `${address}/${family === 4 ? 32 : 128}`,
    gateway: address,
    protocol: 'unspec',
    flags: 'Ind Host',
    statistic: { bytes: 0, packets: 0 },
  };
}
