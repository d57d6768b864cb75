/** The real thing under the model's commands: programs, maps and plugin code; no process, no traffic but the test's. */
import type { NetworkAddress } from '@loxilb/sdk';
import { createFakeNetwork, type FakeNetwork, fakeLink } from '@loxilb/sdk/testing';
import type { CtKey } from '../../../plugins/conntrack/layout.gen.js';
import { lbConfig } from '../../../plugins/lb/config.js';
import { lbMapSpecs } from '../../../plugins/lb/maps.js';
import { type LoadOptions, PacketPath, type RunResult } from '../../bpf/harness.js';
import { CLIENT_SIDE, enterNetwork, type Network, SERVER_SIDE } from '../../bpf/network.js';
import { buildFrame } from '../../bpf/reference/build.js';
import { type Packet, PROTOCOL } from '../../bpf/reference/packet.js';
import { parseIp } from '../../bpf/reference/parse.js';
import { type Command, drainText, type Protocol, type RuleAsked, type RuleName, talkText } from '../commands.js';
import { tuple } from '../model/flows.js';
import { FURTHER_ADDRESS, isV6, MACHINE, towardsEndpoints } from '../places.js';
import { Clock, START_MS } from './clock.js';
import { codeOf, createRemains, Daemon, LIMITS, type Machine } from './daemon.js';
import { KernelMaps } from './maps.js';

const TICKS_PER_SECOND = 953;
/** By then the daemon has done what a change gives it to do, an expiry pass included. */
export const SETTLE_SECONDS = 1.5;
/** What an orderly end of the daemon takes. */
export const STOP_SECONDS = 1;

/**
 * Half-open flows begin in either table; the way out is not looked up again meanwhile. Slots as the daemon sizes them.
 */
const LOAD: LoadOptions = {
  features: { cfg_half_open_flows: 4, cfg_resolve_age: 0x7fffffff },
  maxEntries: {
    lb_slot: LIMITS.maxSlots,
    lb_svc_state: LIMITS.maxServices,
    lb_endpoint: LIMITS.maxEndpoints,
    lb_ep_flows: LIMITS.maxEndpoints,
    lb_ep_stats: LIMITS.maxEndpoints,
  },
};

const LB_MAPS = lbMapSpecs(lbConfig.parse(LIMITS));

/** Maps that are never empty. */
const KEPT = ['ct_pass', 'dp_counter'];

export class RealBalancer {
  private readonly network: Network;
  private readonly path: PacketPath;
  private readonly maps: KernelMaps;
  private readonly clock = new Clock();
  private machine: Machine;
  private daemon: Daemon | undefined;
  private crashed = false;
  private isEmpty = false;
  /** A write that failed was not worth refusing a request for. */
  isUntidy = false;

  constructor() {
    this.network = enterNetwork();
    this.path = new PacketPath(LOAD);
    this.maps = new KernelMaps(this.path.maps);
    this.machine = this.newMachine();
  }

  close(): void {
    this.path.close();
  }

  async start(): Promise<void> {
    this.clock.install();
    this.machine = this.newMachine();
    this.crashed = false;
    this.isEmpty = false;
    this.isUntidy = false;
    this.daemon = await Daemon.start(this.machine);
  }

  /** However it went: the next one finds an empty machine. */
  end(): void {
    this.clock.forget();
    this.clock.uninstall();
    this.daemon = undefined;
    this.maps.writes.leftToFailure = undefined;
    this.maps.wipe(this.isEmpty ? this.kept() : undefined);
    this.path.maps.halfOpen.zero(0);
    this.path.maps.serviceDrops.clear();
    this.path.drain('ct_reset');
  }

  /** As a client posts it. */
  post(rule: RuleAsked, fail?: number): void {
    this.withFault(fail, () => this.running.post(bodyOf(rule)));
  }

  /** The same, and nothing of it is written from the n-th write on. False: the daemon died before it was through. */
  postAndDie(rule: RuleAsked, nth: number): boolean {
    const { writes } = this.maps;
    const restore = this.running.keepRules();
    Object.assign(writes, { leftToFailure: nth, isDeath: true, hasFailed: false });
    try {
      this.running.post(bodyOf(rule));
    } catch (error) {
      if (!codeOf(error).startsWith('DP_')) throw error;
    } finally {
      Object.assign(writes, { leftToFailure: undefined, isDeath: false });
    }
    // Some failures are no reason to refuse a request, but a daemon that is dead stores nothing.
    if (writes.hasFailed) restore();
    return !writes.hasFailed;
  }

  delete({ vip, port, portMax = 0, protocol, mark = 0 }: RuleName, drain?: number, fail?: number): void {
    const params = { ip_address: vip, port: String(port), portmax: String(portMax), proto: protocol };
    const query = { block: String(mark), ...(drain === undefined ? {} : { drain: String(drain) }) };
    this.withFault(fail, () => this.running.delete(params, query));
  }

  health({ ip, port, over, up }: Extract<Command, { do: 'health' }>): boolean {
    return this.running.health.setEndpointActive(ip, over, port, up);
  }

  /** `fail`: the n-th write meanwhile fails. */
  async wait(seconds: number, fail?: number): Promise<void> {
    if (seconds > 0) this.age(seconds);
    this.clock.jump(seconds * 1000);
    this.maps.writes.leftToFailure = fail;
    await this.clock.run(SETTLE_SECONDS * 1000);
    if (fail !== undefined && this.maps.writes.leftToFailure === undefined) this.isUntidy = true;
    this.maps.writes.leftToFailure = undefined;
    await this.running.tellResets();
  }

  async flush(name: string | undefined): Promise<void> {
    await this.running.flush(name);
  }

  async restart(crash: boolean): Promise<void> {
    if (crash) {
      this.crashed = true;
      // Nobody of it listens any more.
      this.machine = { ...this.machine, network: newNetwork(this.machine.network.state.addresses) };
    } else {
      const stopped = this.running.stop();
      await this.clock.run(STOP_SECONDS * 1000);
      await stopped;
    }
    this.clock.forget();
    this.daemon = await Daemon.start(this.machine);
  }

  address(up: boolean): void {
    const { state } = this.machine.network;
    state.addresses = state.addresses.filter(({ address }) => address !== FURTHER_ADDRESS);
    if (up) state.addresses.push(onWire(FURTHER_ADDRESS));
    this.machine.network.announce('address');
  }

  send(packet: Packet, mark: number): RunResult {
    const device = packet.ethernet.destination === CLIENT_SIDE.mac ? CLIENT_SIDE : SERVER_SIDE;
    return this.path.ingress(buildFrame(packet), { ifindex: this.network.ifindex(device), mark });
  }

  list(): readonly unknown[] {
    return this.running.list();
  }

  /** What is noted to drain, as the model writes it. */
  drainNotes(): string[] {
    const { drain, endpoint } = LB_MAPS;
    const endpoints = this.maps.slice(endpoint);
    return [...this.maps.slice(drain).entries()].map(
      ([id, { addr: vip, until, mark, port, portMax, proto, reset }]) => {
        const { addr, port: at } = endpoints.get(id) ?? { addr: 'nobody', port: 0 };
        const name = { vip, port, portMax, protocol: protocolOf(proto), mark };
        const seconds = until - START_MS / 1000;
        return drainText({ ip: addr, port: at, name, until: seconds, reset: reset === 1 });
      },
    );
  }

  /** Every byte of rules in the maps, but for slots: those nobody reads are cleared some time later. */
  snapshot(): Map<string, string> {
    return this.maps.snapshot(['lb_slot']);
  }

  /** Writes to maps so far. */
  get writes(): number {
    return this.maps.writes.count;
  }

  /** Tuples in the flow tables, as the model writes them. */
  tuples(): string[] {
    const { flows, pending } = this.path.maps;
    return [...flows.keys(), ...pending.keys()].map(tupleText);
  }

  /** Resets that were sent since this was asked, as `source port > destination port`. */
  takeResets(): string[] {
    return this.machine.sent.splice(0).map((bytes) => {
      const { ip, transport } = parseIp(bytes);
      if (transport.kind !== 'tcp' || (transport.flags & 4) === 0) throw new Error('the daemon sent no reset');
      return `${ip.source} ${transport.sourcePort} > ${ip.destination} ${transport.destinationPort}`;
    });
  }

  /** After everything was deleted and has ended: what is left of it, for nobody. */
  async leftovers(): Promise<string[]> {
    const free = await this.running.freeSlots();
    const stopped = this.running.stop();
    await this.clock.run(STOP_SECONDS * 1000);
    await stopped;
    const found = this.maps.filled(this.kept());
    const { taken, givenBack } = this.path.maps.halfOpen.need(0);
    const halfOpen = taken - givenBack;
    if (halfOpen !== 0) found.push(`${halfOpen} half-open flows counted`);
    if (this.path.maps.lbControl.need(0).flags !== 0) found.push('ranges are looked for');
    if (free !== LIMITS.maxSlots) found.push(`${LIMITS.maxSlots - (free ?? 0)} slots taken`);
    const addresses = this.machine.network.state.addresses.filter(({ ifindex }) => ifindex === 1).length;
    if (addresses !== 1) found.push(`${addresses - 1} service addresses on lo`);
    this.isEmpty = found.length === 0;
    return found;
  }

  /** A daemon that was killed had no time to clear slots nobody reads. */
  private kept(): string[] {
    return this.crashed ? [...KEPT, 'lb_slot'] : KEPT;
  }

  private get running(): Daemon {
    if (!this.daemon) throw new Error('no daemon runs');
    return this.daemon;
  }

  private withFault(fail: number | undefined, act: () => void): void {
    this.maps.writes.leftToFailure = fail;
    try {
      act();
      // Done all the same: it was about something the next daemon tidies up.
      if (fail !== undefined && this.maps.writes.leftToFailure === undefined) this.isUntidy = true;
    } finally {
      this.maps.writes.leftToFailure = undefined;
    }
  }

  /** Everything packets have seen was seen so much earlier; a little more, so that a time that is over is over. */
  private age(seconds: number): void {
    const ticks = seconds * TICKS_PER_SECOND + 2;
    const { flows, pending, affinity } = this.path.maps;
    for (const table of [flows, pending])
      for (const [key, entry] of table.entries()) table.set(key, { ...entry, seen: (entry.seen - ticks) >>> 0 });
    for (const [key, entry] of affinity.entries()) affinity.set(key, { ...entry, seen: (entry.seen - ticks) >>> 0 });
  }

  private newMachine(): Machine {
    const addresses = MACHINE.map((address) => onWire(address));
    const network = newNetwork([...createFakeNetwork().state.addresses, ...addresses]);
    return { path: this.path, maps: this.maps, network, remains: createRemains(), sent: [] };
  }
}

function newNetwork(addresses: readonly NetworkAddress[]): FakeNetwork {
  const network = createFakeNetwork();
  network.state.links.push(fakeLink({ ifindex: 2, name: 'eth0' }));
  network.state.addresses = [...addresses];
  network.sourceAddressFor = towardsEndpoints;
  return network;
}

function onWire(address: string): NetworkAddress {
  return { ifindex: 2, address, prefixLength: 24, family: isV6(address) ? 6 : 4, scope: 0 };
}

function bodyOf({ mark, idle, drain, down, ppv2, vip, endpoints, sources, ...rest }: RuleAsked): unknown {
  const named = {
    ...{ externalIP: vip, block: mark, inactiveTimeOut: idle, drainTimeout: drain, onEndpointDown: down },
    ...{ proxyprotocolv2: ppv2, tunnel: rest.tunnel ? 'ipip' : undefined },
  };
  return {
    serviceArguments: JSON.parse(JSON.stringify({ ...rest, ...named })),
    endpoints: endpoints.map(({ ip, port, portMax, weight = 1 }) => ({
      endpointIP: ip,
      targetPort: port,
      ...(portMax === undefined ? {} : { targetPortMax: portMax }),
      weight,
    })),
    allowedSources: sources?.map((prefix) => ({ prefix })) ?? null,
  };
}

function tupleText({ saddr, sport, daddr, dport, proto }: CtKey): string {
  return talkText(tuple(saddr, sport, daddr, dport, protocolOf(proto)));
}

function protocolOf(number: number): Protocol {
  return number === PROTOCOL.tcp ? 'tcp' : number === PROTOCOL.udp ? 'udp' : 'icmp';
}
