import { closeSync, constants, fdatasync, fdatasyncSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { LoxilbError } from '@loxilb/sdk';

/** How long writes wait for each other before one flush to disk serves them all. */
const GROUP_COMMIT_MS = 10;

/**
 * An append-only file. `append` returns when the kernel has the bytes, which is what surviving `kill -9` takes; a
 * flush to disk follows within milliseconds, for the case that the machine itself dies.
 */
export class Journal {
  #size: number;
  #broken = false;
  #timer: NodeJS.Timeout | undefined;
  #flushing = false;
  #dirty = false;

  private constructor(
    readonly path: string,
    readonly fd: number,
    private readonly onFlushError: (error: Error) => void,
  ) {
    this.#size = fstatSync(fd).size;
  }

  /** @param keepBytes length of the part that is known to be good; a torn tail beyond it is cut off */
  static open(path: string, onFlushError: (error: Error) => void, keepBytes?: number): Journal {
    const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND, 0o600);
    if (keepBytes !== undefined && fstatSync(fd).size > keepBytes) ftruncateSync(fd, keepBytes);
    return new Journal(path, fd, onFlushError);
  }

  get size(): number {
    return this.#size;
  }

  /** @throws LoxilbError STATE_WRITE, and then the file is as it was */
  append(line: string): void {
    if (this.#broken) throw writeError(this.path, new Error('an earlier write could not be taken back'));
    const bytes = Buffer.from(line);
    try {
      const written = writeSync(this.fd, bytes);
      if (written !== bytes.length) throw new Error(`only ${written} of ${bytes.length} bytes written`);
    } catch (cause) {
      this.#takeBack();
      throw writeError(this.path, cause);
    }
    this.#size += bytes.length;
    this.#scheduleFlush();
  }

  #takeBack(): void {
    try {
      ftruncateSync(this.fd, this.#size);
    } catch {
      this.#broken = true;
    }
  }

  #scheduleFlush(): void {
    this.#dirty = true;
    if (this.#flushing || this.#timer) return;
    this.#timer = setTimeout(() => this.#flush(), GROUP_COMMIT_MS);
    this.#timer.unref();
  }

  #flush(): void {
    this.#timer = undefined;
    this.#flushing = true;
    this.#dirty = false;
    fdatasync(this.fd, (error) => {
      this.#flushing = false;
      // The descriptor may have been closed meanwhile: `close` has flushed then.
      if (error && error.code !== 'EBADF') this.onFlushError(error);
      else if (this.#dirty) this.#scheduleFlush();
    });
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dirty = false;
    fdatasyncSync(this.fd);
    closeSync(this.fd);
  }
}

function writeError(path: string, cause: unknown): LoxilbError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new LoxilbError(`desired state could not be stored in ${path}: ${reason}`, {
    code: 'STATE_WRITE',
    status: 503,
    result: 'not-ready: desired state could not be stored',
    remedy: 'free space on the file system of the state directory, or make it writable again',
    cause,
  });
}
