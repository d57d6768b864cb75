/** The compiled packet path in libbpf's hands: opened, configured, loaded. Tests load it with this class as well. */
import { readFileSync } from 'node:fs';
import { type ObjectLayout, parseObject } from '../btf/object-layout.js';
import { kernelError, objectMissing, programUnknown } from '../errors.js';
import { programFacts } from '../sys/bpf.js';
import { captureLog, type Handle, libbpf, loadAsync, viewOf } from '../sys/libbpf.js';

/** Maps, constants and types of an object file. Throws `DP_OBJECT_MISSING`. */
export function readObjectLayout(file: string): ObjectLayout {
  try {
    return parseObject(readFileSync(file));
  } catch (cause) {
    throw objectMissing(file, cause);
  }
}

export class BpfObject {
  private constructor(
    readonly layout: ObjectLayout,
    private readonly handle: Handle,
    private readonly file: string,
  ) {}

  static open(file: string): BpfObject {
    const layout = readObjectLayout(file);
    const { value, log } = captureLog(() => libbpf().openFile(file, null));
    if (!value) throw objectMissing(file, new Error(log));
    return new BpfObject(layout, value, file);
  }

  /** Sets a `const volatile` variable. Before `load` only; the name must be in the layout. */
  setConstant(name: string, value: number | boolean): void {
    const constant = this.layout.constants.get(name);
    const map = libbpf().findMap(this.handle, '.rodata');
    if (!constant || !map) throw new RangeError(`object has no constant ${name}`);
    const size: [number | null] = [null];
    const memory = libbpf().initialValue(map, size);
    if (!memory) throw new RangeError('object has no initial .rodata');
    const view = new DataView(viewOf(memory, Number(size[0])).buffer);
    if (constant.size === 8) view.setBigUint64(constant.offset, BigInt(value), true);
    else if (constant.size === 4) view.setUint32(constant.offset, Number(value), true);
    else if (constant.size === 2) view.setUint16(constant.offset, Number(value), true);
    else view.setUint8(constant.offset, Number(value));
  }

  setMaxEntries(map: string, count: number): void {
    const result = libbpf().setMaxEntries(this.map(map), count);
    if (result < 0) throw kernelError(`size of map ${map}`, -result);
  }

  /** Makes the object use an existing map. libbpf duplicates the descriptor. */
  reuseMap(map: string, fd: number): void {
    const { value, log } = captureLog(() => libbpf().reuseFd(this.map(map), fd));
    if (value < 0) throw kernelError(`adopting map ${map}`, -value, log);
  }

  /** Throws `DP_KERNEL` with the verifier's log. */
  load(): void {
    const { value, log } = captureLog(() => libbpf().load(this.handle));
    if (value < 0) throw kernelError(`loading ${this.file}`, -value, log);
  }

  /** The same off the event loop. */
  async loadAsync(): Promise<void> {
    const { value, log } = await loadAsync(this.handle);
    if (value < 0) throw kernelError(`loading ${this.file}`, -value, log);
  }

  /** Leaves all other programs out of the load. Throws `DP_PROGRAM_UNKNOWN`. */
  loadOnly(...names: readonly string[]): void {
    for (const name of names) if (!libbpf().findProgram(this.handle, name)) throw programUnknown(name);
    for (let program = this.next(null); program; program = this.next(program)) {
      libbpf().setAutoload(program, names.includes(libbpf().programName(program)));
    }
  }

  /** Leaves one program out of the load, if there is one of that name. */
  exclude(name: string): void {
    const program = libbpf().findProgram(this.handle, name);
    if (program) libbpf().setAutoload(program, false);
  }

  /** Descriptor of a loaded map; belongs to the object. */
  mapFd(name: string): number {
    return libbpf().mapFd(this.map(name));
  }

  /** Descriptor of a loaded program; belongs to the object. Throws `DP_PROGRAM_UNKNOWN`. */
  programFd(name: string): number {
    const program = libbpf().findProgram(this.handle, name);
    if (!program) throw programUnknown(name);
    return libbpf().programFd(program);
  }

  /** Programs that are, or are going to be, loaded. */
  programNames(): string[] {
    const names: string[] = [];
    for (let program = this.next(null); program; program = this.next(program)) {
      if (libbpf().autoload(program)) names.push(libbpf().programName(program));
    }
    return names;
  }

  /** Verifier figures of every program. */
  programs(): { name: string; fd: number; id: number; instructions: number; verifiedInstructions: number }[] {
    return this.programNames().map((name) => {
      const fd = this.programFd(name);
      return { ...programFacts(fd), name, fd };
    });
  }

  close(): void {
    libbpf().close(this.handle);
  }

  private next(program: Handle | null): Handle | null {
    return libbpf().nextProgram(this.handle, program);
  }

  private map(name: string): Handle {
    const map = libbpf().findMap(this.handle, name);
    if (!map) throw new RangeError(`object has no map ${name}`);
    return map;
  }
}
