/** Services with direct server return. */
import { seeded } from './reference/random.js';
import {
  type Bench,
  type EndpointSpec,
  type Family,
  MODE,
  type Protocol,
  protocolNumber,
  SELECT,
  SERVICE_PORT,
  type Service,
  type ServiceSpec,
  scene,
} from './scenario.js';

const SLOTS = 251;

/** A selection table like the daemon's: prime, and every endpoint as often as the others. */
function spread(endpoints: number): number[] {
  const random = seeded(endpoints);
  const table = Array.from({ length: SLOTS }, (_, index) => ({ endpoint: index % endpoints, order: random() }));
  return table.sort((a, b) => a.order - b.order).map(({ endpoint }) => endpoint);
}

/** Endpoints of DSR have the service's own port. */
export function addDsrService(
  bench: Bench,
  family: Family,
  protocol: Protocol,
  endpoints: readonly EndpointSpec[],
  fields: Partial<ServiceSpec> = {},
): Service {
  const port = protocol === 'icmp' ? 0 : SERVICE_PORT;
  return bench.addService({
    address: scene(family).vip,
    port,
    protocol: protocolNumber(family, protocol),
    mode: MODE.dsr,
    select: SELECT.hash,
    endpoints: endpoints.map((endpoint) => ({ port, ...endpoint })),
    slots: spread(endpoints.length),
    ...fields,
  });
}
