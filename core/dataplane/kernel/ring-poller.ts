/**
 * Reads rings when the kernel says that there is something in them. One thread of libuv's pool waits in poll(2) for all
 * rings together, and only while there is a reader; records are taken on the main thread.
 */
import type { Logger, RingReader } from '@loxilb/sdk';
import { kernelError, ringTaken } from '../errors.js';
import { mapInfo } from '../sys/bpf.js';
import { closeFd, duplicateFd } from '../sys/libc.js';
import { clearEvent, createEvent, raiseEvent, waitReadable } from '../sys/wait.js';
import { RingBuffer } from './ring-buffer.js';

/** Records of one ring taken at one go, a few milliseconds' worth, before requests and timers have their turn. */
const TURN = 2000;
const RETRY_MS = 100;

interface Reader {
  readonly name: string;
  readonly fd: number;
  readonly buffer: RingBuffer;
  readonly onRecord: (record: Uint8Array) => void;
}

export class RingPoller {
  private readonly readers = new Map<string, Reader>();
  /** A ring is mapped once, however often it is read. */
  private readonly buffers = new Map<string, RingBuffer>();
  /** Descriptors of readers that have gone, until no thread waits for them. */
  private readonly stale: number[] = [];
  private wakeFd = -1;
  private waiting = false;
  /** The process would wait for the thread at its end. */
  private readonly wake = (): void => raiseEvent(this.wakeFd);

  constructor(private readonly log: Logger) {}

  /** `fd` stays the caller's. Throws `DP_RING_TAKEN`, `DP_KERNEL`. */
  read(name: string, fd: number, onRecord: (record: Uint8Array) => void): RingReader {
    if (this.readers.has(name)) throw ringTaken(name);
    const buffer = this.buffers.get(name) ?? new RingBuffer(name, fd, mapInfo(fd).maxEntries);
    this.buffers.set(name, buffer);
    const reader = { name, fd: duplicateFd(fd), buffer, onRecord };
    this.readers.set(name, reader);
    if (this.wakeFd < 0) this.openEvent();
    this.changed();
    return { close: () => this.remove(reader) };
  }

  close(): void {
    for (const reader of [...this.readers.values()]) this.remove(reader);
    this.buffers.clear();
  }

  private remove(reader: Reader): void {
    if (this.readers.get(reader.name) !== reader) return;
    this.readers.delete(reader.name);
    this.stale.push(reader.fd);
    this.changed();
  }

  /** The thread has to wait for other descriptors than it does. */
  private changed(): void {
    if (this.waiting) this.wake();
    else this.wait();
  }

  private wait(): void {
    for (const fd of this.stale.splice(0)) closeFd(fd);
    if (this.readers.size === 0) {
      this.closeEvent();
      return;
    }
    this.waiting = true;
    const fds = [this.wakeFd, ...[...this.readers.values()].map((reader) => reader.fd)];
    waitReadable(fds, (ready) => this.woken(ready));
  }

  private openEvent(): void {
    this.wakeFd = createEvent();
    if (this.wakeFd < 0) throw kernelError('opening an eventfd', -this.wakeFd);
    process.once('exit', this.wake);
  }

  private closeEvent(): void {
    process.off('exit', this.wake);
    closeFd(this.wakeFd);
    this.wakeFd = -1;
  }

  private woken(ready: boolean): void {
    clearEvent(this.wakeFd);
    if (ready) for (const reader of [...this.readers.values()]) this.drain(reader);
    this.waiting = false;
    if (ready || this.readers.size === 0) this.wait();
    else setTimeout(() => !this.waiting && this.wait(), RETRY_MS);
  }

  private drain(reader: Reader): void {
    reader.buffer.drain(TURN, (record) => {
      try {
        reader.onRecord(record);
      } catch (error) {
        this.log.error({ ring: reader.name, err: error }, 'a record could not be handled');
      }
      return this.readers.get(reader.name) === reader;
    });
  }
}
