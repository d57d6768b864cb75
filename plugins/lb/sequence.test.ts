import fc from 'fast-check';
import { expect, it } from 'vitest';
import { checkProgrammed } from './testing/check-programmed.js';
import { createWorld, snapshot, type World } from './testing/world.js';

const ports = fc.constantFrom({ port: 80 }, { port: 85 }, { port: 80, portMax: 89 }, { port: 85, portMax: 99 });
const service = fc
  .record({
    where: fc.constantFrom(
      { externalIP: '20.20.20.1' },
      { externalIP: '192.168.1.1' },
      { externalIP: '192.168.1.1' },
      { externalIP: '2001:db8::1' },
      { externalIP: '0.0.0.0', mode: 5 },
      { externalIP: '0.0.0.0', mode: 5 },
    ),
    mode: fc.constantFrom(0, 1, 2, 3),
    sel: fc.constantFrom(0, 0, 1, 2),
    protocol: fc.constantFrom('tcp', 'tcp', 'sctp'),
    oper: fc.constantFrom(0, 0, 1, 2),
    inactiveTimeOut: fc.constantFrom(0, 30),
    proxyprotocolv2: fc.constantFrom(false, false, true),
    egress: fc.constantFrom(false, false, false, true),
    tunnel: fc.constantFrom('auto', 'auto', 'ipip'),
  })
  .chain(({ where, ...rest }) => ports.map((given) => ({ ...given, ...rest, ...where })));
const endpoints = fc.uniqueArray(fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', '2001:db8:1::1'), {
  minLength: 1,
});
const post = fc.record({
  service,
  endpoints,
  targetPort: fc.constantFrom(80, 85, 9000),
  secondary: fc.constantFrom<string[]>([], ['20.20.20.7'], ['20.20.20.7', '192.168.1.1']),
  sources: fc.constantFrom<string[]>([], ['10.0.0.0/8'], ['10.0.0.0/8', '11.0.0.0/8']),
  failWrite: fc.option(fc.integer({ min: 1, max: 14 }), { freq: 3 }),
});
type Post = typeof post extends fc.Arbitrary<infer P> ? P : never;

const step = fc.oneof(
  { weight: 8, arbitrary: post },
  { weight: 2, arbitrary: fc.record({ remove: fc.nat(), failWrite: fc.option(fc.integer({ min: 1, max: 8 })) }) },
  { weight: 1, arbitrary: fc.constantFrom('restart' as const, 'address' as const) },
);

it('leaves the data plane equal to the stored rules, whatever was asked for, refused or failed', () => {
  const accepted = new Map<string, number>();
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      let world = createWorld({ maxEndpoints: 1024 });
      for (const one of steps) {
        if (one === 'restart') world = world.restart();
        else if (one === 'address') toggleAddress(world);
        else if (attempt(world, one)) count(accepted, 'service' in one ? `mode ${one.service.mode}` : 'remove');
        checkProgrammed(world);
      }
      world.retirement.stop();
    }),
    { numRuns: 50 },
  );
  for (const what of ['mode 0', 'mode 3', 'mode 5', 'remove']) expect(accepted.get(what)).toBeGreaterThan(0);
}, 60_000);

function attempt(world: World, one: Post | { remove: number; failWrite: number | null }): boolean {
  const before = inService(world);
  world.failWrite = one.failWrite ?? undefined;
  try {
    if ('remove' in one) world.remove([...world.stored.keys()][one.remove % Math.max(1, world.stored.size)] ?? '');
    else world.post(requestOf(one));
    return true;
  } catch {
    expect(inService(world)).toEqual(before);
    return false;
  } finally {
    world.failWrite = undefined;
  }
}

/** Slots no service points at are cleared some time later. */
function inService(world: World): [string, string][] {
  return Object.entries(snapshot(world)).filter(([key]) => !key.startsWith('slot '));
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

function requestOf({ service: given, endpoints: addresses, targetPort, secondary, sources }: Post): unknown {
  // Mostly what dsr wants: the rest is refused often enough.
  const { tunnel, ...plain } = given;
  const dsr = { ...given, sel: 1, proxyprotocolv2: false };
  const port = given.mode === 3 ? given.port : targetPort;
  return {
    serviceArguments: given.mode === 3 ? dsr : targetPort === 85 ? { ...plain, tunnel } : plain,
    endpoints: addresses.map((endpointIP) => ({ endpointIP, targetPort: port, weight: 1 })),
    secondaryIPs: given.protocol === 'sctp' ? secondary.map((secondaryIP) => ({ secondaryIP })) : null,
    allowedSources: sources.map((prefix) => ({ prefix })),
  };
}

function toggleAddress(world: World): void {
  const { state } = world.network;
  const without = state.addresses.filter(({ address }) => address !== '10.7.7.7');
  const had = without.length < state.addresses.length;
  const added = { ifindex: 3, address: '10.7.7.7', prefixLength: 24, family: 4 as const, scope: 0 };
  state.addresses = had ? without : [...without, added];
  world.book.forget();
  world.rules.refreshAddresses();
}
