/** The network service against a real kernel, in a network namespace of its own. Needs root. */
import { execFileSync } from 'node:child_process';
import type { NetworkChange } from '@loxilb/sdk';
import koffi from 'koffi';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLog } from '../dataplane/testing/silent-log.js';
import { createNetwork } from './index.js';
import { KernelNetwork } from './kernel-network.js';
import type { ClosableNetwork } from './types.js';

const CLONE_NEWNET = 0x40000000;

let network: ClosableNetwork;
let seen: NetworkChange[];

function run(command: string): string {
  const [file = '', ...args] = command.split(' ');
  return execFileSync(file, args, { encoding: 'utf8' });
}

beforeAll(async () => {
  const unshare = koffi.load('libc.so.6').func('int unshare(int flags)') as (flags: number) => number;
  if (unshare(CLONE_NEWNET) !== 0) throw new Error('these tests need root: a network namespace could not be made');
  run('ip link set lo up');
  run('ip link add nlt0 type veth peer name nlt1');
  run('ip addr add 10.99.0.1/24 dev nlt0');
  run('ip link set nlt0 up');
  run('ip link set nlt1 up');
  network = await createNetwork({ backend: 'kernel', log: silentLog });
  network.onChange((kinds) => seen.push(...kinds));
});

beforeEach(async () => {
  await new Promise((resolve) => setTimeout(resolve, 100));
  seen = [];
});

afterAll(() => network.close());

const addressesOf = (name: string) => {
  const ifindex = network.links().find((link) => link.name === name)?.ifindex;
  return network.addresses().flatMap((one) => (one.ifindex === ifindex && one.scope === 0 ? [one.address] : []));
};

it('knows at once what is there', () => {
  expect(network.links().map((link) => link.name)).toEqual(expect.arrayContaining(['lo', 'nlt0', 'nlt1']));
  expect(network.links().find((link) => link.name === 'nlt0')).toMatchObject({
    kind: 'veth',
    up: true,
    ethernet: true,
  });
  expect(addressesOf('nlt0')).toEqual(['10.99.0.1']);
  expect(network.routes().map((route) => route.destination)).toContain('10.99.0.0/24');
});

it('finds the source address towards a destination', () => {
  expect(network.sourceAddressFor('10.99.0.77')).toBe('10.99.0.1');
  expect(network.sourceAddressFor('127.0.0.5')).toBe('127.0.0.1');
  expect(network.sourceAddressFor('192.0.2.1')).toBeUndefined();
  expect(network.sourceAddressFor('2001:db8::1')).toBeUndefined();
});

it('adds and removes host addresses, and repeating is no error', async () => {
  for (const address of ['10.98.0.1', '2001:db8::5']) {
    network.addAddress(address, 'nlt0');
    network.addAddress(address, 'nlt0');
  }
  await expect.poll(() => addressesOf('nlt0')).toEqual(['10.99.0.1', '10.98.0.1', '2001:db8::5']);
  expect(seen).toContain('address');
  // Usable, and nobody's source.
  expect(run('ip -6 addr show dev nlt0 to 2001:db8::5')).toMatch(/deprecated.*\s+valid_lft forever preferred_lft 0sec/);
  for (const address of ['10.98.0.1', '2001:db8::5']) {
    network.removeAddress(address, 'nlt0');
    network.removeAddress(address, 'nlt0');
  }
  await expect.poll(() => addressesOf('nlt0')).toEqual(['10.99.0.1']);
  expect(() => network.addAddress('10.98.0.1', 'ghost')).toThrow(
    expect.objectContaining({ code: 'NET_INTERFACE_UNKNOWN' }),
  );
  expect(() => network.removeAddress('10.98.0.1', 'ghost')).not.toThrow();
});

it('changes many addresses beside the event loop, and says which the kernel refused', async () => {
  const many = Array.from({ length: 300 }, (_, index) => `10.97.${index >> 7}.${index & 127}`);
  const changes = (present: boolean) => many.map((address) => ({ address, present }));
  const [added, removed] = await Promise.all([
    network.changeAddresses(changes(true), 'nlt0'),
    network.changeAddresses([...changes(false), { address: 'ff02::1', present: true }], 'nlt0'),
  ]);
  expect(added).toEqual([]);
  expect(removed).toMatchObject([{ address: 'ff02::1', present: true, error: { code: 'NET_ADDRESS' } }]);
  await expect.poll(() => addressesOf('nlt0')).toEqual(['10.99.0.1']);
  expect(await network.changeAddresses(changes(true), 'ghost')).toHaveLength(many.length);
});

it('hears of neighbours, but not of their mere confirmation', async () => {
  run('ip neigh replace 10.99.0.9 lladdr 02:00:00:00:00:09 dev nlt0 nud reachable');
  await expect.poll(() => seen).toContain('neighbor');
  await new Promise((resolve) => setTimeout(resolve, 100));
  seen = [];
  run('ip neigh change 10.99.0.9 lladdr 02:00:00:00:00:09 dev nlt0 nud stale');
  const state = () => network.neighbors().find((one) => one.address === '10.99.0.9')?.state;
  await expect.poll(state).toBe(4);
  expect(seen).not.toContain('neighbor');
  run('ip neigh change 10.99.0.9 lladdr 02:00:00:00:00:0a dev nlt0 nud stale');
  await expect.poll(() => seen).toContain('neighbor');
});

it('drops routes that go silently with a link', async () => {
  run('ip route add 10.77.0.0/16 via 10.99.0.9');
  const has = () => network.routes().some((route) => route.destination === '10.77.0.0/16');
  await expect.poll(has).toBe(true);
  run('ip link set nlt0 down');
  await expect.poll(has).toBe(false);
  run('ip link set nlt0 up');
});

it('tells of what it finds out by asking, before the notification is read', async () => {
  const named = (name: string) => network.links().some((link) => link.name === name);
  const steps = [
    ['ip link add nlt8 type veth peer name nlt9', 'nlt8'],
    ['ip link set nlt8 name nlt7', 'nlt7'],
    ['ip link del nlt7', undefined],
  ] as const;
  for (const [command, name] of steps) {
    seen = [];
    run(command);
    // The event loop has not turned since.
    await network.refreshLinks();
    expect([named('nlt7'), named('nlt8')]).toEqual([name === 'nlt7', name === 'nlt8']);
    await expect.poll(() => seen).toContain('link');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  seen = [];
  await network.refreshLinks();
  await new Promise((resolve) => setTimeout(resolve, 100));
  // Addresses may change all the time: the kernel's own IPv6 ones become usable a second or two after a link is up.
  expect(seen).not.toContain('link');
});

it('sees a peer move to another namespace', async () => {
  run('ip link add nlt2 type veth peer name nlt3');
  const peer = () => network.links().find((link) => link.name === 'nlt2')?.peerInOtherNamespace;
  await expect.poll(peer).toBe(false);
  const namespace = `loxilb-nlt${process.pid}`;
  run(`ip netns add ${namespace}`);
  try {
    run(`ip link set nlt3 netns ${namespace}`);
    await network.refreshLinks();
    expect(peer()).toBe(true);
  } finally {
    run(`ip netns del ${namespace}`);
  }
});

describe('bursts', () => {
  /** As many service addresses as a full rule set has. While the command runs nothing is read. */
  const COUNT = 10_000;
  const batch = (verb: 'add' | 'del'): void => {
    const line = (index: number) => `addr ${verb} 10.5.${index >> 8}.${index & 255}/32 dev lo`;
    execFileSync('ip', ['-batch', '-'], { input: Array.from({ length: COUNT }, (_, index) => line(index)).join('\n') });
  };

  it.each([
    ['that fit the buffer', undefined, 0],
    ['that do not', 128 * 1024, 1],
  ])('are followed: %s', async (_, receiveBuffer, losses) => {
    const warn = vi.fn();
    const network = new KernelNetwork({ ...silentLog, warn }, receiveBuffer);
    const known = () => network.addresses().filter((one) => one.address.startsWith('10.5.')).length;
    const routes = () => network.routes().filter((route) => route.destination.startsWith('10.5.')).length;
    try {
      batch('add');
      await expect.poll(known, { timeout: 20_000 }).toBe(COUNT);
      await expect.poll(routes, { timeout: 20_000 }).toBe(COUNT);
      batch('del');
      await expect.poll(known, { timeout: 20_000 }).toBe(0);
      await expect.poll(routes, { timeout: 20_000 }).toBe(0);
      expect(Math.min(1, warn.mock.calls.length)).toBe(losses);
    } finally {
      network.close();
    }
  });
});
