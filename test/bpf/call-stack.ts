/** How much stack the functions of a compiled object take, and who calls whom: read from its instructions. */
import type { ElfFile } from '../../core/dataplane/btf/elf.js';

export interface StackFrame {
  /** Bytes below the frame pointer that the function uses. */
  readonly bytes: number;
  readonly calls: readonly string[];
}

export interface CallGraph {
  readonly functions: ReadonlyMap<string, StackFrame>;
  /** Where a chain begins: programs, and callbacks that run on their own. */
  readonly roots: readonly string[];
}

export interface CallChain {
  readonly bytes: number;
  readonly path: readonly string[];
}

/** Frames of a chain as the verifier counts them; older kernels round up to so many bytes, later ones to 16. */
const ROUNDED_TO = 32;

/** The chain from `root` that takes the most stack. */
export function deepestChain({ functions }: CallGraph, root: string): CallChain {
  const { bytes = 0, calls = [] } = functions.get(root) ?? {};
  const own = Math.ceil(Math.max(bytes, 1) / ROUNDED_TO) * ROUNDED_TO;
  const below = calls.map((callee) => deepestChain({ functions, roots: [] }, callee));
  const deepest = below.reduce((most, chain) => (chain.bytes > most.bytes ? chain : most), { bytes: 0, path: [] });
  return { bytes: own + deepest.bytes, path: [`${root}(${bytes})`, ...deepest.path] };
}

const INSTRUCTION = 8;
const TEXT = '.text';
const STT_FUNC = 2;

interface Instruction {
  readonly at: number;
  readonly code: number;
  readonly to: number;
  readonly from: number;
  readonly offset: number;
  readonly immediate: number;
}

interface CompiledFunction {
  readonly name: string;
  readonly section: string;
  readonly instructions: readonly Instruction[];
}

/** Reads all functions of an object. */
export function readCallGraph(elf: ElfFile): CallGraph {
  const compiled = readFunctions(elf);
  const find = functionFinder(elf, compiled);
  const alone = new Set<string>();
  const functions = new Map(
    compiled.map(({ name, section, instructions }) => {
      const callees = instructions.flatMap((one, index) => {
        const callee = find(section, one);
        if (callee === undefined) return [];
        if (!isTimerCallback(instructions, index)) return [callee];
        alone.add(callee);
        return [];
      });
      return [name, { bytes: frameBytes(instructions), calls: [...new Set(callees)] }];
    }),
  );
  const programs = compiled.filter(({ section }) => section !== TEXT).map(({ name }) => name);
  return { functions, roots: [...programs, ...alone] };
}

function readFunctions(elf: ElfFile): CompiledFunction[] {
  const symbols = elf.symbols.filter(({ type }) => type === STT_FUNC);
  return symbols.map(({ name, section, value }) => {
    const code = elf.section(section) ?? new Uint8Array();
    const starts = symbols.filter((other) => other.section === section && other.value > value);
    const end = Math.min(code.length, ...starts.map((other) => other.value));
    return { name, section, instructions: readInstructions(code, value, end) };
  });
}

function readInstructions(code: Uint8Array, start: number, end: number): Instruction[] {
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
  return Array.from({ length: (end - start) / INSTRUCTION }, (_, index) => {
    const at = start + index * INSTRUCTION;
    const registers = view.getUint8(at + 1);
    return {
      at,
      code: view.getUint8(at),
      to: registers & 0xf,
      from: registers >> 4,
      offset: view.getInt16(at + 2, true),
      immediate: view.getInt32(at + 4, true),
    };
  });
}

const CALL = 0x85;
const CALL_OF_FUNCTION = 1;
const LD_IMM64 = 0x18;
const BPF_TIMER_SET_CALLBACK = 170;

/** Whether what is loaded here is given to a timer: it runs on a stack of its own. */
function isTimerCallback(instructions: readonly Instruction[], index: number): boolean {
  if (instructions[index]?.code !== LD_IMM64) return false;
  const next = instructions.slice(index).find(({ code }) => code === CALL);
  return next?.from === 0 && next.immediate === BPF_TIMER_SET_CALLBACK;
}

/** Tells which function an instruction calls, or loads to have it called by a helper. */
function functionFinder(
  elf: ElfFile,
  functions: readonly CompiledFunction[],
): (section: string, instruction: Instruction) => string | undefined {
  const places = new Map(
    functions.map(({ name, section, instructions }) => [`${section}+${instructions[0]?.at}`, name]),
  );
  const relocations = new Map<string, ReturnType<typeof readRelocations>>();
  return (section, { at, code, from, immediate }) => {
    const isCall = code === CALL && from === CALL_OF_FUNCTION;
    if (!isCall && code !== LD_IMM64) return undefined;
    const known = relocations.get(section) ?? readRelocations(elf, section);
    relocations.set(section, known);
    const symbol = known.get(at);
    // A call counts instructions from behind itself, an address bytes.
    const distance = isCall ? (immediate + 1) * INSTRUCTION : immediate;
    if (symbol) return places.get(`${symbol.section}+${symbol.value + distance}`);
    return isCall ? places.get(`${section}+${at + distance}`) : undefined;
  };
}

const RELOCATION = 16;

/** Symbols named by the instructions of a section, by offset. */
function readRelocations(elf: ElfFile, section: string): Map<number, ElfFile['symbols'][number]> {
  const table = elf.section(`.rel${section}`) ?? new Uint8Array();
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  const found = new Map<number, ElfFile['symbols'][number]>();
  for (let at = 0; at < table.length; at += RELOCATION) {
    const symbol = elf.symbols[view.getUint32(at + 12, true)];
    if (symbol) found.set(Number(view.getBigUint64(at, true)), symbol);
  }
  return found;
}

const FRAME_POINTER = 10;
const MOVE_REGISTER = 0xbf;
const ADD_IMMEDIATE = 0x07;
const CLASS = 0x07;
const [LDX, ST, STX] = [1, 2, 3];
const ARITHMETIC = [4, 7];

/**
 * The lowest place on the stack that is used: by a load or store, or as an address that is handed on. Addresses are
 * followed from one instruction to the next, which is how compilers make them.
 */
export function frameBytes(instructions: readonly Instruction[]): number {
  const pointers = new Map([[FRAME_POINTER, 0]]);
  let lowest = 0;
  for (const { code, to, from, offset, immediate } of instructions) {
    const kind = code & CLASS;
    const base = pointers.get(kind === LDX ? from : to);
    if (base !== undefined && (kind === LDX || kind === ST || kind === STX)) lowest = Math.min(lowest, base + offset);
    if (to === FRAME_POINTER) continue;
    const moved = code === MOVE_REGISTER ? pointers.get(from) : code === ADD_IMMEDIATE ? base : undefined;
    if (moved !== undefined) {
      const place = moved + (code === ADD_IMMEDIATE ? immediate : 0);
      pointers.set(to, place);
      lowest = Math.min(lowest, place);
    } else if (kind === LDX || kind === 0 || ARITHMETIC.includes(kind)) pointers.delete(to);
  }
  return Math.abs(lowest);
}
