/** A machine with nothing but a loopback interface, for the memory backend. Addresses are kept in this process. */
import type { AddressChange, NetworkAddress, NetworkChange, NetworkLink } from '@loxilb/sdk';
import type { ClosableNetwork } from './types.js';

const LOOPBACK: NetworkLink = {
  ifindex: 1,
  name: 'lo',
  mac: '00:00:00:00:00:00',
  mtu: 65_536,
  up: true,
  running: true,
  loopback: true,
  ethernet: true,
  kind: '',
  masterIfindex: 0,
  peerIfindex: 0,
  peerInOtherNamespace: false,
  statistics: { rxBytes: 0, txBytes: 0, rxPackets: 0, txPackets: 0, rxErrors: 0, txErrors: 0 },
};

export class MemoryNetwork implements ClosableNetwork {
  private readonly listeners = new Set<(kinds: ReadonlySet<NetworkChange>) => void>();
  private readonly stored = new Map<string, NetworkAddress>([
    ['127.0.0.1', { ifindex: 1, address: '127.0.0.1', prefixLength: 8, family: 4, scope: 254 }],
    ['::1', { ifindex: 1, address: '::1', prefixLength: 128, family: 6, scope: 254 }],
  ]);

  links(): readonly NetworkLink[] {
    return [LOOPBACK];
  }

  addresses(): readonly NetworkAddress[] {
    return [...this.stored.values()];
  }

  routes(): readonly never[] {
    return [];
  }

  neighbors(): readonly never[] {
    return [];
  }

  refreshLinks(): Promise<readonly NetworkLink[]> {
    return Promise.resolve(this.links());
  }

  /** The loopback address of the family: enough for rules to be made, and nothing is sent. */
  sourceAddressFor(destination: string): string | undefined {
    return destination.includes(':') ? '::1' : '127.0.0.1';
  }

  addAddress(address: string, interfaceName: string): void {
    if (interfaceName !== LOOPBACK.name) return;
    const family = address.includes(':') ? 6 : 4;
    this.stored.set(address, { ifindex: 1, address, prefixLength: family === 4 ? 32 : 128, family, scope: 0 });
    this.announce();
  }

  removeAddress(address: string): void {
    if (this.stored.delete(address)) this.announce();
  }

  changeAddresses(changes: readonly AddressChange[], interfaceName: string): Promise<never[]> {
    for (const { address, present } of changes) {
      if (present) this.addAddress(address, interfaceName);
      else this.removeAddress(address);
    }
    return Promise.resolve([]);
  }

  onChange(listener: (kinds: ReadonlySet<NetworkChange>) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  close(): void {
    this.listeners.clear();
  }

  private announce(): void {
    for (const listener of this.listeners) listener(new Set(['address']));
  }
}
