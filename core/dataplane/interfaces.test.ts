import { LoxilbError, type NetworkChange, type NetworkLink } from '@loxilb/sdk';
import { describe, expect, it, vi } from 'vitest';
import { MemoryNetwork } from '../netlink/memory-network.js';
import { followNetwork, selectInterfaces } from './interfaces.js';
import { silentLog } from './testing/silent-log.js';
import type { DataPlaneBroker } from './types.js';

const LO = new MemoryNetwork().links()[0] as NetworkLink;

function link(ifindex: number, name: string, ethernet = true): NetworkLink {
  return { ...LO, ifindex, name, loopback: false, ethernet };
}

describe('selectInterfaces', () => {
  const links = [LO, link(2, 'eth0'), link(3, 'eth0.100'), link(4, 'tun0', false), link(5, 'xeth0')];
  const names = (allowed?: readonly string[]) => selectInterfaces(links, allowed).map((one) => one.name);

  it('takes what frames like Ethernet', () => {
    expect(names()).toEqual(['lo', 'eth0', 'eth0.100', 'xeth0']);
  });

  it.each([
    [['eth0'], ['eth0']],
    [['eth*'], ['eth0', 'eth0.100']],
    [['*eth0'], ['eth0', 'xeth0']],
    [
      ['eth0.1*', 'lo'],
      ['lo', 'eth0.100'],
    ],
    [['ethX100'], []],
    [['tun*'], []],
    [[], []],
  ])('allows %j: %j', (allowed, expected) => {
    expect(names(allowed)).toEqual(expected);
  });
});

describe('followNetwork', () => {
  /** A network whose links the test sets, and a broker that notes what it is told. */
  function createScene(first: NetworkLink[]) {
    let links = first;
    let listener: (kinds: ReadonlySet<NetworkChange>) => void = () => {};
    const network = Object.assign(new MemoryNetwork(), {
      links: () => links,
      onChange: (given: typeof listener) => {
        listener = given;
        return () => {
          listener = () => {};
        };
      },
    });
    const broker = {
      attach: vi.fn(),
      retain: vi.fn(),
      updateXdp: vi.fn(),
      writeInterfaces: vi.fn(),
      bumpGeneration: vi.fn(),
    };
    const stop = followNetwork({
      broker: broker as unknown as DataPlaneBroker,
      network,
      allowed: undefined,
      log: silentLog,
    });
    const change = (kind: NetworkChange, now?: NetworkLink[]) => {
      links = now ?? links;
      listener(new Set([kind]));
    };
    return { broker, change, stop };
  }

  it('attaches once to what is there, and to what comes', () => {
    const { broker, change } = createScene([LO]);
    expect(broker.attach.mock.calls).toEqual([[LO]]);
    change('link');
    change('link', [LO, link(7, 'eth7')]);
    expect(broker.attach.mock.calls.map(([one]) => one.name)).toEqual(['lo', 'eth7']);
    expect(broker.retain.mock.lastCall).toEqual([new Set([1, 7])]);
  });

  it('attaches again when a name or an index comes back', () => {
    const { broker, change } = createScene([LO, link(7, 'eth7')]);
    change('link', [LO]);
    change('link', [LO, link(7, 'eth7')]);
    change('link', [LO, link(7, 'renamed')]);
    expect(broker.attach.mock.calls.map(([one]) => one.name)).toEqual(['lo', 'eth7', 'eth7', 'renamed']);
  });

  it('attaches again to what the kernel has told of, also when nothing of it is new', () => {
    const { broker, change } = createScene([LO, link(7, 'eth7')]);
    change('link', [LO, link(7, 'eth7')]);
    expect(broker.attach.mock.calls.map(([one]) => one.name)).toEqual(['lo', 'eth7', 'eth7']);
  });

  it('first takes the programs off what is gone: another may have its name', () => {
    const { broker, change } = createScene([LO, link(7, 'eth7')]);
    change('link', [LO, link(8, 'eth7')]);
    const last = (mock: { mock: { invocationCallOrder: number[] } }) => mock.mock.invocationCallOrder.at(-1) ?? 0;
    expect(last(broker.retain)).toBeLessThan(last(broker.attach));
  });

  it('raises the generation after every change', () => {
    const { broker, change, stop } = createScene([LO]);
    for (const kind of ['address', 'route', 'neighbor', 'link'] as const) change(kind);
    expect(broker.bumpGeneration).toHaveBeenCalledTimes(5);
    expect(broker.writeInterfaces).toHaveBeenCalledTimes(2);
    stop();
    change('route');
    expect(broker.bumpGeneration).toHaveBeenCalledTimes(5);
  });

  it('offers XDP what tc is attached to', () => {
    const { broker, change } = createScene([LO]);
    broker.attach.mockImplementationOnce(() => {
      throw new LoxilbError('no such device', { code: 'DP_KERNEL', status: 500 });
    });
    const links = [LO, link(7, 'eth7'), link(8, 'eth8'), link(9, 'tun9', false)];
    change('link', links);
    expect(broker.updateXdp.mock.lastCall).toEqual([[LO, links[2]], links]);
  });

  it('goes on when one interface refuses, and tries it again', () => {
    const { broker, change } = createScene([LO]);
    broker.attach.mockImplementationOnce(() => {
      throw new LoxilbError('no such device', { code: 'DP_KERNEL', status: 500 });
    });
    change('link', [LO, link(7, 'eth7'), link(8, 'eth8')]);
    change('link');
    expect(broker.attach.mock.calls.map(([one]) => one.name)).toEqual(['lo', 'eth7', 'eth8', 'eth7']);
  });
});
