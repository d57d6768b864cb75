import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  countByName,
  curl,
  defaultPlugins,
  deleteServices,
  type Family,
  type Lab,
  names,
  type Reply,
  startHttpServer,
  startLab,
  startManyPorts,
  tcp,
  udp,
} from './harness/index.js';

const families = ['v4', 'v6'] as const;
const [FIRST, LAST] = [5201, 5300];

/** Ports, sources and marks: which packets belong to a service, and which port of an endpoint they get. */
describe('what belongs to a service', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await startLab({ plugins: { ...defaultPlugins, observe: {} } });
    for (const server of lab.network.servers) {
      await startHttpServer(server.netns, server.port, 32_015);
      await startManyPorts(server.netns, server.port, FIRST, LAST);
    }
    const { client } = lab.network;
    for (const last of [2, 3]) {
      await client.netns.ip(`addr add 10.10.10.${last}/24 dev eth0`, `addr add fd10::${last}/64 dev eth0 nodad`);
    }
  });
  afterAll(() => lab?.dispose());
  afterEach(() => deleteServices(lab.daemon));

  const create = (family: Family, ...args: readonly string[]) =>
    lab.daemon.loxicmdOk('create', 'lb', lab.network.vip[family], ...args);
  const endpoints = (family: Family, ...numbers: number[]) =>
    `--endpoints=${numbers.map((number) => `${lab.network.server(number)[family]}:1`).join(',')}`;
  const client = () => lab.network.client.netns;
  const ports = (replies: readonly Reply[]) => replies.map(({ port }) => port);

  describe.each<Family>(families)('%s', (family) => {
    const host = () => lab.network.vip[family];

    it('two ports of the service, one of the endpoints', async () => {
      await create(family, '--tcp=8080-8081:32015', endpoints(family, 1, 2, 3));
      const answers = new Set<string | undefined>();
      for (const port of [8080, 8081, 8080, 8081, 8080, 8081]) answers.add(await curl(client(), host(), port));
      expect(answers).toEqual(new Set(['server1', 'server2', 'server3']));
      for (const port of [8079, 8082]) expect(await curl(client(), host(), port, '-m1')).toBeUndefined();
    });

    it.each(['tcp', 'udp'] as const)('one port of the service, a hundred of each endpoint: %s', async (protocol) => {
      await create(family, `--${protocol}=5000:${FIRST}-${LAST}`, endpoints(family, 1, 2, 3));
      const options = { host: host(), port: 5000, count: 300, timeoutMs: 10_000 };
      const replies =
        protocol === 'tcp' ? await tcp(client(), { ...options, parallel: 8 }) : await udp(client(), options);
      const counts = countByName(replies);
      expect(Object.keys(counts).sort()).toEqual(['server1', 'server2', 'server3']);
      // A datagram from a source port used before belongs to the flow of then.
      for (const count of Object.values(counts))
        expect(Math.abs(count - 100)).toBeLessThan(protocol === 'tcp' ? 1 : 10);
      const reached = new Set(replies.map(({ name, port }) => `${name}:${port}`));
      // Of 300 throws at 300 places about 190 are hit.
      expect(reached.size).toBeGreaterThan(150);
      expect(Math.min(...ports(replies).map(Number))).toBeGreaterThanOrEqual(FIRST);
      expect(Math.max(...ports(replies).map(Number))).toBeLessThanOrEqual(LAST);
    });

    it('a flow keeps its port', async () => {
      await create(family, `--udp=5000:${FIRST}-${LAST}`, endpoints(family, 1, 2, 3));
      const replies = await udp(client(), { host: host(), port: 5000, count: 20, sameSocket: true });
      expect(new Set(replies.map(({ name, port }) => `${name}:${port}`)).size).toBe(1);
    });

    it('nearly all ports, each to the one a hundred further', async () => {
      for (const protocol of ['tcp', 'udp']) {
        await create(family, `--${protocol}=1-65435:101-65535`, endpoints(family, 1));
      }
      expect((await lab.daemon.dumpMap('lb_range')).length).toBeLessThanOrEqual(60);
      for (const port of [5101, 5150, 5200]) {
        expect(ports(await tcp(client(), { host: host(), port }))).toEqual([port + 100]);
        expect(ports(await udp(client(), { host: host(), port }))).toEqual([port + 100]);
      }
      // Nobody listens there: the endpoint's own refusal comes back from the service's port.
      for (const port of [1, 5100, 5201, 65_435]) {
        expect(await tcp(client(), { host: host(), port })).toMatchObject([{ error: 'ECONNREFUSED' }]);
        expect(await udp(client(), { host: host(), port })).toMatchObject([{ error: 'ECONNREFUSED' }]);
      }
    });

    it('a port of its own inside a range has its own endpoint, and gives it back', async () => {
      await create(family, '--tcp=5101-5200:5201-5300', endpoints(family, 1));
      await create(family, '--tcp=5150:5300', endpoints(family, 2));
      const ask = async (port: number) => (await tcp(client(), { host: host(), port }))[0];
      expect(await ask(5149)).toMatchObject({ name: 'server1', port: 5249 });
      expect(await ask(5150)).toMatchObject({ name: 'server2', port: 5300 });
      expect(await ask(5151)).toMatchObject({ name: 'server1', port: 5251 });
      await lab.daemon.loxicmdOk('delete', 'lb', host(), '--tcp=5150');
      expect(await ask(5150)).toMatchObject({ name: 'server1', port: 5250 });
    });

    it('clients on the list come in, others are dropped and counted', async () => {
      const prefix = family === 'v4' ? '10.10.10.2/31' : 'fd10::2/127';
      const address = (last: number) => (family === 'v4' ? `10.10.10.${last}` : `fd10::${last}`);
      await create(family, '--tcp=2020:8080', endpoints(family, 1), `--sources=${prefix}`, '--name=listed');
      await create(family, '--udp=2020:8080', endpoints(family, 1), `--sources=${prefix}`);
      const from = [1, 2, 3].map(address);
      // The one who is dropped waits for all of it, the others for their answers.
      const options = { host: host(), port: 2020, count: 3, localAddress: from, timeoutMs: 5_000 };
      for (const replies of [await tcp(client(), options), await udp(client(), options)]) {
        expect(names(replies)).toEqual(['error ETIMEDOUT', 'server1', 'server1']);
        expect(replies.map((reply) => reply.from?.address)).toEqual([undefined, from[1], from[2]]);
      }
      const drops = await lab.daemon.loxicmdOk('get', 'drops', '-o', 'json');
      expect(drops).toContain('listed');
      expect(JSON.parse(drops).dropAttr).toContainEqual(expect.objectContaining({ reason: 'source' }));
    });

    it('every address of the balancer, to every host', async () => {
      const any = family === 'v4' ? '0.0.0.0' : '::';
      for (const protocol of ['tcp', 'udp']) {
        const parameters = [`--${protocol}=7100:8080`, '--mode=hostonearm', endpoints(family, 1)];
        await lab.daemon.loxicmdOk('create', 'lb', any, ...parameters);
      }
      const { network } = lab;
      for (const asking of [network.client, network.server(2)]) {
        for (const { gateway } of [network.client, network.server(1), network.server(3)]) {
          const options = { host: gateway[family], port: 7100 };
          const seen = { name: 'server1', from: { address: network.server(1).gateway[family] } };
          expect(await tcp(asking.netns, options)).toMatchObject([seen]);
          expect(await udp(asking.netns, options)).toMatchObject([seen]);
        }
      }
    });
  });
});
