/**
 * A BPF ring buffer as its one consumer sees it. Kernel and process share two positions and the data: the programs
 * move the producer's, we move the consumer's. Atomics order what we read after the position that announced it, and
 * our position after the last byte that was read.
 */
import { kernelError } from '../errors.js';
import { pageSize, shareMemory } from '../sys/wait.js';

/** BPF_RINGBUF_BUSY_BIT: reserved, not written yet. */
const BUSY = 1 << 31;
/** BPF_RINGBUF_DISCARD_BIT. */
const DISCARDED = 1 << 30;
const LENGTH = 0x3fffffff;
const HEADER = 8;

export class RingBuffer {
  private readonly consumed: BigInt64Array;
  private readonly produced: BigInt64Array;
  private readonly headers: Int32Array;
  private readonly data: Uint8Array;
  private readonly mask: number;

  /** `size` is the map's max_entries: bytes, a power of two. Throws `DP_KERNEL`. */
  constructor(name: string, fd: number, size: number) {
    const page = pageSize();
    const share = (offset: number, length: number, access: 'read' | 'write') => {
      const memory = shareMemory(fd, offset, length, access);
      if (typeof memory === 'number') throw kernelError(`mapping ring ${name}`, -memory);
      return memory;
    };
    this.consumed = new BigInt64Array(share(0, page, 'write'), 0, 1);
    // The data follows twice, so that a record that wraps round is in one piece.
    const shared = share(page, page + 2 * size, 'read');
    this.produced = new BigInt64Array(shared, 0, 1);
    this.headers = new Int32Array(shared, page, (2 * size) / 4);
    this.data = new Uint8Array(shared, page, 2 * size);
    this.mask = size - 1;
  }

  /**
   * Hands over at most `limit` records that are complete, each a copy, until `onRecord` answers false. A record is taken
   * out before it is handed over.
   */
  drain(limit: number, onRecord: (record: Uint8Array) => boolean): void {
    let position = Number(Atomics.load(this.consumed, 0));
    let end = Number(Atomics.load(this.produced, 0));
    for (let count = 0; count < limit; count++) {
      if (position >= end) {
        end = Number(Atomics.load(this.produced, 0));
        if (position >= end) return;
      }
      const at = position & this.mask;
      const header = Atomics.load(this.headers, at >> 2);
      if (header & BUSY) return;
      const length = header & LENGTH;
      const record = header & DISCARDED ? undefined : this.data.slice(at + HEADER, at + HEADER + length);
      position += (HEADER + length + 7) & ~7;
      Atomics.store(this.consumed, 0, BigInt(position));
      if (record && !onRecord(record)) return;
    }
  }
}
