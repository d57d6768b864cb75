import { createFakeNetwork, MemorySlice } from '@loxilb/sdk/testing';
import { beforeEach, expect, it, vi } from 'vitest';
import { AddressBook } from './addresses.js';
import { lbConfig } from './config.js';
import { lbMapSpecs } from './maps.js';
import { VipAddresses } from './vip-addresses.js';

const FLOOD = 200;

let network: ReturnType<typeof createFakeNetwork>;
let notes: MemorySlice<string, number>;
let vips: VipAddresses;
const log = { debug() {}, info() {}, warn: vi.fn(), error: vi.fn() };

beforeEach(() => {
  vi.clearAllMocks();
  network = createFakeNetwork();
  notes = new MemorySlice(lbMapSpecs(lbConfig.parse({})).vip, new Map(), () => {});
  vips = new VipAddresses(notes, network, new AddressBook(network), log, { enabled: true, setSysctl: false });
});

const flood = Array.from({ length: FLOOD }, (_, index) => `20.0.0.${index}`);
const present = () => network.addresses().filter(({ address }) => address.startsWith('20.')).length;
const noted = () => [...notes.entries()].length;

it('puts single addresses in place at once, and a flood of them a moment later', async () => {
  // Time stands still: the budget of single changes grows with it.
  const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now());
  for (const address of flood) vips.acquire(address);
  clock.mockRestore();
  expect(present()).toBe(64);
  expect(noted()).toBe(FLOOD);
  await vips.drain();
  expect(present()).toBe(FLOOD);
  for (const address of flood) vips.release(address);
  await vips.drain();
  expect(present()).toBe(0);
  expect(noted()).toBe(0);
});

it('ends with what was asked for last', async () => {
  for (const address of flood) vips.acquire(address);
  for (const address of flood) vips.release(address);
  for (const address of flood.slice(100)) vips.acquire(address);
  await vips.drain();
  expect(present()).toBe(100);
  expect(noted()).toBe(100);
});

it('adds again what the book still takes for present', () => {
  const stale = [...network.addresses(), { ifindex: 1, address: '20.0.0.1', prefixLength: 32, family: 4, scope: 0 }];
  vips.acquire('20.0.0.1');
  const book = vi.spyOn(network, 'addresses').mockReturnValue(stale as never);
  vips.release('20.0.0.1');
  vips.acquire('20.0.0.1');
  book.mockRestore();
  expect(present()).toBe(1);
  expect(noted()).toBe(1);
});

it('forgets and reports what the kernel refuses of a flood', async () => {
  const { addAddress } = network;
  network.addAddress = (address, name) => {
    if (address === '20.0.0.150') throw new Error('not permitted');
    addAddress(address, name);
  };
  for (const address of flood) vips.acquire(address);
  await vips.drain();
  expect(present()).toBe(FLOOD - 1);
  expect(noted()).toBe(FLOOD - 1);
  expect(log.error).toHaveBeenCalledTimes(1);
});
