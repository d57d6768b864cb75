import type { Rule } from '../daemon.js';
import { ENDPOINT_PORT, SERVICE_PORT } from '../packet/service.js';
import { WORLD } from '../packet/world.js';

const PORTS_PER_VIP = 100;
const ENDPOINTS = 4;

/** Rule `index` of many: a hundred services on each VIP, four endpoints each. */
export function scaleRule(index: number): Rule {
  const vip = Math.floor(index / PORTS_PER_VIP);
  return {
    serviceArguments: {
      externalIP: `20.30.${Math.floor(vip / 250)}.${(vip % 250) + 1}`,
      port: 1000 + (index % PORTS_PER_VIP),
      protocol: 'tcp',
    },
    endpoints: Array.from({ length: ENDPOINTS }, (_, i) => ({
      endpointIP: `10.59.2.${11 + i}`,
      targetPort: 8000 + (index % 1000),
      weight: 1,
    })),
  };
}

/** The services the packet part talks to, as rules. */
export function packetRules(): Rule[] {
  return ([4, 6] as const).flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) => ({
      serviceArguments: { externalIP: WORLD.vip[family], port: SERVICE_PORT, protocol },
      endpoints: [{ endpointIP: WORLD.server[family], targetPort: ENDPOINT_PORT, weight: 1 }],
    })),
  );
}
