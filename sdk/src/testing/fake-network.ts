import type {
  AddressChange,
  AddressRefusal,
  Network,
  NetworkAddress,
  NetworkChange,
  NetworkLink,
  NetworkNeighbor,
  NetworkRoute,
} from '../contracts.js';

/** A machine's network that a test arranges by hand. */
export interface FakeNetwork extends Network {
  readonly state: {
    links: NetworkLink[];
    addresses: NetworkAddress[];
    routes: NetworkRoute[];
    neighbors: NetworkNeighbor[];
  };
  /** Tells subscribers, as the kernel would after a change of `state`. */
  announce(...kinds: NetworkChange[]): void;
  /** Subscribers there are. */
  readonly listeners: number;
}

/** One loopback link with its addresses, until the test says otherwise. */
export function createFakeNetwork(): FakeNetwork {
  const listeners = new Set<(kinds: ReadonlySet<NetworkChange>) => void>();
  const state: FakeNetwork['state'] = {
    links: [fakeLink({ ifindex: 1, name: 'lo', loopback: true })],
    addresses: [{ ifindex: 1, address: '127.0.0.1', prefixLength: 8, family: 4, scope: 254 }],
    routes: [],
    neighbors: [],
  };
  const indexOf = (name: string) => state.links.find((link) => link.name === name)?.ifindex ?? 0;
  const network: FakeNetwork = {
    state,
    get listeners() {
      return listeners.size;
    },
    announce(...kinds) {
      for (const listener of listeners) listener(new Set(kinds));
    },
    links: () => state.links,
    addresses: () => state.addresses,
    routes: () => state.routes,
    neighbors: () => state.neighbors,
    refreshLinks: () => Promise.resolve(state.links),
    sourceAddressFor: (destination) =>
      state.addresses.find(({ address }) => address.includes(':') === destination.includes(':'))?.address,
    addAddress(address, interfaceName) {
      network.removeAddress(address, interfaceName);
      const family = address.includes(':') ? 6 : 4;
      const prefixLength = family === 6 ? 128 : 32;
      state.addresses.push({ ifindex: indexOf(interfaceName), address, prefixLength, family, scope: 0 });
    },
    removeAddress(address, interfaceName) {
      const ifindex = indexOf(interfaceName);
      state.addresses = state.addresses.filter((entry) => entry.address !== address || entry.ifindex !== ifindex);
    },
    changeAddresses: (changes, interfaceName) => changeOneByOne(network, changes, interfaceName),
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  return network;
}

/** `changeAddresses` in terms of the other two. */
async function changeOneByOne(
  network: Network,
  changes: readonly AddressChange[],
  interfaceName: string,
): Promise<AddressRefusal[]> {
  await Promise.resolve();
  const refused: AddressRefusal[] = [];
  for (const { address, present } of changes) {
    try {
      if (present) network.addAddress(address, interfaceName);
      else network.removeAddress(address, interfaceName);
    } catch (error) {
      refused.push({ address, present, error });
    }
  }
  return refused;
}

/** A link that is up, with everything a test does not care about filled in. */
export function fakeLink(link: Partial<NetworkLink> & Pick<NetworkLink, 'ifindex' | 'name'>): NetworkLink {
  return {
    mac: '02:00:00:00:00:01',
    mtu: 1500,
    up: true,
    running: true,
    loopback: false,
    ethernet: true,
    kind: '',
    masterIfindex: 0,
    peerIfindex: 0,
    peerInOtherNamespace: false,
    statistics: { rxBytes: 0, txBytes: 0, rxPackets: 0, txPackets: 0, rxErrors: 0, txErrors: 0 },
    ...link,
  };
}
