/**
 * The XDP program, loaded when an interface first wants it and apart from the rest: a kernel that refuses it still has
 * tc, and where nobody wants it, it costs nothing. It works on the tables of the running packet path.
 */
import { kernelError } from '../errors.js';
import { dpXdpDevice } from '../layout.gen.js';
import { mapInfo, programFacts } from '../sys/bpf.js';
import { duplicateFd } from '../sys/libc.js';
import type { ProgramInfo } from '../types.js';
import type { XdpMode } from '../xdp-choice.js';
import { BpfObject } from './bpf-object.js';
import { KernelMap } from './kernel-map.js';

export const XDP_PROGRAMS: Readonly<Record<XdpMode, string>> = { native: 'xdp_ingress', generic: 'xdp_generic' };
/** What it knows of devices: made anew with each load, so that nothing in it is out of date. */
export const XDP_DEVICE_MAP = 'dp_xdp_device';

export interface XdpDevice {
  /** `aa:bb:cc:dd:ee:ff` */
  readonly mac: string;
  /** enum dp_xdp_flags */
  readonly flags: number;
}

export class XdpProgram {
  readonly fd: number;
  readonly info: ProgramInfo;
  readonly deviceLimit: number;
  private readonly devices: KernelMap;
  private readonly written = new Map<number, string>();

  /** Throws `DP_KERNEL` with the verifier's log. */
  static load(
    file: string,
    mode: XdpMode,
    running: BpfObject,
    constants: ReadonlyMap<string, number | boolean>,
  ): XdpProgram {
    const object = BpfObject.open(file);
    try {
      for (const [name, value] of constants) object.setConstant(name, value);
      object.loadOnly(XDP_PROGRAMS[mode]);
      for (const { name } of object.layout.maps.values()) {
        if (name !== XDP_DEVICE_MAP) object.reuseMap(name, running.mapFd(name));
      }
      object.load();
      return new XdpProgram(object, XDP_PROGRAMS[mode]);
    } catch (error) {
      object.close();
      throw error;
    }
  }

  private constructor(
    private readonly object: BpfObject,
    name: string,
  ) {
    this.fd = object.programFd(name);
    const { id, instructions, verifiedInstructions } = programFacts(this.fd);
    this.info = { name, id, instructions, verifiedInstructions };
    const fd = duplicateFd(object.mapFd(XDP_DEVICE_MAP));
    const shape = mapInfo(fd);
    this.deviceLimit = shape.maxEntries;
    this.devices = new KernelMap({ ...shape, name: XDP_DEVICE_MAP, type: 'array', possibleCpus: 1 }, fd);
  }

  /** Descriptor of what it knows of devices; it stays this object's. */
  get deviceMapFd(): number {
    return this.object.mapFd(XDP_DEVICE_MAP);
  }

  /** Writes only what differs; undefined: the program is to know nothing of the device. */
  setDevice(ifindex: number, device: XdpDevice | undefined): void {
    const { mac, flags } = device ?? { mac: '', flags: 0 };
    const text = `${mac} ${flags}`;
    if ((this.written.get(ifindex) ?? ' 0') === text) return;
    new DataView(this.devices.key.buffer).setUint32(0, ifindex, true);
    const bytes = Uint8Array.from([0, 1, 2, 3, 4, 5], (index) => Number.parseInt(mac.split(':')[index] ?? '0', 16));
    dpXdpDevice.encode({ mac: bytes, flags }, new DataView(this.devices.value.buffer), 0);
    const errno = this.devices.update();
    if (errno !== 0) throw kernelError(`what XDP knows of interface ${ifindex}`, errno);
    this.written.set(ifindex, text);
  }

  close(): void {
    this.devices.close();
    this.object.close();
  }
}
