import { createFakeNetwork, fakeLink } from '@loxilb/sdk/testing';
import { beforeEach, expect, it, vi } from 'vitest';
import { OnLinkAddresses } from './on-link-addresses.js';

const CLIENT = 2;
const SERVER = 3;
const VIP = 'fd10::99';

let network: ReturnType<typeof createFakeNetwork>;
let onLink: OnLinkAddresses;
const log = { debug() {}, info() {}, warn: vi.fn(), error: vi.fn() };

const own = (ifindex: number, address: string, prefixLength = 64, scope = 0) =>
  network.state.addresses.push({ ifindex, address, prefixLength, family: address.includes(':') ? 6 : 4, scope });
const disown = (address: string) => {
  network.state.addresses = network.state.addresses.filter((one) => one.address !== address);
};
const where = (address = VIP) =>
  network.state.addresses.filter((one) => one.address === address).map(({ ifindex }) => ifindex);

beforeEach(() => {
  vi.clearAllMocks();
  network = createFakeNetwork();
  network.state.links.push(
    fakeLink({ ifindex: CLIENT, name: 'client' }),
    fakeLink({ ifindex: SERVER, name: 'server' }),
  );
  own(1, 'fd10:0:0:0:1::1', 64);
  own(CLIENT, 'fd10::254');
  own(CLIENT, 'fe80::1', 64, 253);
  own(CLIENT, '10.10.10.254', 24);
  own(SERVER, 'fd31::254');
  onLink = new OnLinkAddresses(network, log);
});

it('an address is put on the interface of its network, and on no other', () => {
  onLink.put(VIP);
  expect(where()).toEqual([CLIENT]);
  onLink.take(VIP);
  expect(where()).toEqual([]);
});

it.each(['10.10.10.99', 'fd20::1', 'fe80::99'])('%s needs nothing of the kind', (address) => {
  onLink.put(address);
  onLink.follow([address]);
  expect(where(address)).toEqual([]);
});

it('follows its network to another interface, and out of the machine', () => {
  onLink.put(VIP);
  disown('fd10::254');
  own(SERVER, 'fd10::253');
  onLink.follow([VIP]);
  expect(where()).toEqual([SERVER]);
  disown('fd10::253');
  onLink.follow([VIP]);
  expect(where()).toEqual([]);
});

it('comes back when the kernel took it off with the link', () => {
  onLink.put(VIP);
  disown(VIP);
  onLink.follow([VIP]);
  expect(where()).toEqual([CLIENT]);
});

it('asks for nothing when all is as it should be', () => {
  onLink.put(VIP);
  const change = vi.spyOn(network, 'addAddress');
  onLink.follow([VIP, 'fd20::1', '10.10.10.99']);
  expect(change).not.toHaveBeenCalled();
});

it('takes off what an earlier daemon put there', () => {
  own(CLIENT, VIP, 128);
  onLink.adopt([VIP]);
  onLink.take(VIP);
  expect(where()).toEqual([]);
});

it('a flood of addresses follows a moment later', async () => {
  const flood = Array.from({ length: 200 }, (_, index) => `fd10::1:${(index + 1).toString(16)}`);
  const present = () => network.state.addresses.filter(({ address }) => address.startsWith('fd10::1:')).length;
  for (const address of flood) onLink.put(address);
  await onLink.drain();
  expect(present()).toBe(200);
  for (const address of flood) onLink.take(address);
  await onLink.drain();
  expect(present()).toBe(0);
});

it('a refusal of the kernel is told, and nothing else fails', () => {
  vi.spyOn(network, 'addAddress').mockImplementation(() => {
    throw new Error('no');
  });
  onLink.put(VIP);
  expect(log.warn).toHaveBeenCalledWith(
    expect.objectContaining({ address: VIP, interface: 'client' }),
    expect.any(String),
  );
});
