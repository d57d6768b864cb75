import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeDaemon } from './testing/fake-daemon.js';

let daemon: FakeDaemon;
let folder: string;
beforeAll(async () => {
  daemon = await FakeDaemon.start();
  folder = mkdtempSync(join(tmpdir(), 'loxicmd-'));
});
beforeEach(() => daemon.reset());
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await daemon.close();
});

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const TWO = `apiVersion: netlox/v1
kind: Loadbalancer
metadata:
  name: test
spec:
  serviceArguments:
    externalIP: 123.123.123.1
    port: 80
    Protocol: tcp
    Sel: 0
  endpoints:
    - endpointIP: 10.0.0.1
      targetPort: 80
      weight: 1
---
kind: lb
spec:
  serviceArguments: { externalIP: 1.1.1.1, port: 53, protocol: udp }
  endpoints: [{ endpointIP: 10.0.0.2, targetPort: 53, weight: 1 }]
`;

describe('apply and delete by file', () => {
  it('creates every document in order', async () => {
    const path = file('two.yaml', TWO);
    expect(await daemon.loxicmd(`apply -f ${path}`)).toEqual({
      status: 0,
      stdout: `Configuration applied - ${path}\n`,
      stderr: '',
    });
    expect(daemon.requests).toMatchObject([
      { method: 'POST', body: { serviceArguments: { externalIP: '123.123.123.1', protocol: 'tcp', sel: 0 } } },
      { method: 'POST', body: { serviceArguments: { externalIP: '1.1.1.1', port: 53 } } },
    ]);
  });

  it('deletes them in reverse', async () => {
    const path = file('two.yaml', TWO);
    expect((await daemon.loxicmd(`delete -f ${path}`)).stdout).toBe(`Configuration applied - ${path}\n`);
    expect(daemon.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'DELETE /config/loadbalancer/hosturl/any/externalipaddress/1.1.1.1/port/53/portmax/0/protocol/udp?bgp=false&block=0',
      'DELETE /config/loadbalancer/hosturl/any/externalipaddress/123.123.123.1/port/80/portmax/0/protocol/tcp?bgp=false&block=0',
    ]);
  });

  it('reports a refusal and goes on with the next document', async () => {
    daemon.on('POST /config/loadbalancer', {
      status: 409,
      body: { code: 409, message: 'x', result: 'lbrule-exists error' },
    });
    const path = file('two.yaml', TWO);
    expect(await daemon.loxicmd(`apply -f ${path}`)).toMatchObject({
      status: 1,
      stdout: `Error: lbrule-exists error\nError: lbrule-exists error\nConfiguration failed - ${path}\n`,
    });
  });

  it('applies a file again without a complaint about what is so already', async () => {
    const error = { code: 'LB_RULE_EXISTS', text: 'rule 1.1.1.1:53/udp is already so' };
    daemon.on('POST /config/loadbalancer', { status: 409, body: { code: 409, result: 'lbrule-exists error', error } });
    const path = file('two.yaml', TWO);
    expect(await daemon.loxicmd(`apply -f ${path}`)).toEqual({
      status: 0,
      stdout: `Configuration applied - ${path}\n`,
      stderr: '',
    });
    expect(daemon.requests).toHaveLength(2);
  });

  it('refuses unknown kinds but applies the rest', async () => {
    const path = file('odd.yaml', `kind: Nonsense\nspec: {}\n---\n${TWO}`);
    const { status, stdout } = await daemon.loxicmd(`apply -f ${path}`);
    expect(status).toBe(1);
    expect(stdout).toBe(`Not Supported\nError: kind 'Nonsense' is not known\nConfiguration failed - ${path}\n`);
    expect(daemon.requests.filter(({ method }) => method === 'POST')).toHaveLength(2);
  });

  it('explains files it cannot read', async () => {
    expect((await daemon.loxicmd('apply -f /nowhere')).stdout).toBe(
      'open /nowhere: no such file or directory\nConfiguration failed - /nowhere\n',
    );
    const path = file('bad.yaml', 'kind: lb\nspec: [1, 2\n');
    const { stdout, status } = await daemon.loxicmd(`apply -f ${path}`);
    expect(stdout).toMatch(/^Error: Failed to unmarshal File: \(yaml: line \d+: .*\)\nConfiguration failed - /);
    expect(status).toBe(1);
  });

  it('applies kinds only the daemon knows', async () => {
    const greeting = {
      ...{
        name: 'greeting',
        aliases: [],
        kind: 'Greeting',
        kindAliases: [],
        plugin: 'hello',
        path: '/config/greeting',
      },
      ...{ envelope: 'greetingAttr', summary: 'Greetings', columns: ['NAME'] },
      create: { usage: 'greeting', args: [], flags: [] },
      delete: {
        usage: 'greeting NAME',
        args: [{ name: 'name', member: 'name' }],
        flags: [],
        pathTemplate: '/config/greeting/:name',
      },
    };
    daemon.on('GET /commands', { body: { commands: [greeting] } });
    const path = file('greeting.yaml', 'kind: Greeting\nspec: { name: bob, text: hi }\n');
    expect((await daemon.loxicmd(`apply -f ${path}`)).status).toBe(0);
    expect(daemon.requests.at(-1)).toMatchObject({ path: '/config/greeting', body: { name: 'bob', text: 'hi' } });
    await daemon.loxicmd(`delete -f ${path}`);
    expect(daemon.requests.at(-1)).toMatchObject({ method: 'DELETE', path: '/config/greeting/bob' });
  });

  it('asks for options when there are none', async () => {
    const { status, stdout } = await daemon.loxicmd('apply');
    expect(status).toBe(1);
    expect(stdout.startsWith('Provide valid options\nReads and apply configuration')).toBe(true);
  });
});

describe('save', () => {
  const own = {
    serviceArguments: {
      externalIP: '1.1.1.1',
      port: 80,
      portMax: 90,
      protocol: 'tcp',
      host: 'a.io',
      block: 3,
      name: 'web',
    },
    endpoints: [{ endpointIP: '10.0.0.1', targetPort: 80, weight: 1, state: 'active', counter: '5:500' }],
    secondaryIPs: null,
    allowedSources: [{ prefix: '10.0.0.0/8' }],
  };
  const rules = [
    own,
    { ...own, serviceArguments: { ...own.serviceArguments, managed: true } },
    { ...own, serviceArguments: { ...own.serviceArguments, snat: true } },
    { ...own, serviceArguments: { ...own.serviceArguments, name: 'ipvs-1' } },
  ];

  it('writes own rules, keeps the former file, and apply --lb brings everything back', async () => {
    daemon.on('GET /config/loadbalancer/all', { body: { lbAttr: rules } });
    const path = join(folder, 'saved', 'lbconfig.txt');
    expect((await daemon.loxicmd(`save --lb -c ${folder}/saved`)).stdout).toBe(
      `There is no saved config file\nLB Configuration saved in ${path}\n`,
    );
    expect((await daemon.loxicmd(`save --all -c ${folder}/saved`)).stdout).toBe(`LB Configuration saved in ${path}\n`);
    expect(readFileSync(`${path}.bk`)).toEqual(readFileSync(path));

    expect((await daemon.loxicmd(`apply --lb ${path}`)).status).toBe(0);
    const posted = daemon.requests.filter(({ method }) => method === 'POST').map(({ body }) => body);
    expect(posted).toEqual([{ ...own, endpoints: [{ ...own.endpoints[0], counter: '' }] }]);
  });

  it('keeps the saved file when the daemon refuses', async () => {
    daemon.on('GET /config/loadbalancer/all', { status: 500, body: { code: 500, message: 'boom' } });
    const path = join(folder, 'saved', 'lbconfig.txt');
    const before = readFileSync(path);
    expect(await daemon.loxicmd(`save --lb -c ${folder}/saved`)).toMatchObject({ status: 1, stdout: 'Error: boom\n' });
    expect(readFileSync(path)).toEqual(before);
  });
});
