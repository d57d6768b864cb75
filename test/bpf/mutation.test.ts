/**
 * A million packets with bytes changed at random, over all modes. Whatever comes in: it goes on untouched because it is
 * nothing of ours, or leaves exactly as its service or flow says, or is answered properly, or is dropped and counted.
 * Nothing of one service reaches an endpoint of another, and nothing of one flow another flow's client.
 *
 * MUTATIONS is how many packets there are in all; SEED makes others than usual.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { MODES } from './mutation/modes.js';
import { Dice } from './mutation/mutate.js';
import { World } from './mutation/world.js';
import { CLIENT_SIDE, hostAddress, ip, ROUTER } from './network.js';
import { describePath } from './scenario.js';

const ALL = Number(process.env.MUTATIONS ?? 1_000_000);
const SEED = Number(process.env.SEED ?? 1);
/**
 * On old kernels the programs cannot tell a checksum left to the device from a wrong one: a SYN with data, which is cut off
 * in front of a PROXY header, gets a right one whatever it had. What follows from damaged ones is not judged there.
 */
const JUDGED = MODES.filter(({ way }) => way !== 'proxy' || !process.env.LOXILB_BPF_OLD_KERNEL);
const CASES = JUDGED.flatMap((mode) =>
  ([4, 6] as const).flatMap((family) =>
    mode.protocols.map((protocol) => ({ mode, family, protocol, name: mode.name })),
  ),
);
/** Packets between two looks at the counters, after which the flows are new. */
const BLOCK = 500;
const BLOCKS = Math.max(1, Math.round(ALL / CASES.length / BLOCK));

describePath('random mutations', (bench) => {
  beforeAll(() => {
    bench();
    // Damaged packets come from anywhere: their answers have to have a way back.
    for (const address of CLIENT_SIDE.addresses) ip('route', 'replace', 'default', 'via', hostAddress(address, ROUTER));
  });

  it.each(CASES)(`IPv$family $protocol, $name: ${BLOCKS * BLOCK} packets`, ({ mode, family, protocol, name }) => {
    const world = new World(bench(), mode, family, protocol);
    expect(world.clean()).toEqual([]);
    const faults: string[] = [];
    for (let block = 0; block < BLOCKS && faults.length < 3; block++) {
      const seed = SEED * 1_000_003 + block * 7919 + family * 31 + name.length;
      const dice = new Dice(seed);
      world.refresh(block % 2 === 1);
      const counted = world.countedDrops();
      world.judge.drops = 0;
      for (let packet = 0; packet < BLOCK; packet++) {
        const fault = world.step(dice);
        if (fault) faults.push(`block ${block} (seed ${seed}), packet ${packet}: ${fault}`);
      }
      const dropped = world.countedDrops() - counted;
      if (dropped !== world.judge.drops)
        faults.push(`block ${block} (seed ${seed}): ${world.judge.drops} dropped, ${dropped} counted`);
    }
    expect(faults.join('\n')).toBe('');
    // The damage is slight enough for the test to mean something.
    expect(world.judge.touched).toBeGreaterThan((BLOCKS * BLOCK) / 5);
  });
});

describe('the table of modes', () => {
  it('is of modes that differ', () => {
    expect(new Set(MODES.map(({ name }) => name)).size).toBe(MODES.length);
  });
});
