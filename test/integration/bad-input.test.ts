/** Whatever a request says, the answer is no fault of the server's, and a refusal leaves nothing behind. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createService, type Lab, serviceBody, startLab, until } from './harness/index.js';

const VIP = '20.20.20.9';
const SERVICE = {
  ...{ externalIP: VIP, port: 80, portMax: 0, protocol: 'tcp', sel: 0, mode: 0, security: 0, oper: 0, bgp: false },
  ...{ monitor: false, managed: false, probetype: '', probeport: 0, probereq: '', proberesp: '', probeTimeout: 0 },
  ...{ probeRetries: 0, inactiveTimeOut: 0, block: 0, name: 'x', host: '', proxyprotocolv2: false, egress: false },
  ...{ privateIP: '', tunnel: '', drainTimeout: 0, onEndpointDown: '' },
};
const ENDPOINT = { endpointIP: '31.31.31.1', targetPort: 8080, targetPortMax: 0, weight: 1, state: '', counter: '' };
const BODY = { serviceArguments: SERVICE, endpoints: [ENDPOINT], secondaryIPs: [], allowedSources: [] };

const NUMBERS = [-1, 0, 1, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32, 2 ** 63, 2 ** 64, 1e308, 1.5];
const ADDRESSES = ['0.0.0.0', '::', '255.255.255.255', '224.0.0.1', 'ff02::1', 'fe80::1%eth0', '1.2.3', '01.2.3.4'];
const TEXTS = [
  '',
  ' ',
  'x'.repeat(100_000),
  'ü\u0000\ud83d\ude00\n',
  '80',
  'TCP',
  '1.2.3.4/24',
  '__proto__',
  '../../x',
];
const VALUES: readonly unknown[] = [...NUMBERS, ...ADDRESSES, ...TEXTS, true, false, null, [], {}, [1], { a: 1 }];
const MAPS = ['nat_v4_map', 'lb_range', 'lb_source', 'lb_address', 'lb_sctp_vips'];
const RAW = ['{', '[]', '1', '{}', 'null', '{"serviceArguments":', '['.repeat(100_000), '{"a":'.repeat(50_000)];

interface Listed {
  readonly serviceArguments: { readonly externalIP: string; readonly port: number; readonly [member: string]: unknown };
}

describe('a request that cannot be', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab({ servers: 1 });
    const more = { portMax: 90, drainTimeout: 1, block: 7 };
    await createService(lab.daemon, {
      vip: '20.20.20.1',
      port: 80,
      name: 'stays',
      more,
      endpoints: [{ ip: '31.31.31.1' }],
    });
    await lab.daemon.api.post('/config/loadbalancer', {
      ...serviceBody({ vip: '20.20.20.2', protocol: 'sctp', endpoints: [{ ip: '31.31.31.1' }] }),
      ...{ secondaryIPs: [{ secondaryIP: '20.20.20.3' }], allowedSources: [{ prefix: '10.0.0.0/8' }] },
    });
  });
  afterAll(() => lab?.dispose());

  /** Without the rates, which are there only when somebody has asked before. */
  const rules = async (): Promise<Listed[]> => {
    const { body } = await lab.daemon.api.get('/config/loadbalancer/all');
    return JSON.parse(JSON.stringify(body.lbAttr, (name, value) => (name === 'newPerSecond' ? undefined : value)));
  };
  const addresses = (): Promise<string> => lab.network.lb.must('ip', ['-br', 'addr', 'show', 'dev', 'lo']);
  const state = async () => {
    const sizes = MAPS.map(async (map) => [map, (await lab.daemon.dumpMap(map)).length]);
    return { rules: await rules(), addresses: await addresses(), sizes: await Promise.all(sizes) };
  };
  /** Posts it, and takes away what it made where it was not so bad after all. */
  const attempt = async (body: unknown): Promise<void> => {
    const before = await rules();
    const { status, body: answer } = await lab.daemon.api.post('/config/loadbalancer', body);
    expect(status, JSON.stringify(answer).slice(0, 300)).toBeLessThan(500);
    const after = await rules();
    if (status !== 200 || answer.result !== 'Success') expect(after).toEqual(before);
    const known = new Set(before.map((one) => JSON.stringify(one)));
    for (const { serviceArguments: one } of after.filter((rule) => !known.has(JSON.stringify(rule)))) {
      const range = one.portMax ? `/portmax/${one.portMax}` : '';
      const key = `externalipaddress/${one.externalIP}/port/${one.port}${range}/protocol/${one.protocol}`;
      const gone = await lab.daemon.api.delete(`/config/loadbalancer/${key}?block=${one.block ?? 0}&drain=0`);
      expect(gone.status).toBe(200);
    }
  };
  const attemptAll = async (bodies: readonly unknown[]): Promise<void> => {
    const before = await state();
    for (const body of bodies) await attempt(body);
    // After many changes in a row they follow a moment later.
    await until('the addresses are as before', async () => (await addresses()) === before.addresses).catch(() => {});
    expect(await state()).toEqual(before);
  };

  it.each(Object.keys(SERVICE))('serviceArguments.%s', (member) =>
    attemptAll(VALUES.map((value) => ({ ...BODY, serviceArguments: { ...SERVICE, [member]: value } }))),
  );

  it.each(Object.keys(ENDPOINT))('endpoints.0.%s', (member) =>
    attemptAll(VALUES.map((value) => ({ ...BODY, endpoints: [{ ...ENDPOINT, [member]: value }] }))),
  );

  it.each(Object.keys(BODY))('%s', (member) => attemptAll(VALUES.map((value) => ({ ...BODY, [member]: value }))));

  it('lists of addresses', async () => {
    const sctp = { ...SERVICE, protocol: 'sctp' };
    const second = VALUES.map((value) => ({ ...BODY, serviceArguments: sctp, secondaryIPs: [{ secondaryIP: value }] }));
    await attemptAll([...second, ...VALUES.map((prefix) => ({ ...BODY, allowedSources: [{ prefix }] }))]);
  });

  it('too much of everything, and the same twice', async () => {
    const endpoints = (count: number, address: (index: number) => string) =>
      Array.from({ length: count }, (_, index) => ({ ...ENDPOINT, endpointIP: address(index) }));
    const sources = Array.from({ length: 50_000 }, (_, index) => ({ prefix: `10.${index >> 8}.${index & 255}.0/24` }));
    await attemptAll([
      { ...BODY, endpoints: endpoints(65, (index) => `31.31.31.${index}`) },
      { ...BODY, endpoints: endpoints(10_000, (index) => `31.31.${index >> 8}.${index & 255}`) },
      { ...BODY, endpoints: endpoints(2, () => '31.31.31.1') },
      { ...BODY, allowedSources: sources },
      { ...BODY, allowedSources: [sources[0], sources[0]] },
      { ...BODY, unknown: 1, serviceArguments: { ...SERVICE, unknown: 1 } },
    ]);
  });

  it('no JSON, or too deep', async () => {
    const before = await state();
    const url = `http://127.0.0.1:${lab.daemon.port}/netlox/v1/config/loadbalancer`;
    for (const body of RAW) {
      const args = ['-sS', '-o', '/dev/null', '-w', '%{http_code}', '-H', 'Content-Type: application/json'];
      const status = await lab.network.lb.must('curl', [...args, '--data-binary', '@-', url], { input: body });
      expect(['400', '422'], body.slice(0, 40)).toContain(status);
    }
    expect(await state()).toEqual(before);
  });
});
