/**
 * Runs in the packet namespace (see packet.ts): small UDP frames from the clients' end of a veth pair through the
 * balancer to the servers' end of another, one CPU doing it all. Argument: a JSON object of type LiveInput.
 */
import { closeSync, openSync } from 'node:fs';
import { encodeBytes } from '@loxilb/sdk';
import koffi from 'koffi';
import { dpControl, IntfFlags, intfKey, intfValue } from '../../../core/dataplane/layout.gen.js';
import { run } from '../process.js';
import { type Summary, shuffled, summarise } from '../statistics.js';
import { attach, LoadedObject, readMap, sendLive, updateMap, word } from './bpf.js';
import { conversation, type Devices, establish, oneWay, towardsService } from './cases.js';
import { plainRoute } from './routes.js';
import { ENDPOINT_PORT, writeDevices, writeServices } from './service.js';
import { FAR_NAMESPACE, PACKET_NAMESPACE, readDevice, WORLD } from './world.js';
import { encodeConfig, type Stream, Wrapper } from './wrapper.js';

export interface LiveInput {
  readonly wrapper: string;
  readonly object: string;
  readonly samples: number;
  readonly frames: number;
  /** Power of two, no more than one address has: the kernel looks at the checksum of the IP header. */
  readonly flows: number;
}

export interface LiveFigure extends Summary {
  readonly name: string;
  readonly way: string;
  /** Of the frames sent, those that arrived; the smallest share of all samples. */
  readonly delivered: number;
}

type Hook = 'tc' | 'xdp';

/** A way through the balancer: what hangs on its devices, and what counts at the other end. */
interface Way {
  readonly name: string;
  readonly balancer: readonly Hook[];
  readonly sink: Hook;
  /** tc puts packets straight into the other end's namespace. */
  readonly peer: boolean;
}

const WAYS: readonly Way[] = [
  { name: 'kernel forwarding', balancer: [], sink: 'tc', peer: false },
  { name: 'tc', balancer: ['tc'], sink: 'tc', peer: false },
  { name: 'tc into the peer', balancer: ['tc'], sink: 'tc', peer: true },
  { name: 'XDP to a stack', balancer: ['tc', 'xdp'], sink: 'tc', peer: false },
  { name: 'XDP to XDP', balancer: ['tc', 'xdp'], sink: 'xdp', peer: false },
];

interface Load {
  readonly name: string;
  readonly stream: Stream;
  readonly flows: number;
  readonly ways: readonly Way[];
}

const CLONE_NEWNET = 0x40000000;
const setns = koffi.load('libc.so.6').func('int setns(int fd, int type)');

/** Runs `action` with this thread in another namespace. */
function inNamespace<T>(name: string, action: () => T): T {
  enter(name);
  try {
    return action();
  } finally {
    enter(PACKET_NAMESPACE);
  }
}

function enter(name: string): void {
  const fd = openSync(`/run/netns/${name}`, 'r');
  const result = setns(fd, CLONE_NEWNET) as number;
  closeSync(fd);
  if (result !== 0) throw new Error(`namespace ${name}: errno ${koffi.errno()}`);
}

/** Frames that have arrived within this time belong to a sample. */
const SETTLE_MS = 30;

class Scene {
  private readonly product: LoadedObject;
  private readonly tools: LoadedObject;
  private generation = 1;

  constructor(
    input: LiveInput,
    private readonly near: Devices,
    private readonly far: Devices,
  ) {
    this.product = new LoadedObject(input.object);
    this.tools = new LoadedObject(input.wrapper);
    writeServices(this.product);
    writeDevices(this.product, near);
    const wrapper = new Wrapper(this.tools, this.product.program('tc_ingress'));
    establish(wrapper, conversation(near, plainRoute(4), 'udp'), 0, input.flows);
  }

  /** Attaches what the way needs, lets `action` run, and takes it off. */
  with(way: Way, action: () => void): void {
    const { client, server } = this.near;
    this.choosePeer(way.peer);
    const undo = way.balancer.flatMap((hook) => {
      const program = this.product.program(hook === 'tc' ? 'tc_ingress' : 'xdp_ingress');
      return [client, server].map(({ ifindex }) => attach(program, ifindex, hook));
    });
    const sink = this.tools.program(way.sink === 'tc' ? 'bench_sink' : 'bench_sink_frame');
    undo.push(inNamespace(FAR_NAMESPACE, () => attach(sink, this.far.server.ifindex, way.sink)));
    try {
      action();
    } finally {
      for (const take of undo) take();
    }
  }

  /** Nanoseconds per frame that arrived, and the share that did. */
  sample({ stream, flows }: Load, frames: number): { ns: number; delivered: number } {
    const order = flows === 1 ? 'hot' : 'random';
    const config = encodeConfig(stream, { order, flows, sendTo: this.far.client.ifindex });
    updateMap(this.tools.map('bench_config'), word(0), config);
    updateMap(this.tools.map('bench_arrived'), word(0), Buffer.alloc(8));
    const begin = performance.now();
    inNamespace(FAR_NAMESPACE, () =>
      sendLive(this.tools.program('bench_send'), stream.frame, this.far.client.ifindex, frames),
    );
    const { arrived, at } = this.settle(frames);
    return { ns: ((at - begin) * 1e6) / arrived, delivered: arrived / frames };
  }

  private settle(frames: number): { arrived: number; at: number } {
    let last = { arrived: -1, at: performance.now() };
    while (last.arrived < frames && performance.now() - last.at < SETTLE_MS) {
      const arrived = Number(readMap(this.tools.map('bench_arrived'), word(0), 8).readBigUInt64LE());
      if (arrived !== last.arrived) last = { arrived, at: performance.now() };
    }
    return last;
  }

  /** Flows look their way out up again. */
  private choosePeer(peer: boolean): void {
    const key = encodeBytes(intfKey, { ifindex: this.near.server.ifindex, ingVid: 0 });
    const value = { port: 1, zone: 0, bd: 0, flags: peer ? IntfFlags.INTF_PEER : 0 };
    updateMap(this.product.map('intf_map'), key, encodeBytes(intfValue, value));
    const control = { layoutVersion: 2, generation: ++this.generation };
    updateMap(this.product.map('dp_control'), word(0), encodeBytes(dpControl, control));
  }
}

function planLoads(near: Devices, flows: number): Load[] {
  const route = plainRoute(4);
  const service = towardsService(near, route, { protocol: 'udp' });
  const toServer = {
    ...route,
    request: { ...route.request, target: WORLD.server[4] },
    ports: { ...route.ports, service: ENDPOINT_PORT },
  };
  const direct = towardsService(near, toServer, { protocol: 'udp' });
  const { dsr, tunnel } = oneWay(near);
  const [kernel, ...ours] = WAYS;
  return [
    { name: 'UDP, 1 flow', stream: direct, flows: 1, ways: kernel ? [kernel] : [] },
    { name: 'UDP, 1 flow', stream: service, flows: 1, ways: ours },
    { name: `UDP, ${flows} flows`, stream: direct, flows, ways: kernel ? [kernel] : [] },
    { name: `UDP, ${flows} flows`, stream: service, flows, ways: ours },
    { name: `L2-DSR, ${flows} flows`, stream: dsr, flows, ways: ours },
    { name: `L3-DSR in IPIP, ${flows} flows`, stream: tunnel, flows, ways: ours },
  ];
}

/** Rounds for every flow of direct server return to be open. */
const WARM_UP_ROUNDS = 10;

function measureLive(input: LiveInput, near: Devices, far: Devices): LiveFigure[] {
  const scene = new Scene(input, near, far);
  const loads = planLoads(near, input.flows);
  const [, tc] = WAYS;
  if (tc) scene.with(tc, () => loads.forEach((load) => void scene.sample(load, load.flows * WARM_UP_ROUNDS)));
  const pairs = loads.flatMap((load) =>
    load.ways.map((way) => ({ load, way, taken: [] as ReturnType<Scene['sample']>[] })),
  );
  for (let sample = 0; sample < input.samples; sample++) {
    for (const { load, way, taken } of shuffled(pairs)) {
      scene.with(way, () => {
        // Where the way has changed each flow looks it up again.
        scene.sample(load, load.flows);
        taken.push(scene.sample(load, input.frames));
      });
    }
  }
  return pairs.flatMap(({ load, way, taken }) => {
    const summary = summarise(taken.map(({ ns }) => ns));
    const delivered = Math.min(...taken.map((one) => one.delivered));
    return summary ? [{ name: load.name, way: way.name, ...summary, delivered }] : [];
  });
}

// Redirected frames are taken by ends that poll; a stack that is to take them at the far end polls too.
for (const [namespace, device] of [
  [PACKET_NAMESPACE, 'c0'],
  [FAR_NAMESPACE, 's1'],
] as const) {
  await run(['ethtool', '-K', device, 'gro', 'on'], { namespace });
}
const near: Devices = { client: await readDevice('c0'), server: await readDevice('s1') };
const far: Devices = {
  client: await readDevice('c0', FAR_NAMESPACE),
  server: await readDevice('s1', FAR_NAMESPACE),
};
const input = JSON.parse(process.argv[2] ?? '{}') as LiveInput;
process.stdout.write(JSON.stringify(measureLive(input, near, far)));
