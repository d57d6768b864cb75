import type { NetworkLink } from '@loxilb/sdk';
import { describe, expect, it, vi } from 'vitest';
import { MemoryNetwork } from '../../netlink/memory-network.js';
import { xdpUnavailable } from '../errors.js';
import { silentLog } from '../testing/silent-log.js';
import { XdpAttachments } from './xdp-attachments.js';
import type { XdpLinks } from './xdp-links.js';
import type { XdpProgram } from './xdp-program.js';

const LO = new MemoryNetwork().links()[0] as NetworkLink;
const NICS = [2, 3].map((ifindex) => ({ ...LO, ifindex, name: `nic${ifindex}`, loopback: false }));

/** Interfaces that answer with `errno` when XDP is to be attached. */
function createScene(errno: number, load?: () => XdpProgram) {
  const links = { attach: vi.fn(() => errno), detach: vi.fn(), interfaces: () => [], programId: () => 7 };
  const program = { fd: 5, info: { id: 7 }, deviceLimit: 4096, setDevice: vi.fn(), close: vi.fn() };
  const log = { ...silentLog, info: vi.fn(), warn: vi.fn() };
  const loads = vi.fn(load ?? (() => program as unknown as XdpProgram));
  const xdp = new XdpAttachments({ choice: 'auto', links: links as unknown as XdpLinks, load: loads, log });
  return { xdp, links, program, log, loads };
}

describe('a kernel without what XDP needs', () => {
  it('has tc alone, said once', () => {
    const { xdp, log, loads } = createScene(0, () => {
      throw xdpUnavailable();
    });
    for (let round = 0; round < 3; round++) xdp.update(NICS, NICS);
    expect(loads).toHaveBeenCalledTimes(1);
    expect(log.warn.mock.calls.map(([, text]) => text)).toEqual([
      'XDP is off, tc does it all: this kernel has no XDP for frames in several buffers (Linux 5.18)',
    ]);
    expect(log.info).not.toHaveBeenCalled();
    expect(xdp.state(2)).toMatchObject({ mode: 'off', reason: expect.stringContaining('Linux 5.18') });
    expect(xdp.verify()).toEqual([]);
  });
});

describe('a driver', () => {
  it('that refuses is not asked again until something of the interface changes', () => {
    const { xdp, links, log } = createScene(95);
    for (let round = 0; round < 3; round++) xdp.update(NICS, NICS);
    expect(links.attach).toHaveBeenCalledTimes(2);
    expect(log.info.mock.calls.map(([, text]) => text)).toEqual([
      'no XDP on nic2, tc alone: the driver has no native XDP',
      'no XDP on nic3, tc alone: the driver has no native XDP',
    ]);
    xdp.update(
      NICS.map((link) => ({ ...link, mtu: 1500 })),
      NICS,
    );
    expect(links.attach).toHaveBeenCalledTimes(4);
  });

  it('is told of its device before it sees a frame, and forgets it afterwards', () => {
    const { xdp, links, program } = createScene(0);
    xdp.update(NICS.slice(0, 1), NICS);
    xdp.update([], NICS);
    const order = [...program.setDevice.mock.invocationCallOrder, ...links.attach.mock.invocationCallOrder];
    expect(Math.min(...order)).toBe(program.setDevice.mock.invocationCallOrder[0]);
    expect(program.setDevice.mock.lastCall).toEqual([2, undefined]);
    expect(links.detach).toHaveBeenCalledWith(2);
    expect(xdp.state(2)).toBeUndefined();
  });
});
