import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeDaemon, loxicmd } from './testing/fake-daemon.js';

let daemon: FakeDaemon;
beforeAll(async () => {
  daemon = await FakeDaemon.start();
});
beforeEach(() => daemon.reset());
afterAll(() => daemon.close());

const RULES = {
  lbAttr: [
    {
      serviceArguments: { externalIP: '192.168.1.9', port: 80, protocol: 'tcp', inactiveTimeOut: 240 },
      endpoints: [
        { endpointIP: '192.168.1.31', targetPort: 55555, weight: 1, state: 'active', counter: '0:0' },
        { endpointIP: '192.168.1.32', targetPort: 55555, weight: 1, state: 'active', counter: '25:2267' },
      ],
      secondaryIPs: null,
      allowedSources: null,
    },
    {
      serviceArguments: {
        ...{ externalIP: '192.168.1.15', port: 80, portMax: 81, protocol: 'tcp', sel: 2, mode: 1, block: 10 },
        ...{ monitor: true, name: 'web', inactiveTimeOut: 1800, proxyprotocolv2: true, egress: true, security: 2 },
      },
      endpoints: [{ endpointIP: '10.0.0.1', targetPort: 80, weight: 40, state: 'inactive', counter: '1:2' }],
      secondaryIPs: [{ secondaryIP: '1.1.1.1' }, { secondaryIP: '1.1.1.2' }],
      allowedSources: [{ prefix: '10.0.0.0/8' }],
    },
    { serviceArguments: { externalIP: '0.0.0.0', port: 0, protocol: 'none', snat: true }, endpoints: null },
  ],
};

function lines(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

describe('get', () => {
  it('prints nothing when there is nothing', async () => {
    daemon.on('GET /config/loadbalancer/all', { body: { lbAttr: [] } });
    expect(await daemon.loxicmd('get lb')).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  it('prints rules sorted as text, without hidden ones', async () => {
    daemon.on('GET /config/loadbalancer/all', { body: RULES });
    const { stdout, status } = await daemon.loxicmd('get lb');
    expect(status).toBe(0);
    expect(lines(stdout)).toEqual(
      lines(`
        |    EXT IP    | PORT  |    PROTO     | NAME | MARK |   SEL    |        MODE        | # OF ENDPOINTS | TIMEOUT | MONITOR |
        |--------------|-------|--------------|------|------|----------|--------------------|----------------|---------|---------|
        | 192.168.1.15 | 80-81 | tcp:e2ehttps | web  |   10 | priority | onearm:ppv2:egress |              1 |    1800 | On      |
        | 192.168.1.9  |    80 | tcp          |      |    0 | rr       | default            |              2 |     240 | Off     |
      `),
    );
  });

  it('prints a row per endpoint in the wide form', async () => {
    daemon.on('GET /config/loadbalancer/all', { body: RULES });
    const { stdout } = await daemon.loxicmd('-o wide get loadbalancers');
    expect(lines(stdout)).toEqual(
      lines(`
        |    EXT IP    |     SEC IPS      |  SOURCES   | HOST | PORT  |    PROTO     | NAME | MARK |   SEL    |        MODE        |   ENDPOINT   | EPORT | WEIGHT |  STATE   | COUNTERS |
        |--------------|------------------|------------|------|-------|--------------|------|------|----------|--------------------|--------------|-------|--------|----------|----------|
        | 192.168.1.15 | 1.1.1.1, 1.1.1.2 | 10.0.0.0/8 |      | 80-81 | tcp:e2ehttps | web  |   10 | priority | onearm:ppv2:egress | 10.0.0.1     |    80 |     40 | inactive | 1:2      |
        | 192.168.1.9  |                  |            |      |    80 | tcp          |      |    0 | rr       | default            | 192.168.1.31 | 55555 |      1 | -        | 0:0      |
        |              |                  |            |      |       |              |      |      |          |                    | 192.168.1.32 | 55555 |      1 | -        | 25:2267  |
      `),
    );
  });

  it('keeps the daemon order and content in JSON, and narrows by service name', async () => {
    daemon.on('GET /config/loadbalancer/all', { body: RULES });
    expect((await daemon.loxicmd('get lb -o json')).stdout).toBe(`${JSON.stringify(RULES, null, 4)}\n`);
    const named = await daemon.loxicmd('get lb -o=json --servName=web');
    expect(JSON.parse(named.stdout)).toEqual({ lbAttr: [RULES.lbAttr[1]] });
  });

  it('prints YAML that apply can read', async () => {
    daemon.on('GET /config/loadbalancer/all', { body: { lbAttr: RULES.lbAttr.slice(0, 2) } });
    const { stdout } = await daemon.loxicmd('get lb -oyaml');
    expect(stdout.split('---\n')).toHaveLength(2);
    expect(stdout).toMatch(/^apiVersion: netlox\/v1\nkind: Loadbalancer\nspec:\n/);
  });

  it('prints connection tracking with titles even when empty, and asks the daemon for one service', async () => {
    daemon.on('GET /config/conntrack/all', { body: { ctAttr: null } });
    const { stdout } = await daemon.loxicmd('get ct --servName web');
    expect(lines(stdout)[0]).toBe(
      '| SERVICE NAME | DESTIP | SRCIP | DPORT | SPORT | PROTO | IDENT | STATE | ACT | PACKETS | BYTES |',
    );
    expect(lines(stdout)).toHaveLength(2);
    expect(daemon.requests[0]?.path).toBe('/config/conntrack/all?servName=web');
  });

  it('prints ports with a line per item', async () => {
    const port = {
      portName: 'eth0',
      portNo: 5,
      portSoftwareInformation: { portType: 5, portActive: true, bpfLoaded: true },
      portHardwareInformation: { macAddress: '02:42:ac:1e:01:c1', link: true, state: true, mtu: 1500 },
      portStatisticInformation: { rxBytes: 1, txBytes: 2, rxPackets: 3, txPackets: 4 },
      portL3Information: { routed: true, IPv4Address: ['10.0.0.1/24'], IPv6Address: [] },
      portL2Information: { isPvid: true, vid: 3805 },
      DataplaneSync: 1,
    };
    daemon.on('GET /config/port/all', { body: { portAttr: [{ ...port, portNo: 10 }, port] } });
    const narrow = await daemon.loxicmd('get port');
    expect(lines(narrow.stdout).slice(0, 5)).toEqual(
      lines(`
        | INDEX | PORTNAME |        MAC        | LINK/STATE |        L3INFO        |    L2INFO    |
        |-------|----------|-------------------|------------|----------------------|--------------|
        |     5 | eth0     | 02:42:ac:1e:01:c1 | true/true  | Routed: true         | IsPVID: true |
        |       |          |                   |            | IPv4 : [10.0.0.1/24] | VID : 3805   |
        |       |          |                   |            | IPv6 : []            |              |
      `),
    );
    const wide = await daemon.loxicmd('get port -o wide');
    expect(lines(wide.stdout).slice(0, 6)).toEqual(
      lines(`
        | INDEX | PORTNAME |        MAC        | LINK/STATE | MTU  | ISACTIVE/BPF |     STATISTICS      |        L3INFO        |    L2INFO    | SYNC |
        |       |          |                   |            |      |  PORT TYPE   |                     |                      |              |      |
        |-------|----------|-------------------|------------|------|--------------|---------------------|----------------------|--------------|------|
        |     5 | eth0     | 02:42:ac:1e:01:c1 | true/true  | 1500 | true/true    | rx/tx byte : 1/2    | Routed: true         | IsPVID: true |    1 |
        |       |          |                   |            |      | phy,bond     | rx/tx packets : 3/4 | IPv4 : [10.0.0.1/24] | VID : 3805   |      |
        |       |          |                   |            |      |              | rx/tx error : 0/0   | IPv6 : []            |              |      |
      `),
    );
  });

  it('prints the versions', async () => {
    daemon.on('GET /version', { body: { version: '0.9.8.3-beta', buildInfo: '2025_04_20_10h:30m-main' } });
    const { stdout } = await daemon.loxicmd('get lversion');
    expect(lines(stdout)).toEqual(
      lines(`
        | LOXILB VERSION |    LOXILB BUILD INFO    |
        |----------------|-------------------------|
        | 0.9.8.3-beta   | 2025_04_20_10h:30m-main |
      `),
    );
    expect((await loxicmd('version')).stdout).toMatch(/^Loxicmd version: \S+\nLoxicmd build info: \S+_\S+\n$/);
  });

  it('says which plugin is missing', async () => {
    expect(await daemon.loxicmd('get ep')).toEqual({
      status: 1,
      stdout: "Error: plugin 'endpoint' is not enabled on this loxilb: add it to loxilb.config.ts\n",
      stderr: '',
    });
  });

  it('keeps errors out of JSON', async () => {
    daemon.on('GET /config/loadbalancer/all', { status: 503, body: { code: 503, message: 'Maintenance mode' } });
    expect(await daemon.loxicmd('get lb -o json')).toEqual({
      status: 1,
      stdout: '',
      stderr: 'Error: Maintenance mode\n',
    });
  });

  it('reports a body that is no JSON', async () => {
    daemon.on('GET /config/loadbalancer/all', { body: '<html>' });
    expect((await daemon.loxicmd('get lb')).stdout).toMatch(/^Error: Failed to unmarshal HTTP response: \(.*\)\n$/);
  });
});

describe('create and delete', () => {
  const CREATE = 'create lb 192.168.1.9 --tcp=80:55555 --endpoints=192.168.1.31:1,192.168.1.32:1';

  it('prints the transcript of the guide', async () => {
    expect(await daemon.loxicmd(CREATE)).toEqual({
      status: 0,
      stdout: 'ProtoPortpair: map[tcp:[80:55555]]\nDebug: response.StatusCode: 200\nSuccess\n',
      stderr: '',
    });
  });

  it('fails on a refusal with status 200', async () => {
    const result = 'Error: Only Hash Selection criteria allowed for DSR mode';
    daemon.on('POST /config/loadbalancer', { body: { result } });
    expect(await daemon.loxicmd(CREATE)).toMatchObject({
      status: 1,
      stdout: `ProtoPortpair: map[tcp:[80:55555]]\nDebug: response.StatusCode: 200\n${result}\n`,
    });
  });

  it('fails on every refusal of the legacy dialect', async () => {
    daemon.on('POST /config/loadbalancer', { body: { result: 'lbrule-exists error' } });
    expect(await daemon.loxicmd(CREATE)).toMatchObject({
      status: 1,
      stdout: 'ProtoPortpair: map[tcp:[80:55555]]\nDebug: response.StatusCode: 200\nlbrule-exists error\n',
    });
  });

  it('prints the reason, the field and the remedy of a refusal', async () => {
    const error = {
      ...{ code: 'LB_WEIGHT', text: 'weight out of range: 300 (0..255)', field: 'endpoints.0.weight' },
      ...{ value: 300, remedy: 'use a weight up to 255' },
    };
    daemon.on('POST /config/loadbalancer', {
      status: 400,
      body: {
        code: 400,
        fields: null,
        message: 'Malformed arguments for API call',
        result: 'service-args error',
        error,
      },
    });
    expect(await daemon.loxicmd(CREATE)).toEqual({
      status: 1,
      stdout: 'ProtoPortpair: map[tcp:[80:55555]]\nDebug: response.StatusCode: 400\nError: service-args error\n',
      stderr:
        '  reason: weight out of range: 300 (0..255)\n' +
        '  field: endpoints.0.weight (300)\n' +
        '  remedy: use a weight up to 255\n',
    });
  });

  it('does not repeat a reason that the result says already', async () => {
    const result = 'a tunnel needs mode dsr, not default';
    const error = { code: 'LB_TUNNEL_NOT_DSR', text: result, field: 'serviceArguments.tunnel', value: 'ipip' };
    daemon.on('POST /config/loadbalancer', { status: 400, body: { code: 400, result, error } });
    expect((await daemon.loxicmd(CREATE)).stderr).toBe('  field: serviceArguments.tunnel ("ipip")\n');
  });

  it('sends every protocol and prints every result', async () => {
    const { stdout, status } = await daemon.loxicmd('delete lb 1.1.1.1 --tcp=80 --udp 53');
    expect(status).toBe(0);
    expect(lines(stdout)).toEqual([
      'PortNumberList: map[tcp:[80] udp:[53]]',
      'subResources: [hosturl any externalipaddress 1.1.1.1 port 80 portmax 0 protocol tcp]',
      'Debug: response.StatusCode: 200',
      'Success',
      'subResources: [hosturl any externalipaddress 1.1.1.1 port 53 portmax 0 protocol udp]',
      'Debug: response.StatusCode: 200',
      'Success',
    ]);
  });

  it('prints the result object alone in JSON', async () => {
    expect((await daemon.loxicmd(`${CREATE} -o json`)).stdout).toBe('{\n    "result": "Success"\n}\n');
  });

  it('flushes connection tracking', async () => {
    expect((await daemon.loxicmd('delete ct --servName=a&b')).status).toBe(0);
    expect(daemon.requests[0]).toMatchObject({ method: 'DELETE', path: '/config/conntrack/all?servName=a%26b' });
  });

  it('shows help instead of creating nothing', async () => {
    const bare = await daemon.loxicmd('create lb');
    expect(bare).toEqual(await daemon.loxicmd('create lb --help'));
    expect(bare).toEqual(await daemon.loxicmd('help create lb'));
    expect(bare.status).toBe(0);
    expect(bare.stdout).toContain('Usage:\n  loxicmd create lb IP [--select=');
    expect(bare.stdout).toContain('      --mark uint32         Specify the mark num');
    expect(bare.stdout).toContain(
      'Global Flags:\n  -s, --apiserver string   Set API server IP address (default "127.0.0.1")',
    );
    expect(daemon.requests).toEqual([]);
  });
});

describe('the command line', () => {
  it('takes global flags anywhere and in every spelling', async () => {
    daemon.on('GET /version', { body: { version: '1', buildInfo: 'x' } });
    for (const line of ['-s 127.0.0.1 get lbversion', 'get lbversion -s=127.0.0.1', 'get -s127.0.0.1 lbversion']) {
      expect((await daemon.loxicmd(line)).status).toBe(0);
    }
    await daemon.loxicmd('get lbversion --token secret');
    expect(daemon.requests.at(-1)?.authorization).toBe('secret');
    expect(daemon.requests.at(0)?.authorization).toBe('');
  });

  it('takes bool flags with a value', async () => {
    await daemon.loxicmd('create lb 1.1.1.1 --tcp=80:80 --endpoints=2.2.2.2:1 --bgp=false --monitor=t');
    expect(daemon.requests[0]?.body).toMatchObject({ serviceArguments: { BGP: false, Monitor: true } });
  });

  it('lets lists repeat', async () => {
    await daemon.loxicmd('create lb 1.1.1.1 --tcp=80:80 --endpoints=2.2.2.2:1,3.3.3.3:1 --endpoints "4.4.4.4:1"');
    expect(daemon.requests[0]?.body).toMatchObject({
      endpoints: [{ endpointIP: '2.2.2.2' }, { endpointIP: '3.3.3.3' }, { endpointIP: '4.4.4.4' }],
    });
  });

  it.each([
    ['get lb --nope', 'unknown flag: --nope'],
    ['--nope', 'unknown flag: --nope'],
    ['get --nope', 'unknown flag: --nope'],
    ['create lb 1.1.1.1 -allow', "unknown shorthand flag: 'a' in -allow"],
    ['create lb 1.1.1.1 --mark', 'flag needs an argument: --mark'],
    [
      'create lb 1.1.1.1 --mark=x',
      'invalid argument "x" for "--mark" flag: strconv.ParseUint: parsing "x": invalid syntax',
    ],
    [
      'create lb 1.1.1.1 --mark=4294967296',
      'invalid argument "4294967296" for "--mark" flag: strconv.ParseUint: parsing "4294967296": value out of range',
    ],
    [
      'create lb 1.1.1.1 --bgp=x',
      'invalid argument "x" for "--bgp" flag: strconv.ParseBool: parsing "x": invalid syntax',
    ],
    [
      'get lb --port 70000',
      'invalid argument "70000" for "-p, --port" flag: strconv.ParseUint: parsing "70000": value out of range',
    ],
    ['completion', 'accepts 1 arg(s), received 0'],
    ['completion foo', 'invalid argument "foo" for "loxicmd completion"'],
    ['save --all --lb', 'if any flags in the group [all lb] are set none of the others can be; [all lb] were all set'],
  ])('refuses `%s`', async (line, message) => {
    const { status, stdout, stderr } = await loxicmd(line);
    expect(status).toBe(1);
    expect(stdout).toBe('');
    expect(stderr.startsWith(`Error: ${message}\nUsage:\n  loxicmd`)).toBe(true);
  });

  it('knows a slip of the pen', async () => {
    expect((await loxicmd('gte')).stderr).toBe(
      'Error: unknown command "gte" for "loxicmd"\n\nDid you mean this?\n\tget\n\nRun \'loxicmd --help\' for usage.\n',
    );
    expect(await loxicmd('frobnicate x')).toEqual({
      status: 1,
      stdout: '',
      stderr: 'Error: unknown command "frobnicate" for "loxicmd"\nRun \'loxicmd --help\' for usage.\n',
    });
  });

  it('refuses objects neither it nor the daemon knows', async () => {
    const { status, stdout } = await daemon.loxicmd('get foo');
    expect(status).toBe(1);
    expect(stdout.startsWith('Error: unknown command "[foo]"for "loxicmd" \nRun "loxicmd --help" for usage.\n')).toBe(
      true,
    );
    expect((await loxicmd('create')).stdout).toContain('Error: unknown command "[]"for "loxicmd" \n');
  });

  it('answers help for topics it has, and says which it has not', async () => {
    expect((await loxicmd('help get ct')).stdout).toContain('Aliases:\n  conntrack, ct, conntracks, cts');
    expect((await loxicmd('help foo')).stderr).toContain('Unknown help topic [`foo`]');
    expect((await loxicmd('--help')).stdout).toContain('Available Commands:\n  apply      Apply configuration');
  });

  it('explains a refused connection', async () => {
    expect(await loxicmd('get lb -p 1')).toEqual({
      status: 1,
      stdout:
        'Error: Get "http://127.0.0.1:1/netlox/v1/config/loadbalancer/all": dial tcp 127.0.0.1:1: connect: connection refused\n',
      stderr: '',
    });
    expect((await loxicmd('get lb -s ::1 -p 1')).stdout).toContain('"http://[::1]:1/netlox');
    expect(lines((await loxicmd('delete lb --name=x -p 1')).stdout)).toEqual([
      'Error: Failed to delete LoadBalancer(Name: x)',
      'Error: Delete "http://127.0.0.1:1/netlox/v1/config/loadbalancer/name/x": dial tcp 127.0.0.1:1: connect: connection refused',
    ]);
  });

  it('explains a timeout', async () => {
    daemon.on('GET /config/loadbalancer/all', { body: {}, delayMs: 3000 });
    expect((await daemon.loxicmd('get lb -t 1')).stdout).toBe(
      `Error: Get "http://127.0.0.1:${daemon.port}/netlox/v1/config/loadbalancer/all": context deadline exceeded\n`,
    );
  });

  it.each(['bash', 'zsh', 'fish', 'powershell'])('writes a completion script for %s', async (shell) => {
    const { status, stdout } = await loxicmd(`completion ${shell}`);
    expect(status).toBe(0);
    expect(stdout).toContain('loadbalancer');
    expect(stdout).toContain('--endpoints');
  });
});

describe('plugins this client was not built with', () => {
  const greeting = {
    name: 'greeting',
    aliases: ['greet'],
    kind: 'Greeting',
    kindAliases: [],
    plugin: 'hello',
    path: '/config/greeting',
    envelope: 'greetingAttr',
    summary: 'Get greetings',
    columns: ['NAME', 'TEXT'],
    create: {
      usage: 'greeting NAME [--text=<text>] [--times=<n>]',
      args: [{ name: 'name', member: 'who.name' }],
      flags: [
        { name: 'text', member: 'text', type: 'string', help: 'What to say' },
        { name: 'times', member: 'times', type: 'uint32', help: 'How often' },
      ],
    },
    delete: {
      usage: 'greeting NAME',
      args: [{ name: 'name', member: 'who.name' }],
      flags: [],
      pathTemplate: '/config/greeting/name/:name',
    },
  };
  beforeEach(() => {
    daemon.on('GET /commands', { body: { commands: [greeting] } });
  });

  it('creates and deletes what the daemon describes', async () => {
    expect((await daemon.loxicmd('create greet bob --times=3')).stdout).toBe(
      'Debug: response.StatusCode: 200\nSuccess\n',
    );
    expect(daemon.requests.at(-1)?.body).toEqual({ who: { name: 'bob' }, times: 3 });
    await daemon.loxicmd('delete greeting a/b');
    expect(daemon.requests.at(-1)).toMatchObject({ method: 'DELETE', path: '/config/greeting/name/a%2Fb' });
  });

  it('shows tables the daemon lays out, and help', async () => {
    daemon.on('GET /commands/greeting/table?wide=true', { body: { columns: ['NAME'], rows: [['bob'], ['eve']] } });
    expect(lines((await daemon.loxicmd('get greeting -o wide')).stdout)).toEqual(
      lines(`
        | NAME |
        |------|
        | bob  |
        | eve  |
      `),
    );
    expect((await daemon.loxicmd('create greeting')).stdout).toContain('--times uint32   How often');
  });
});
