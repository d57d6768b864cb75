/** Lists of commands, played on the model and on the balancer: those that once failed, and random ones. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kernelAccess } from '../bpf/network.js';
import { type Command, listText } from './commands.js';
import { generate } from './generate.js';
import { type Failure, play } from './play.js';
import { RealBalancer } from './real/balancer.js';
import { shrink } from './shrink.js';

/** How long, from which list on, and of how many commands. */
const SECONDS = Number(process.env.MODEL_SECONDS ?? 30);
const SEED = Number(process.env.SEED ?? 1);
const LENGTH = Number(process.env.MODEL_LENGTH ?? 80);
const SHRINK_SECONDS = 60;

const REGRESSIONS = new URL('regressions/', import.meta.url);

const access = kernelAccess();
if (!access.allowed) console.warn(`skipped: ${access.reason}`);

describe.skipIf(!access.allowed)('the balancer does what the model says', () => {
  let loaded: RealBalancer | undefined;
  const balancer = (): RealBalancer => {
    if (!loaded) throw new Error('the packet path is not loaded yet');
    return loaded;
  };
  beforeAll(() => {
    loaded = new RealBalancer();
  });
  afterAll(() => loaded?.close());

  it.each(readdirSync(REGRESSIONS).filter((file) => file.endsWith('.json')))('%s', async (file) => {
    const commands = JSON.parse(readFileSync(new URL(file, REGRESSIONS), 'utf8')) as Command[];
    const failure = await play(commands, balancer());
    if (failure) throw new Error(describeFailure(commands, failure));
  });

  it(
    `for ${SECONDS} s of random commands, from seed ${SEED}`,
    async () => {
      const end = performance.now() + SECONDS * 1000;
      let seed = SEED;
      for (; performance.now() < end; seed++) {
        const commands = generate(seed, LENGTH);
        const failure = await play(commands, balancer());
        if (failure) throw new Error(`seed ${seed}, ${await shorten(commands, failure, balancer())}`);
      }
      console.info(`${(seed - SEED) * LENGTH} commands in ${seed - SEED} lists`);
      expect(seed).toBeGreaterThan(SEED);
    },
    (SECONDS + SHRINK_SECONDS + 30) * 1000,
  );
});

/** The shortest list that fails in the same way. */
async function shorten(commands: readonly Command[], failure: Failure, real: RealBalancer): Promise<string> {
  const end = performance.now() + SHRINK_SECONDS * 1000;
  let last = failure;
  const shortest = await shrink(commands.slice(0, failure.at + 1), async (list) => {
    if (performance.now() > end) return false;
    const again = await play(list, real);
    if (again?.kind !== failure.kind) return false;
    last = again;
    return true;
  });
  return describeFailure(shortest, last);
}

function describeFailure(commands: readonly Command[], { at, message }: Failure): string {
  const where = at < commands.length ? `command ${at + 1}` : 'the end';
  return `${where} of\n${listText(commands)}\n${message}`;
}
