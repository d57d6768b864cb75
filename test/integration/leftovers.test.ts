/** Whatever is asked for, in whatever order: other services do not notice, and nothing is left when all rules are gone. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seeded } from '../bpf/reference/random.js';
import {
  countByName,
  createService,
  defaultPlugins,
  type Lab,
  type Namespace,
  serverEndpoints,
  startLab,
  talkingClient,
  tcp,
  until,
} from './harness/index.js';

/** Deterministic, so that a failure can be repeated: SEED=n. */
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const OPERATIONS = 600;
const STABLE = '20.20.99.1';
const MAPS = ['nat_v4_map', 'lb_range', 'lb_source', 'lb_address', 'lb_sctp_vips', 'lb_affinity', 'lb_drain'];
const MORE_MAPS = ['lb_vip', 'ct_idle', 'dp_service_drop'];
/** How much more memory it may hold, in MB: its heap grows to some 220 MB before anything is collected. */
const GROWTH = 120;

describe(`${OPERATIONS} random operations (SEED=${seed})`, () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab({ plugins: { ...defaultPlugins, observe: {} } });
    await createService(lab.daemon, { vip: STABLE, endpoints: serverEndpoints(lab.network, 'v4') });
  });
  afterAll(() => lab?.dispose());

  const next = seeded(seed);
  const random = (limit: number): number => Math.floor(next() * limit);
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
  const chance = (percent: number): boolean => random(100) < percent;
  const client = (): Namespace => lab.network.client.netns;
  const call = (method: string, path: string, body?: object) => lab.daemon.api.call(method, path, body);

  /** May be one that cannot be; then it is refused. */
  const randomRule = (): object => {
    const protocol = pick(['tcp', 'tcp', 'udp', 'sctp', 'icmp']);
    const mode = pick([0, 1, 2, 3]);
    const port = protocol === 'icmp' ? 0 : pick([80, 443, 8080]);
    const family = pick(['v4', 'v4', 'v6'] as const);
    const other = chance(15) ? (family === 'v4' ? 'v6' : 'v4') : family;
    const target = mode === 3 || protocol === 'icmp' ? port : 8080;
    const servers = serverEndpoints(lab.network, other).slice(random(3));
    return {
      serviceArguments: {
        ...{
          externalIP: family === 'v4' ? `20.20.20.${1 + random(4)}` : `fd20::${1 + random(4)}`,
          port,
          protocol,
          mode,
        },
        ...{ sel: mode === 3 ? 1 : random(5), oper: pick([0, 0, 0, 1, 2]), block: pick([0, 0, 0, 7]) },
        ...(chance(20) && port > 0 ? { portMax: pick([port + 1, port + 1000, 65_535]) } : {}),
        ...(chance(20) ? { inactiveTimeOut: 1 + random(5) } : {}),
        ...(chance(20) ? { drainTimeout: 1 + random(3) } : {}),
        ...(chance(20) ? { onEndpointDown: pick(['keep', 'cut', 'reset']) } : {}),
        ...(chance(20) && protocol === 'tcp' ? { proxyprotocolv2: true } : {}),
        ...(chance(30) ? { name: pick(['a', 'b']) } : {}),
      },
      endpoints: servers.map(({ ip }) => ({ endpointIP: ip, targetPort: target, weight: pick([0, 1, 1, 255]) })),
      ...(chance(20) ? { allowedSources: [{ prefix: `10.${random(20)}.0.0/16` }] } : {}),
      ...(chance(50) && protocol === 'sctp' ? { secondaryIPs: [{ secondaryIP: `20.20.30.${1 + random(5)}` }] } : {}),
    };
  };

  const operate = async (): Promise<void> => {
    const dice = random(100);
    if (dice < 55) return answered('POST', '/config/loadbalancer', randomRule());
    if (dice < 75) return deleteOne();
    if (dice < 79) return answered('DELETE', `/config/loadbalancer/name/${pick(['a', 'b'])}`);
    if (dice < 84) return answered('GET', pick(['/config/conntrack/all', '/config/drops/all', '/metrics']));
    if (dice < 88) return answered('POST', '/config/loadbalancer', { serviceArguments: {}, endpoints: [] });
    const packet = { source: '10.10.10.1', destination: '20.20.20.1', protocol: 'tcp', destinationPort: 80 };
    if (dice < 90) return answered('POST', '/trace', { ...packet, sourcePort: 4000, interface: 'client' });
    await client().run('curl', ['-s', '-m', '0.2', `http://20.20.20.${1 + random(4)}/`]);
  };
  const answered = async (method: string, path: string, body?: object): Promise<void> => {
    const { status, body: answer } = await call(method, path, body);
    expect(status, `${method} ${path} ${JSON.stringify(body)}: ${JSON.stringify(answer)}`).toBeLessThan(500);
  };
  const others = async (): Promise<Rule[]> => {
    const { body } = await call('GET', '/config/loadbalancer/all');
    return body.lbAttr.filter((rule: Rule) => rule.serviceArguments.externalIP !== STABLE);
  };
  const deleteOne = async (): Promise<void> => {
    const rules = await others();
    if (rules.length === 0) return;
    await answered('DELETE', `${pathOf(pick(rules))}${pick(['', '&drain=0', '&drain=2'])}`);
  };

  const daemonUse = (): { descriptors: number; memory: number } => {
    const { pid } = lab.daemon.process;
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return {
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
      memory: Number(status.match(/^VmRSS:\s+(\d+)/m)?.[1]) / 1024,
    };
  };
  const ask = async () => countByName(await tcp(client(), { host: STABLE, port: 2020, count: 3 }));
  const kept = async (): Promise<Record<string, unknown>> => {
    const sizes = [...MAPS, ...MORE_MAPS].map(async (map) => [map, (await lab.daemon.dumpMap(map)).length]);
    const addresses = await lab.network.lb.must('ip', ['-o', 'addr', 'show', 'dev', 'lo']);
    return { ...Object.fromEntries(await Promise.all(sizes)), addresses: addresses.trim().split('\n').length };
  };

  it('leave nothing, and another service does not notice', async () => {
    const before = await kept();
    const talk = await talkingClient(client(), { host: STABLE, port: 2020, count: 20 });
    for (let done = 0; done < OPERATIONS / 3; done++) await operate();
    const warm = daemonUse();
    for (let done = OPERATIONS / 3; done < OPERATIONS; done++) {
      await operate();
      if (done % 20 === 0) expect(await ask()).toEqual({ server1: 1, server2: 1, server3: 1 });
    }
    expect(await talk.summary()).toMatchObject({ open: 20, ended: 0 });
    for (const rule of await others()) await answered('DELETE', `${pathOf(rule)}&drain=0`);
    await until(
      'everything is gone',
      async () => JSON.stringify(await kept()) === JSON.stringify(before),
      60_000,
    ).catch(async () => expect(await kept()).toEqual(before));
    const { descriptors, memory } = daemonUse();
    expect(descriptors).toBeLessThanOrEqual(warm.descriptors + 5);
    expect(memory).toBeLessThan(warm.memory + GROWTH);
  });
});

interface Rule {
  readonly serviceArguments: {
    readonly externalIP: string;
    readonly port: number;
    readonly portMax?: number;
    readonly protocol: string;
    readonly block?: number;
  };
}

/** For DELETE. */
function pathOf({ serviceArguments: { externalIP, port, portMax, protocol, block } }: Rule): string {
  const ports = `port/${port}${portMax ? `/portmax/${portMax}` : ''}`;
  return `/config/loadbalancer/externalipaddress/${externalIP}/${ports}/protocol/${protocol}?block=${block ?? 0}`;
}
