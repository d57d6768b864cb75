import { isLoxilbError } from '@loxilb/sdk';
import { beforeEach, describe, expect, it } from 'vitest';
import { listRules } from './list-rules.js';
import type { Rule } from './model.js';
import { checkProgrammed } from './testing/check-programmed.js';
import { lookup } from './testing/lookup.js';
import { body, createWorld, firstKey, hasAddress, slotsSeen, snapshot, type World } from './testing/world.js';

let world: World;
beforeEach(() => {
  world = createWorld();
});

const entries = () => [...world.maps.endpoint.entries()].map(([, entry]) => entry).filter(({ serviceId }) => serviceId);
const service = () => [...world.maps.service.entries()][0]?.[1];
const listed = () =>
  listRules([...world.stored.values()], world) as {
    serviceArguments: Record<string, unknown>;
    secondaryIPs: unknown;
    endpoints: { state: string }[];
  }[];
const dsr = (more: Record<string, unknown> = {}) => ({
  ...body({ mode: 3, sel: 1, port: 8080, ...more }),
});

function codeOf(action: () => void): string {
  const before = snapshot(world);
  try {
    action();
  } catch (error) {
    if (!isLoxilbError(error)) throw error;
    expect(snapshot(world)).toEqual(before);
    return `${error.status} ${error.code}`;
  }
  return 'accepted';
}

describe('dsr', () => {
  it('keeps the client, knows the tunnel source, and is Maglev', () => {
    world.post(dsr());
    expect(service()).toMatchObject({ mode: 3, select: 1, slotCount: 4093 });
    expect(entries()[0]).toMatchObject({ source: '::', self: '192.168.1.1', flags: 0, port: 8080 });
    checkProgrammed(world);
  });

  it('may be told to use tunnels, and not to', () => {
    world.post(dsr({ tunnel: 'ipip' }));
    expect(entries().map(({ flags }) => flags)).toEqual([1, 1]);
    expect(listed()[0]?.serviceArguments).toMatchObject({ mode: 3, tunnel: 'ipip' });
    world.post(dsr({ tunnel: 'auto' }));
    expect(entries().map(({ flags }) => flags)).toEqual([0, 0]);
    expect(listed()[0]?.serviceArguments).not.toHaveProperty('tunnel');
  });

  it('has endpoints of the other family in a tunnel', () => {
    world.post({ ...dsr(), endpoints: [{ endpointIP: '2001:db8:1::1', targetPort: 8080, weight: 1 }] });
    expect(entries()[0]).toMatchObject({ source: '::', self: '2001:db8:99::1' });
  });

  it('stays dsr when endpoints come and go', () => {
    world.post(dsr());
    expect(codeOf(() => world.post(body({ port: 8080, oper: 1, sel: 4 }, ['10.0.0.3'])))).toBe('200 LB_DSR_NOT_HASH');
    const other = [{ endpointIP: '10.0.0.3', targetPort: 9, weight: 1 }];
    expect(codeOf(() => world.post({ ...body({ port: 8080, oper: 1 }), endpoints: other }))).toBe('400 LB_DSR_PORT');
    world.post(body({ port: 8080, oper: 1 }, ['10.0.0.3']));
    world.post(body({ port: 8080, oper: 2 }, ['10.0.0.1']));
    checkProgrammed(world);
  });

  it('comes and goes by an update', () => {
    world.post(body({ port: 8080 }));
    const before = service()?.serviceId;
    world.post(dsr());
    expect(service()).toMatchObject({ serviceId: before, mode: 3 });
    world.post(body({ port: 8080 }));
    checkProgrammed(world);
  });
});

describe('endpoints of the other family', () => {
  it.each([
    ['NAT64', '2001:db8::1', '10.0.0.1', '192.168.1.1'],
    ['NAT46', '20.20.20.1', '2001:db8:1::1', '2001:db8:99::1'],
  ])('see an address of this machine (%s)', (_, externalIP, endpoint, source) => {
    for (const mode of [0, 1, 2]) {
      world.post(body({ externalIP, mode, port: 80 + mode }, [endpoint]));
      expect(entries()[mode]).toMatchObject({ addr: endpoint, source, self: source });
    }
  });

  it('and of the same one may be together', () => {
    world.post(body({}, ['10.0.0.1', '2001:db8:1::1']));
    expect(entries().map(({ source }) => source)).toEqual(['::', '2001:db8:99::1']);
    expect(slotsSeen(world)).toEqual(['10.0.0.1', '2001:db8:1::1']);
    expect(listed()[0]?.endpoints).toHaveLength(2);
  });

  it('are refused while this machine has no address of it', () => {
    world.network.state.addresses = world.network.addresses().filter(({ family }) => family === 4);
    expect(codeOf(() => world.post(body({}, ['10.0.0.1', '2001:db8:1::1'])))).toBe('400 LB_NO_SOURCE');
    expect(world.state.endpointIds.inUse + world.state.serviceIds.inUse).toBe(0);
  });

  it('get no flows while the address is gone, and flows again when it is back', () => {
    world.post(body({}, ['10.0.0.1', '2001:db8:1::1']));
    const { addresses } = world.network.state;
    world.network.state.addresses = addresses.filter(({ family }) => family === 4);
    world.book.forget();
    world.rules.refreshAddresses();
    expect(slotsSeen(world)).toEqual(['10.0.0.1']);
    expect(slotsSeen(world.restart())).toEqual(['10.0.0.1']);
    world.network.state.addresses = addresses;
    world.book.forget();
    world.rules.refreshAddresses();
    expect(slotsSeen(world)).toEqual(['10.0.0.1', '2001:db8:1::1']);
    checkProgrammed(world);
  });
});

describe('sctp', () => {
  const sctp = (secondary: readonly string[] | null, more: Record<string, unknown> = {}) => ({
    ...body({ protocol: 'sctp', ...more }),
    secondaryIPs: secondary?.map((secondaryIP) => ({ secondaryIP })) ?? null,
  });

  it('is known at each of its addresses, and knows them all', () => {
    world.post(sctp(['20.20.20.3', '20.20.20.2'], { mode: 2 }));
    const values = ['20.20.20.1', '20.20.20.2', '20.20.20.3'].map((addr) =>
      lookup(world, { addr, proto: 132, mark: 0, port: 80 }),
    );
    expect(new Set(values.map((value) => JSON.stringify(value))).size).toBe(1);
    expect(values[0]).toMatchObject({ flags: 4 });
    expect(world.maps.sctpVips.get(values[0]?.serviceId ?? 0)).toEqual({
      count: 3,
      addr: ['20.20.20.1', '20.20.20.3', '20.20.20.2', '::', '::', '::', '::', '::'],
    });
    expect(['20.20.20.1', '20.20.20.2', '20.20.20.3'].every((one) => hasAddress(world, one))).toBe(true);
    expect(listed()[0]?.secondaryIPs).toEqual([{ secondaryIP: '20.20.20.3' }, { secondaryIP: '20.20.20.2' }]);
    checkProgrammed(world);
  });

  it('without further addresses has none to tell', () => {
    world.post(sctp(null));
    expect(service()?.flags).toBe(0);
    expect([...world.maps.sctpVips.entries()]).toEqual([]);
  });

  it('keeps its further addresses for life', () => {
    world.post(sctp(['20.20.20.2']));
    expect(codeOf(() => world.post(sctp(['20.20.20.3'])))).toBe('409 LB_SECONDARY_FIXED');
    expect(codeOf(() => world.post(sctp(null, { mode: 2 })))).toBe('409 LB_SECONDARY_FIXED');
    expect(codeOf(() => world.post(sctp(['20.20.20.3'], { oper: 1 })))).toBe('409 LB_SECONDARY_FIXED');
    world.post(sctp(['20.20.20.2'], { mode: 2 }));
    world.post({ ...body({ protocol: 'sctp', oper: 1 }, ['10.0.0.7']) });
    expect(world.stored.get(firstKey(world))).toMatchObject({ mode: 2, secondaryIPs: ['20.20.20.2'] });
    checkProgrammed(world);
  });

  it('is refused when an address is somebody else`s', () => {
    world.post(body({ protocol: 'sctp', externalIP: '20.20.20.2' }));
    expect(codeOf(() => world.post(sctp(['20.20.20.2'])))).toBe('409 LB_SERVICE_TAKEN');
  });

  it('goes with all it had, and comes back after a restart', () => {
    world.post(sctp(['20.20.20.2']));
    const before = snapshot(world);
    expect(snapshot(world.restart())).toEqual(before);
    world.maps.sctpVips.set(9, { count: 1, addr: Array<string>(8).fill('::') });
    world.maps.sctpVips.delete(service()?.serviceId ?? 0);
    expect(snapshot(world.restart())).toEqual(before);
    world.remove(firstKey(world));
    expect([...world.maps.sctpVips.entries(), ...world.maps.service.entries()]).toEqual([]);
    expect(hasAddress(world, '20.20.20.2')).toBe(false);
  });
});

describe('hostonearm', () => {
  const host = (more: Record<string, unknown> = {}) => body({ mode: 5, externalIP: '0.0.0.0', ...more });
  const addresses = () => [...world.maps.service.entries()].map(([{ addr }]) => addr).sort();

  it('is known at every address of this machine, and not at service addresses', () => {
    world.post(body({ externalIP: '20.20.20.9', port: 443 }));
    world.post(host());
    expect(addresses()).toEqual(['192.168.1.1', '20.20.20.9']);
    expect(lookup(world, { addr: '192.168.1.1', proto: 6, mark: 0, port: 80 })).toMatchObject({ mode: 5 });
    expect(entries().find(({ addr }) => addr === '10.0.0.1')).toMatchObject({ self: '192.168.1.1' });
    expect(entries().at(-1)).toMatchObject({ source: '192.168.1.1' });
    expect(hasAddress(world, '0.0.0.0')).toBe(false);
    checkProgrammed(world);
  });

  it('of IPv6 is known at those of IPv6', () => {
    world.post(host({ externalIP: '::' }));
    expect(addresses()).toEqual(['2001:db8:99::1']);
  });

  it('follows the addresses, with a range too', () => {
    world.post(host());
    world.post(host({ port: 90, portMax: 99 }));
    world.network.state.addresses.push({ ifindex: 3, address: '10.7.7.7', prefixLength: 24, family: 4, scope: 0 });
    world.book.forget();
    world.rules.refreshAddresses();
    expect(addresses()).toEqual(['10.7.7.7', '192.168.1.1']);
    expect(lookup(world, { addr: '10.7.7.7', proto: 6, mark: 0, port: 95 })).toBeDefined();
    world.network.state.addresses = world.network.addresses().filter(({ address }) => address !== '192.168.1.1');
    world.book.forget();
    world.rules.refreshAddresses();
    expect(addresses()).toEqual(['10.7.7.7']);
    checkProgrammed(world);
    checkProgrammed(world.restart());
  });

  it('leaves an address to a rule that names it, and has it back afterwards', () => {
    world.post(host());
    world.post(body({ externalIP: '192.168.1.1' }));
    expect(lookup(world, { addr: '192.168.1.1', proto: 6, mark: 0, port: 80 })).toMatchObject({ mode: 0 });
    checkProgrammed(world);
    const after = world.restart();
    checkProgrammed(after);
    after.remove('192.168.1.1|tcp|80|0|');
    expect(lookup(after, { addr: '192.168.1.1', proto: 6, mark: 0, port: 80 })).toMatchObject({ mode: 5 });
  });

  it('has it back when the other rule fails', () => {
    world.post(host({ portMax: 89 }));
    for (let write = 1; write < 15; write++) {
      const before = snapshot(world);
      world.failWrite = write;
      try {
        world.post(body({ externalIP: '192.168.1.1', port: 85, portMax: 95 }));
      } catch {
        expect(snapshot(world)).toEqual(before);
        checkProgrammed(world);
        continue;
      }
      world.failWrite = undefined;
      break;
    }
    checkProgrammed(world);
  });

  it('with an overlapping range of its kind is refused', () => {
    world.post(host({ portMax: 89 }));
    expect(codeOf(() => world.post(host({ port: 85, portMax: 95 })))).toBe('409 LB_RANGE_OVERLAP');
  });

  it('is shown as it was asked for', () => {
    world.post(host());
    expect(listed()[0]?.serviceArguments).toMatchObject({ externalIP: '0.0.0.0', mode: 5 });
    world.remove(firstKey(world));
    expect([...world.maps.service.entries()]).toEqual([]);
  });
});

describe('egress', () => {
  it('is kept and shown, and no packet meets it', () => {
    world.post(body({ egress: true, externalIP: '0.0.0.0' }));
    expect(snapshot(world)).toEqual({});
    expect(listed()).toMatchObject([{ serviceArguments: { egress: true, externalIP: '0.0.0.0' } }]);
    expect(listed()[0]?.endpoints.map(({ state }) => state)).toEqual(['active', 'active']);
    const after = world.restart();
    expect(snapshot(after)).toEqual({});
    after.remove(firstKey(after));
    expect(after.stored.size).toBe(0);
  });

  it('is for life', () => {
    world.post(body({ egress: true }));
    expect(codeOf(() => world.post(body({ sel: 1 })))).toBe('409 LB_EGRESS_FIXED');
    world.post(body({ egress: true, sel: 1 }));
    world.post(body({ oper: 1 }, ['10.0.0.9']));
    world.post(body({ port: 81 }));
    expect(codeOf(() => world.post(body({ port: 81, egress: true })))).toBe('409 LB_EGRESS_FIXED');
    expect(codeOf(() => world.post(body({ port: 81, egress: true, oper: 1 })))).toBe('409 LB_EGRESS_FIXED');
  });
});

describe('proxy protocol v2', () => {
  it('is a flag of the service, set and taken back by updates', () => {
    world.post(body({ proxyprotocolv2: true }));
    expect(service()?.flags).toBe(2);
    expect(listed()[0]?.serviceArguments).toMatchObject({ proxyprotocolv2: true });
    world.post(body());
    expect(service()?.flags).toBe(0);
    world.post(body({ oper: 1, proxyprotocolv2: true }));
    expect(service()?.flags).toBe(2);
  });

  it.each(['10.0.0.1', '2001:db8::1'])('is refused with endpoints of another family, also mixed: %s', (own) => {
    const externalIP = own.includes(':') ? '2001:db8::80' : '20.20.20.1';
    const other = own.includes(':') ? '10.0.0.1' : '2001:db8::1';
    const ppv2 = { externalIP, proxyprotocolv2: true };
    const wrong = '400 LB_PROXY_PROTOCOL_FAMILY';
    expect(codeOf(() => world.post(body(ppv2, [other])))).toBe(wrong);
    expect(codeOf(() => world.post(body(ppv2, [own, other])))).toBe(wrong);
    world.post(body(ppv2, [own]));
    const before = snapshot(world);
    // In whatever steps the two come together.
    expect(codeOf(() => world.post(body({ ...ppv2, oper: 1 }, [other])))).toBe(wrong);
    expect(codeOf(() => world.post(body({ externalIP, oper: 1 }, [other])))).toBe(wrong);
    expect(snapshot(world)).toEqual(before);
    world.post(body({ externalIP }, [own, other]));
    expect(codeOf(() => world.post(body({ ...ppv2, oper: 1 }, [own])))).toBe(wrong);
  });

  it('leaves endpoints of another family out of a rule that had them before', () => {
    world.post(body({}, ['2001:db8::1', '10.0.0.1']));
    const [key, rule] = [...world.stored][0] as [string, Rule];
    world.stored.set(key, { ...rule, proxyprotocolv2: true });
    world = world.restart();
    expect([service()?.flags, slotsSeen(world), world.warnings.length]).toEqual([2, ['10.0.0.1'], 1]);
    world.network.state.addresses.pop();
    world.book.forget();
    world.rules.refreshAddresses();
    expect(slotsSeen(world)).toEqual(['10.0.0.1']);
    expect(codeOf(() => world.post(body({ oper: 1 }, ['10.0.0.2'])))).toBe('400 LB_PROXY_PROTOCOL_FAMILY');
    world.post(body({ oper: 2, proxyprotocolv2: true }, ['2001:db8::1']));
    world.post(body({ oper: 1 }, ['10.0.0.2']));
    expect(slotsSeen(world)).toEqual(['10.0.0.1', '10.0.0.2']);
  });
});

describe('the idle time', () => {
  const state = () => world.maps.serviceState.get(service()?.serviceId ?? 0);

  it('of the user ends flows with a reset, the default one does not', () => {
    world.post(body());
    expect(state()).toMatchObject({ idleTicks: 240 * 953, reset: 0 });
    const { idleTimes } = world.told;
    world.post(body({ inactiveTimeOut: 30 }));
    expect(state()).toMatchObject({ idleTicks: 30 * 953, reset: 1 });
    expect(world.told.idleTimes).toBe(idleTimes + 1);
    world.post(body({ inactiveTimeOut: 30, sel: 1 }));
    expect(world.told.idleTimes).toBe(idleTimes + 1);
    expect(world.restart().maps.serviceState.get(service()?.serviceId ?? 0)).toMatchObject({ reset: 1 });
    world.post(body({ inactiveTimeOut: 240 }));
    expect(state()).toMatchObject({ idleTicks: 240 * 953, reset: 0 });
  });
});

describe('a thousand endpoints', () => {
  it('are taken where the limit says so', () => {
    const many = Array.from({ length: 1024 }, (_, index) => `10.1.${index >> 8}.${index & 255}`);
    expect(codeOf(() => world.post(body({}, many)))).toBe('400 LB_ENDPOINT_COUNT');
    const large = createWorld({ maxEndpoints: 2048, maxSlots: 262_144, maxEndpointsPerRule: 1024 });
    large.post(body({ sel: 4 }, many));
    expect(slotsSeen(large)).toEqual(many);
    const weighted = many.map((address, index): [string, number] => [address, index % 256]);
    large.post(body({ sel: 2 }, weighted));
    const slots = slotsSeen(large);
    const shares = new Map<string, number>();
    for (const one of slots) shares.set(one, (shares.get(one) ?? 0) + 1);
    for (const [address, weight] of weighted) expect(shares.get(address) ?? 0).toBe(weight);
  });
});
