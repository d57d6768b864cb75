/** A loaded program's instructions, as the verifier left them. */
import { mapInfo } from '../../core/dataplane/sys/bpf.js';
import { addressOf, bpf } from '../../core/dataplane/sys/libc.js';

const OBJ_GET_INFO_BY_FD = 15;
const INSTRUCTION = 8;
/** Load of 64 bits: with a map in it when the source register says so. */
const LD_IMM64 = 0x18;
const MAP_SOURCES = [1, 2];

function instructionsOf(programFd: number, count: number): Uint8Array {
  const code = new Uint8Array(count * INSTRUCTION);
  const info = new DataView(new ArrayBuffer(232));
  info.setUint32(20, code.length, true);
  info.setBigUint64(32, addressOf(code), true);
  const bytes = new Uint8Array(info.buffer);
  const attribute = new DataView(new ArrayBuffer(16));
  attribute.setUint32(0, programFd, true);
  attribute.setUint32(4, bytes.length, true);
  attribute.setBigUint64(8, addressOf(bytes), true);
  const result = bpf(OBJ_GET_INFO_BY_FD, new Uint8Array(attribute.buffer));
  if (result < 0) throw new Error(`no instructions of descriptor ${programFd}: errno ${-result}`);
  return code;
}

/** How many instructions of the program name this map. */
export function usesOfMap(programFd: number, instructions: number, mapFd: number): number {
  const code = new DataView(instructionsOf(programFd, instructions).buffer);
  const { id } = mapInfo(mapFd);
  let uses = 0;
  for (let at = 0; at < code.byteLength; at += INSTRUCTION) {
    const ofMap = code.getUint8(at) === LD_IMM64 && MAP_SOURCES.includes(code.getUint8(at + 1) >> 4);
    if (ofMap && code.getUint32(at + 4, true) === id) uses++;
  }
  return uses;
}
