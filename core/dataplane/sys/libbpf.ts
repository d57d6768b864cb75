/** libbpf: opening, relocating and loading the object, and tc filters. Everything else is bpf(2) itself. */
import { LoxilbError } from '@loxilb/sdk';
import koffi, { type LibraryHandle } from 'koffi';
import { formatVariadic } from './libc.js';

/** An address libbpf gave us. */
export type Handle = bigint;

type TcCall = (hook: Uint8Array, options: Uint8Array) => number;

const LogCallback = koffi.proto('int LoxilbLibbpfLog(int level, const char *format, void *arguments)');

function bind(library: LibraryHandle) {
  return {
    openFile: library.func('void *bpf_object__open_file(const char *path, void *options)') as (
      path: string,
      options: null,
    ) => Handle | null,
    load: library.func('int bpf_object__load(void *object)') as ((object: Handle) => number) & {
      async(object: Handle, done: (error: Error | null, result: number) => void): void;
    },
    setAutoload: library.func('int bpf_program__set_autoload(void *program, bool autoload)') as (
      program: Handle,
      autoload: boolean,
    ) => number,
    autoload: library.func('bool bpf_program__autoload(void *program)') as (program: Handle) => boolean,
    close: library.func('void bpf_object__close(void *object)') as (object: Handle) => void,
    findMap: library.func('void *bpf_object__find_map_by_name(void *object, const char *name)') as (
      object: Handle,
      name: string,
    ) => Handle | null,
    findProgram: library.func('void *bpf_object__find_program_by_name(void *object, const char *name)') as (
      object: Handle,
      name: string,
    ) => Handle | null,
    nextProgram: library.func('void *bpf_object__next_program(void *object, void *previous)') as (
      object: Handle,
      previous: Handle | null,
    ) => Handle | null,
    programName: library.func('const char *bpf_program__name(void *program)') as (program: Handle) => string,
    programFd: library.func('int bpf_program__fd(void *program)') as (program: Handle) => number,
    mapFd: library.func('int bpf_map__fd(void *map)') as (map: Handle) => number,
    setMaxEntries: library.func('int bpf_map__set_max_entries(void *map, uint32_t count)') as (
      map: Handle,
      count: number,
    ) => number,
    reuseFd: library.func('int bpf_map__reuse_fd(void *map, int fd)') as (map: Handle, fd: number) => number,
    initialValue: library.func('void *bpf_map__initial_value(void *map, _Out_ size_t *size)') as (
      map: Handle,
      size: [number | null],
    ) => Handle | null,
    probeHelper: library.func('int libbpf_probe_bpf_helper(int type, int helper, const void *options)') as (
      type: number,
      helper: number,
      options: null,
    ) => number,
    possibleCpus: library.func('int libbpf_num_possible_cpus()') as () => number,
    tcHookCreate: library.func('int bpf_tc_hook_create(void *hook)') as (hook: Uint8Array) => number,
    tcAttach: library.func('int bpf_tc_attach(void *hook, void *options)') as TcCall,
    tcDetach: library.func('int bpf_tc_detach(void *hook, void *options)') as TcCall,
    tcQuery: library.func('int bpf_tc_query(void *hook, void *options)') as TcCall,
  };
}

export type Libbpf = ReturnType<typeof bind>;

let loaded: Libbpf | undefined;

/** The library, loaded on first use: the memory backend runs on machines that have none. */
export function libbpf(): Libbpf {
  loaded ??= loadLibrary();
  return loaded;
}

function loadLibrary(): Libbpf {
  try {
    const library = koffi.load('libbpf.so.1');
    redirectLog(library);
    return bind(library);
  } catch (cause) {
    throw new LoxilbError('libbpf.so.1 cannot be loaded', {
      code: 'DP_LIBBPF_MISSING',
      status: 500,
      remedy: 'install the package libbpf1',
      cause,
    });
  }
}

const LEVEL_DEBUG = 2;
/** Whoever wants to know what libbpf says now; it does not tell whom it says it to. */
const listeners = new Set<string[]>();

/** Runs `action` and returns what libbpf had to say meanwhile, verifier log included. */
export function captureLog<T>(action: () => T): { value: T; log: string } {
  const lines: string[] = [];
  listeners.add(lines);
  try {
    const value = action();
    return { value, log: lines.join('') };
  } finally {
    listeners.delete(lines);
  }
}

/** `bpf_object__load` on a thread of libuv's pool: the verifier may take a while. */
export async function loadAsync(object: Handle): Promise<{ value: number; log: string }> {
  const lines: string[] = [];
  listeners.add(lines);
  try {
    const value = await new Promise<number>((resolve, reject) => {
      libbpf().load.async(object, (error, result) => (error ? reject(error) : resolve(result)));
    });
    return { value, log: lines.join('') };
  } finally {
    listeners.delete(lines);
  }
}

/** libbpf writes to stderr unless told otherwise, and has one callback per process. */
function redirectLog(library: LibraryHandle): void {
  const setPrint = library.func('void *libbpf_set_print(LoxilbLibbpfLog *callback)') as (callback: Handle) => unknown;
  const callback = (level: number, format: unknown, args: unknown): number => {
    if (listeners.size === 0 || level >= LEVEL_DEBUG) return 0;
    const line = formatVariadic(format, args);
    for (const lines of listeners) lines.push(line);
    return 0;
  };
  setPrint(koffi.register(callback, koffi.pointer(LogCallback)));
}

/** Memory libbpf owns, as bytes. Valid until the object is loaded or closed. */
export function viewOf(handle: Handle, length: number): Uint8Array {
  return new Uint8Array(koffi.view(handle, length));
}
