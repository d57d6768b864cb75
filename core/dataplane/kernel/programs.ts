/** Programs of the packet path that user space runs inside the kernel. */
import type { KernelProgram, KernelWalk } from '@loxilb/sdk';
import { kernelError } from '../errors.js';
import { createIterator, createMapIteratorLink, runProgram } from '../sys/bpf.js';
import { Errno } from '../sys/errno.js';
import { closeFd, readAsync, readSync } from '../sys/libc.js';

/** `SEC("syscall")`. `fd` is asked for at each run: before the load there is none. */
export function kernelProgram(name: string, fd: () => number): KernelProgram {
  return {
    run(context) {
      const bytes = context.slice();
      const { result } = runProgram(fd(), { contextIn: bytes });
      if (result < 0) throw kernelError(`running ${name}`, -result);
      return bytes;
    },
  };
}

/**
 * The program writes one byte per four elements it has seen (WALK_ELEMENTS_PER_BYTE), and the kernel returns from
 * read(2) when the buffer is full: so one thread-pool job works on 16,384 elements, a few milliseconds.
 */
const SLICE_BYTES = 4096;

/** `SEC("iter/bpf_map_elem")` over one map. Concurrent runs are separate walks. */
export function kernelWalk(name: string, programFd: () => number, mapFd: () => number): KernelWalk {
  return {
    async run() {
      const link = createMapIteratorLink(programFd(), mapFd());
      if (link < 0) throw kernelError(`starting ${name}`, -link);
      const iterator = createIterator(link);
      closeFd(link);
      if (iterator < 0) throw kernelError(`starting ${name}`, -iterator);
      try {
        await readToEnd(name, iterator);
      } finally {
        closeFd(iterator);
      }
    },
  };
}

async function readToEnd(name: string, iterator: number): Promise<void> {
  const buffer = new Uint8Array(SLICE_BYTES);
  for (;;) {
    const count = await readAsync(iterator, buffer);
    if (count === 0) return;
    if (count < 0 && resumeSync(name, iterator)) return;
  }
}

/**
 * The errno of a read on another thread is not to be had, so the failed read is repeated here, small. EAGAIN means that
 * a million elements passed without output, and that the walk goes on. Tells whether it has ended.
 */
function resumeSync(name: string, iterator: number): boolean {
  const count = readSync(iterator, new Uint8Array(256));
  if (count < 0 && count !== -Errno.EAGAIN) throw kernelError(`running ${name}`, -count);
  return count === 0;
}
