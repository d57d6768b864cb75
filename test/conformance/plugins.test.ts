import type { Plugin } from '@loxilb/sdk';
import { runConformance } from '@loxilb/sdk/testing';
import { describe, expect, it } from 'vitest';
import config from '../../loxilb.config.js';

/** Bodies that make each resource do something; a plugin without resources has none. */
const samples: Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>> = {
  lb: {
    loadbalancer: [
      rule('20.20.20.1', 2020, 0, ['31.31.31.1', '32.32.32.1', '33.33.33.1']),
      rule('20.20.20.1', 2021, 2, ['31.31.31.1', '32.32.32.1']),
      rule('20.20.20.2', 53, 1, ['31.31.31.1'], 'udp'),
      rule('2001:db8::1', 80, 3, ['2001:db8:1::1', '2001:db8:2::1']),
      { ...rule('20.20.20.3', 80, 0, ['31.31.31.1']), allowedSources: [{ prefix: '10.0.0.0/8' }] },
      { ...rule('20.20.20.4', 80, 0, ['31.31.31.1'], 'sctp'), secondaryIPs: [{ secondaryIP: '20.20.20.5' }] },
      {
        serviceArguments: { externalIP: '20.20.20.6', port: 1, portMax: 65_535, protocol: 'tcp', sel: 1, mode: 3 },
        endpoints: [{ endpointIP: '31.31.31.1', targetPort: 1, targetPortMax: 65_535, weight: 1 }],
      },
    ],
  },
};

/** A rule's slots are written before the service points to them, and stay when it goes. */
const scratchMaps: Readonly<Record<string, readonly string[]>> = { lb: ['lb_slot'] };

function rule(externalIP: string, port: number, sel: number, servers: readonly string[], protocol = 'tcp'): object {
  return {
    serviceArguments: { externalIP, port, protocol, sel },
    endpoints: servers.map((endpointIP) => ({ endpointIP, targetPort: 8080, weight: 10 })),
  };
}

async function load(name: string): Promise<Plugin> {
  const module = (await import(`../../plugins/${name}/index.ts`)) as { default: Plugin };
  return module.default;
}

/** Everything a plugin depends on, the deepest first. */
async function dependenciesOf(plugin: Plugin): Promise<Plugin[]> {
  const found: Plugin[] = [];
  for (const name of plugin.dependsOn ?? []) {
    const dependency = await load(name);
    for (const entry of [...(await dependenciesOf(dependency)), dependency]) {
      if (!found.some((other) => other.name === entry.name)) found.push(entry);
    }
  }
  return found;
}

for (const [name, options] of Object.entries(config.plugins)) {
  describe(name, async () => {
    const plugin = await load(name);
    const checks = await runConformance(plugin, {
      config: options,
      dependencies: (await dependenciesOf(plugin)).map((entry) => ({ plugin: entry })),
      ...(samples[name] && { samples: samples[name] }),
      ...(scratchMaps[name] && { scratchMaps: scratchMaps[name] }),
    });
    for (const check of checks) it(check.name, () => expect(check.problem).toBeUndefined());
  });
}
