import type { Logger, Network, RawSender } from '@loxilb/sdk';

export interface NetworkOptions {
  /** `memory` knows one loopback link and changes nothing outside this process. */
  readonly backend: 'kernel' | 'memory';
  readonly log: Logger;
}

/** The network service and the sockets behind it. */
export type ClosableNetwork = Network & { close(): void };

/** Raw sockets, opened when they are first needed. */
export type ClosableRawSender = RawSender & { close(): void };
