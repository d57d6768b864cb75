import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Lab,
  type Mode,
  modes,
  pause,
  type Selection,
  selections,
  serviceBody,
  startLab,
} from './harness/index.js';

/** Deterministic, so that a failure can be repeated: SEED=n. */
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const mutations = 1000;
const kills = 20;

interface Wanted {
  readonly select: Selection;
  readonly mode: Mode;
  readonly endpoints: readonly { readonly ip: string; readonly port: number; readonly weight: number }[];
}

type Model = Map<number, Wanted>;

interface Mutation {
  readonly port: number;
  /** undefined: delete. */
  readonly wanted: Wanted | undefined;
}

describe(`kill -9 at random points of ${mutations} mutations (SEED=${seed})`, () => {
  let lab: Lab;
  const random = xorshift(seed);
  const model: Model = new Map();

  beforeAll(async () => {
    lab = await startLab();
  });
  afterAll(() => lab?.dispose());

  it('has after each restart what was answered with success, in the store and in the maps', async () => {
    let done = 0;
    for (let round = 0; round < kills; round++) {
      const share = Math.round(((round + 1) * mutations) / kills) - done;
      const killAfterMs = random(300);
      await mutateAndKill(share, killAfterMs);
      done += share;
    }
    expect(done).toBe(mutations);
  }, 600_000);

  /** Sends `count` mutations. The daemon dies during them or after the last, and is started and compared at once. */
  async function mutateAndKill(count: number, killAfterMs: number): Promise<void> {
    const killing = pause(killAfterMs).then(() => lab.daemon.kill());
    for (let i = 0; i < count; i++) {
      const mutation = randomMutation();
      try {
        await send(mutation);
      } catch (error) {
        // A wrong answer is not what a daemon gives that was killed.
        if (error instanceof Error && error.name === 'AssertionError') throw error;
        await killing;
        // The daemon lived when the answer was refused: that is no crash of ours.
        if (!lab.daemon.process.hasEnded) throw error;
        await lab.daemon.start();
        await compare(mutation);
      }
    }
    await killing;
    if (!lab.daemon.process.hasEnded) return;
    await lab.daemon.start();
    await compare(undefined);
  }

  function randomMutation(): Mutation {
    const port = 6000 + random(40);
    if (model.has(port) && random(3) === 0) return { port, wanted: undefined };
    const count = 1 + random(8);
    const endpoints = Array.from({ length: count }, (_, i) => ({
      ip: lab.network.server(1 + (i % 3)).v4,
      port: 8000 + random(4) * 10 + i,
      weight: 1 + random(9),
    }));
    const selects: Selection[] = ['rr', 'hash', 'priority', 'persist', 'lc'];
    const modes: Mode[] = ['default', 'onearm', 'fullnat'];
    return { port, wanted: { select: selects[random(5)] ?? 'rr', mode: modes[random(3)] ?? 'default', endpoints } };
  }

  /** Throws when there is no answer. A refusal (nothing would change) is an answer. */
  async function send({ port, wanted }: Mutation): Promise<void> {
    const vip = lab.network.vip.v4;
    const answer = wanted
      ? await lab.daemon.api.post('/config/loadbalancer', serviceBody({ vip, port, ...wanted }))
      : await lab.daemon.api.delete(`/config/loadbalancer/externalipaddress/${vip}/port/${port}/protocol/tcp`);
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(500);
    if (answer.status === 200) remember({ port, wanted });
  }

  function remember({ port, wanted }: Mutation): void {
    if (wanted) model.set(port, wanted);
    else model.delete(port);
  }

  /** The store says what the model says; the maps say what the store says. */
  async function compare(inDoubt: Mutation | undefined): Promise<void> {
    const { body } = await lab.daemon.api.get('/config/loadbalancer/all');
    const stored = new Map<number, string>(
      body.lbAttr.map((entry: LbEntry) => [entry.serviceArguments.port, describeEntry(entry)]),
    );
    if (inDoubt) {
      const wanted = inDoubt.wanted && describeWanted(inDoubt.wanted);
      if (stored.get(inDoubt.port) === wanted) remember(inDoubt);
    }
    const expected = new Map([...model].map(([port, wanted]) => [port, describeWanted(wanted)]));
    expect(Object.fromEntries(stored)).toEqual(Object.fromEntries(expected));
    expect(await programmed()).toEqual(
      Object.fromEntries([...model].map(([port, wanted]) => [port, programOf(wanted)])),
    );
  }

  /** By service port: selection, mode and the endpoints the slots lead to, read with bpftool. */
  async function programmed(): Promise<Record<number, object>> {
    const { daemon } = lab;
    const services = await daemon.dumpMap('nat_v4_map');
    const slotsOf = services.map(({ value }) => sample(value.slot_base, value.slot_count));
    const slots = await daemon.lookUp<{ endpoint_id: number }>('lb_slot', slotsOf.flat());
    const ids = slotsOf.map((list) => [...new Set(list.map((slot) => slots.get(slot)?.endpoint_id ?? 0))]);
    const endpoints = await daemon.lookUp<{ addr: { w: number[] }; port: number }>('lb_endpoint', [
      ...new Set(ids.flat()),
    ]);
    return Object.fromEntries(
      services.map(({ key, value }, i) => {
        const reached = (ids[i] ?? []).map((id) => {
          const endpoint = endpoints.get(id);
          return `${mappedAddress(endpoint?.addr.w ?? [])}:${swap16(endpoint?.port ?? 0)}`;
        });
        return [swap16(key.port), { select: value.select, mode: value.mode, endpoints: reached.sort() }];
      }),
    );
  }
});

/** Enough of a service's slots to meet each of at most eight endpoints: all of a list, each 16th of a hash table. */
function sample(base: number, count: number): number[] {
  const step = count > 1024 ? 16 : 1;
  return Array.from({ length: Math.ceil(count / step) }, (_, i) => base + i * step);
}

interface LbEntry {
  readonly serviceArguments: { readonly port: number; readonly sel?: number; readonly mode?: number };
  readonly endpoints: readonly { readonly endpointIP: string; readonly targetPort: number; readonly weight: number }[];
}

function describeEntry({ serviceArguments: { sel = 0, mode = 0 }, endpoints }: LbEntry): string {
  const list = endpoints.map(({ endpointIP, targetPort, weight }) => `${endpointIP}:${targetPort}*${weight}`);
  return `sel ${sel} mode ${mode} ${list.sort().join(' ')}`;
}

function describeWanted({ select, mode, endpoints }: Wanted): string {
  const list = endpoints.map(({ ip, port, weight }) => `${ip}:${port}*${weight}`);
  return `sel ${selections[select]} mode ${modes[mode]} ${list.sort().join(' ')}`;
}

function programOf({ select, mode, endpoints }: Wanted): object {
  const reached = endpoints.map(({ ip, port }) => `${ip}:${port}`).sort();
  return { select: selections[select], mode: modes[mode], endpoints: reached };
}

function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8);
}

/** Last word of an IPv4-mapped address as bpftool prints it: a little-endian number of big-endian bytes. */
function mappedAddress(words: readonly number[]): string {
  const word = words[3] ?? 0;
  return [0, 8, 16, 24].map((shift) => (word >>> shift) & 0xff).join('.');
}

/** Numbers from 0 to below `limit`. */
function xorshift(start: number): (limit: number) => number {
  let state = start || 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}
