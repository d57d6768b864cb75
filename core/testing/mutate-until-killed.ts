import { FileStore } from '../state/store.js';
import { recordingLog } from './silent-log.js';

/**
 * Commits numbered mutations for ever and prints each number when it is confirmed. Key `k<n % 20>` becomes n, or goes
 * when n is divisible by 7, so that what should be stored follows from the last number alone. Compacts often.
 */
export default async function mutateUntilKilled(dir: string, first: number): Promise<void> {
  const store = new FileStore({ dir, log: recordingLog(), compactBytes: 3_000 });
  for (let n = first; ; n++) {
    store.prepare([{ resource: 'rule', key: `k${n % 20}`, desired: n % 7 === 0 ? undefined : n }])();
    process.stdout.write(`${n}\n`);
    // Lets snapshots and flushes run in between, as requests would.
    if (n % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** What is stored after mutation `last`. */
export function expectedAfter(last: number): Record<string, number> {
  const entries = new Map<string, number>();
  for (let n = 1; n <= last; n++) {
    if (n % 7 === 0) entries.delete(`k${n % 20}`);
    else entries.set(`k${n % 20}`, n);
  }
  return Object.fromEntries(entries);
}
