import type { Logger, Network } from '@loxilb/sdk';
import type { AddressBook } from './addresses.js';

/** Quiet time after a change before endpoints are looked at: changes come in bursts. */
const SETTLE_MS = 100;
/** Looking at all endpoints takes at most this share of the time. */
const LOAD = 10;

/**
 * Keeps the address book true, and has the addresses endpoints see worked out anew when the kernel's addresses or routes
 * have changed. Putting service addresses on `lo` is such a change too, so a flood of new rules must not turn into a
 * flood of this. Returns the stop function.
 */
export function followNetwork(network: Network, book: AddressBook, refresh: () => void, log: Logger): () => void {
  let timer: NodeJS.Timeout | undefined;
  let notBefore = 0;
  const run = (): void => {
    timer = undefined;
    const started = performance.now();
    try {
      refresh();
    } catch (error) {
      log.error({ err: error }, 'source addresses towards endpoints could not be updated');
    }
    const ended = performance.now();
    notBefore = ended + (ended - started) * LOAD;
  };
  const unsubscribe = network.onChange((kinds) => {
    if (!kinds.has('address') && !kinds.has('route') && !kinds.has('link')) return;
    book.forget();
    timer ??= setTimeout(run, Math.max(SETTLE_MS, notBefore - performance.now())).unref();
  });
  return () => {
    unsubscribe();
    clearTimeout(timer);
  };
}
