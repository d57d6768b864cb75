import { encodeBytes } from '@loxilb/sdk';
import { dpControl } from '../../../core/dataplane/layout.gen.js';
import { CtNewUse, ctHalfOpen } from '../../../plugins/conntrack/layout.gen.js';
import { lbEndpoint, lbService, lbServiceKey, lbServiceState, lbSlot } from '../../../plugins/lb/layout.gen.js';
import { type LoadedObject, updateMap, word } from './bpf.js';
import { WORLD } from './world.js';

export const SERVICE_PORT = 80;
export const ENDPOINT_PORT = 8080;

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
    for (const protocol of ['tcp', 'udp'] as const) writeService(object, id++, family, protocol);
  }
}

function writeService(object: LoadedObject, id: number, family: 4 | 6, protocol: 'tcp' | 'udp'): void {
  const unspecified = '::';
  updateMap(
    object.map('lb_endpoint'),
    word(id),
    encodeBytes(lbEndpoint, {
      addr: WORLD.server[family],
      source: unspecified,
      self: unspecified,
      port: ENDPOINT_PORT,
      active: 1,
      serviceId: id,
      weight: 1,
      flags: 0,
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
    encodeBytes(lbServiceKey, { addr: WORLD.vip[family], port: SERVICE_PORT, proto: PROTOCOLS[protocol], mark: 0 }),
    encodeBytes(lbService, {
      serviceId: id,
      slotBase: id,
      slotCount: 1,
      affinityTicks: 0,
      select: 0,
      mode: 0,
      flags: 0,
      port: SERVICE_PORT,
    }),
  );
}
