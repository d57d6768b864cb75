import { CommandError, type CommandRequest, type FlagValue, type TableSpec } from '@loxilb/sdk/command';
import { describe, expect, it } from 'vitest';
import { command } from './command.js';

type Flags = Record<string, FlagValue>;

interface Planned {
  readonly printed: string[];
  readonly requests: CommandRequest[];
  readonly error: string | undefined;
}

function plan(verb: 'create' | 'delete', args: string[], flags: Flags): Planned {
  const printed: string[] = [];
  try {
    const requests = command[verb]?.plan(args, flags, (line) => printed.push(line)) ?? [];
    return { printed, requests, error: undefined };
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return { printed, requests: [], error: error.message };
  }
}

interface Body {
  readonly serviceArguments: Record<string, unknown>;
  readonly endpoints: { endpointIP: string; targetPort: number; weight: number }[] | null;
  readonly secondaryIPs: unknown;
  readonly allowedSources: unknown;
}

function bodies({ requests }: Planned): Body[] {
  return requests.map(({ body }) => body as Body);
}

const two = ['10.0.0.1:1', '10.0.0.2:2'];

describe('create lb', () => {
  it('sends the body loxicmd always sent', () => {
    const planned = plan('create', ['192.168.1.10'], {
      tcp: ['8080:55555'],
      endpoints: ['192.168.1.31:40', '192.168.1.32:60'],
      select: 'priority',
    });
    expect(planned.printed).toEqual(['ProtoPortpair: map[tcp:[8080:55555]]']);
    expect(planned.requests).toEqual([
      {
        method: 'POST',
        path: '/config/loadbalancer',
        body: {
          serviceArguments: {
            externalIP: '192.168.1.10',
            port: 8080,
            protocol: 'tcp',
            sel: 2,
            mode: 0,
            BGP: false,
            Monitor: false,
            inactiveTimeOut: 0,
            block: 0,
            proxyprotocolv2: false,
            egress: false,
          },
          secondaryIPs: null,
          allowedSources: null,
          endpoints: [
            { endpointIP: '192.168.1.31', targetPort: 55555, weight: 40, state: '', counter: '' },
            { endpointIP: '192.168.1.32', targetPort: 55555, weight: 60, state: '', counter: '' },
          ],
        },
      },
    ]);
  });

  it('passes every flag on', () => {
    const [body] = bodies(
      plan('create', ['1.1.1.1'], {
        ...{ sctp: ['80:80'], endpoints: two, select: 'lc', mode: 'fullnat', security: 'e2ehttps', bgp: true },
        ...{ monitor: true, ppv2en: true, egress: true, inatimeout: 30, mark: 10, name: 'web', host: 'a.b/c' },
        ...{ secips: ['1.1.1.2', '1.1.1.3'], sources: ['10.0.0.0/8'], detachEP: true },
      }),
    );
    expect(body?.serviceArguments).toEqual({
      ...{ externalIP: '1.1.1.1', port: 80, protocol: 'sctp', sel: 4, mode: 2, security: 2, BGP: true, Monitor: true },
      ...{ proxyprotocolv2: true, egress: true, inactiveTimeOut: 30, block: 10, name: 'web', host: 'a.b/c', oper: 2 },
    });
    expect(body?.secondaryIPs).toEqual([{ secondaryIP: '1.1.1.2' }, { secondaryIP: '1.1.1.3' }]);
    expect(body?.allowedSources).toEqual([{ prefix: '10.0.0.0/8' }]);
  });

  it('prefers attaching when both operations are asked for', () => {
    const flags = { tcp: ['80:80'], endpoints: two, attachEP: true, detachEP: true };
    expect(bodies(plan('create', ['1.1.1.1'], flags))[0]?.serviceArguments.oper).toBe(1);
  });

  it('makes one rule per protocol, in the order tcp, udp, sctp, icmp', () => {
    const planned = plan('create', ['1.1.1.1'], {
      ...{ icmp: true, sctp: ['3:3'], udp: ['53:53'], tcp: ['80:55555'], endpoints: two },
    });
    expect(planned.printed).toEqual(['ProtoPortpair: map[icmp:[0:0] sctp:[3:3] tcp:[80:55555] udp:[53:53]]']);
    expect(bodies(planned).map(({ serviceArguments }) => [serviceArguments.protocol, serviceArguments.port])).toEqual([
      ['tcp', 80],
      ['udp', 53],
      ['sctp', 3],
      ['icmp', 0],
    ]);
  });

  it.each([
    { items: ['8080-8081:32015'], port: 8080, portMax: 8081, targets: [32015] },
    { items: ['8081-8080:32015'], port: 8080, portMax: 8081, targets: [32015] },
    { items: ['80:8080', '81:8181'], port: 80, portMax: 81, targets: [8080] },
    { items: ['5000:5201-5203'], port: 5000, portMax: undefined, targets: [5201, 5202, 5203] },
    { items: ['80:8080', '80:8081'], port: 80, portMax: undefined, targets: [8080, 8081] },
  ])('reads $items as port $port, portMax $portMax, targets $targets', ({ items, port, portMax, targets }) => {
    const [body] = bodies(plan('create', ['1.1.1.1'], { tcp: items, endpoints: two }));
    expect(body?.serviceArguments).toMatchObject({ port, ...(portMax !== undefined && { portMax }) });
    expect(body?.serviceArguments.portMax).toBe(portMax);
    expect(body?.endpoints?.map(({ endpointIP, targetPort }) => [endpointIP, targetPort])).toEqual(
      ['10.0.0.1', '10.0.0.2'].flatMap((ip) => targets.map((target) => [ip, target])),
    );
  });

  it.each([
    { items: ['1-65535:1-65535'], port: 1, portMax: 65_535, target: { targetPort: 1, targetPortMax: 65_535 } },
    { items: ['5000:5201-5300'], port: 5000, portMax: undefined, target: { targetPort: 5201, targetPortMax: 5300 } },
  ])('sends a long span of $items as one entry for each endpoint', ({ items, port, portMax, target }) => {
    const [body] = bodies(plan('create', ['1.1.1.1'], { tcp: items, endpoints: two }));
    expect(body?.serviceArguments).toMatchObject({ port, ...(portMax !== undefined && { portMax }) });
    expect(body?.endpoints).toEqual([
      { endpointIP: '10.0.0.1', ...target, weight: 1, state: '', counter: '' },
      { endpointIP: '10.0.0.2', ...target, weight: 2, state: '', counter: '' },
    ]);
  });

  it('sends up to 64 ports as clients always did', () => {
    const [body] = bodies(plan('create', ['1.1.1.1'], { tcp: ['80:1-64'], endpoints: ['10.0.0.1:1'] }));
    expect(body?.endpoints).toHaveLength(64);
    expect(body?.endpoints?.[63]).toMatchObject({ targetPort: 64 });
  });

  it.each([['80:80'], ['80-81:80-81'], ['1-65535:1-65535'], ['80-81:80']])('takes %s in dsr mode', (item) => {
    const flags = { tcp: [item], endpoints: two, mode: 'dsr', select: 'hash', tunnel: 'ipip' };
    expect(bodies(plan('create', ['1.1.1.1'], flags))[0]?.serviceArguments).toMatchObject({ mode: 3, tunnel: 'ipip' });
  });

  it('leaves the tunnel to the daemon unless one is asked for', () => {
    for (const tunnel of [undefined, 'auto']) {
      const flags = { tcp: ['80:80'], endpoints: two, mode: 'dsr', select: 'hash', tunnel };
      expect(bodies(plan('create', ['1.1.1.1'], flags))[0]?.serviceArguments).not.toHaveProperty('tunnel');
    }
  });

  it('keeps the order and the duplicates of endpoints, and splits IPv6 at the last colon', () => {
    const [body] = bodies(
      plan('create', ['2001::1'], { tcp: ['2020:8080'], endpoints: ['4ffe::1:1', '31.31.31.1:2', '4ffe::1:1'] }),
    );
    expect(body?.endpoints?.map(({ endpointIP, weight }) => [endpointIP, weight])).toEqual([
      ['4ffe::1', 1],
      ['31.31.31.1', 2],
      ['4ffe::1', 1],
    ]);
  });

  it.each<{ title: string; flags: Flags; error: string; ip?: string; silent?: boolean }>([
    {
      title: 'a bad address',
      ip: '1.1.1',
      flags: {},
      error: "Error: externel IP '1.1.1' is invalid format",
      silent: true,
    },
    {
      title: 'secondary addresses without SCTP',
      flags: { tcp: ['80:80'], secips: ['2.2.2.2'] },
      error: 'Secondary IPs allowed in SCTP only',
      silent: true,
    },
    {
      title: 'an unknown selection',
      flags: { tcp: ['80:80'], select: 'best' },
      error: "Error: select 'best' is invalid (rr, hash, priority, persist, lc, n2, n3)",
      silent: true,
    },
    {
      title: 'an endpoint without weight',
      flags: { tcp: ['80:80'], endpoints: ['10.0.0.1'] },
      error: "Error: endpoint '10.0.0.1' is invalid format",
    },
    {
      title: 'a weight that is no number',
      flags: { tcp: ['80:80'], endpoints: ['10.0.0.1:x'] },
      error: "Error: endpoint's weight 'x' is invalid format",
    },
    {
      title: 'a weight that would wrap',
      flags: { tcp: ['80:80'], endpoints: ['10.0.0.1:300'] },
      error: "Error: endpoint's weight '300' is invalid format",
    },
    { title: 'a port that is no number', flags: { tcp: ['a:80'] }, error: "Error: port 'a' is not integer" },
    {
      title: 'a port that would wrap',
      flags: { tcp: ['70000:80'] },
      error: "Error: port '70000' is out of range (0-65535)",
    },
    { title: 'a bad target', flags: { tcp: ['80:b'] }, error: "Error: targetPort0 'b' is not integer" },
    { title: 'a bad start of targets', flags: { tcp: ['80:b-9'] }, error: "Error: targetPort1 'b' is not integer" },
    { title: 'a bad end of targets', flags: { tcp: ['80:9-b'] }, error: "Error: targetPort2 'b' is not integer" },
    {
      title: 'targets that run backwards',
      flags: { tcp: ['80:9-8'] },
      error: "Error: targetPort2 '8' <  targetPort2 '9'",
    },
    { title: 'no pair at all', flags: { tcp: ['80'] }, error: 'portPair: None specified' },
    {
      title: 'a port without target',
      flags: { tcp: ['80', '81:80'] },
      error: "Error: '80' has no target port, as in '80:80'",
    },
    {
      title: 'ports apart',
      flags: { tcp: ['80:80', '443:443'] },
      error: "Error: ports 80 and 443 are two rules, one command each; '80-443:' is a range",
    },
    { title: 'a negative port', flags: { tcp: ['-1:80'] }, error: "Error: port '-1' is out of range (0-65535)" },
    { title: 'three service ports', flags: { tcp: ['1:1', '2:2', '3:3'] }, error: 'portPair: None specified' },
    {
      title: 'port translation in dsr mode',
      flags: { tcp: ['4040:8080'], endpoints: two, mode: 'dsr', select: 'hash' },
      error: 'Error: No port-translation in dsr mode',
    },
    {
      title: 'a span translated in dsr mode',
      flags: { tcp: ['80-81:80-82'], endpoints: two, mode: 'dsr', select: 'hash' },
      error: 'Error: No port-translation in dsr mode',
    },
    {
      title: 'an unknown tunnel',
      flags: { tcp: ['80:80'], tunnel: 'gre' },
      error: "Error: tunnel 'gre' is invalid (auto, ipip)",
      silent: true,
    },
    { title: 'no protocol', flags: {}, error: 'Error: no service port: give --tcp, --udp, --sctp or --icmp' },
  ])('refuses $title', ({ flags, error, ip = '1.1.1.1', silent = false }) => {
    const planned = plan('create', [ip], flags);
    expect(planned.error).toBe(error);
    expect(planned.printed).toHaveLength(silent ? 0 : 1);
    if (!silent) expect(planned.printed[0]).toMatch(/^ProtoPortpair: map\[.*\]$/);
  });

  it('complains about further arguments and goes on', () => {
    const planned = plan('create', ['1.1.1.1', 'x'], { tcp: ['80:80'], endpoints: two });
    expect(planned.printed[0]).toBe('create lb command get so many args\n[1.1.1.1 x]');
    expect(planned.requests).toHaveLength(1);
  });
});

describe('drains', () => {
  const service = (flags: Flags) =>
    bodies(plan('create', ['1.1.1.1'], { tcp: ['80:80'], endpoints: two, ...flags }))[0];

  it('are asked for with a rule, a detach or a delete, and not sent otherwise', () => {
    expect(service({ detachEP: true, drain: 60 })?.serviceArguments).toMatchObject({ oper: 2, drainTimeout: 60 });
    expect(service({ drain: 0 })?.serviceArguments).toMatchObject({ drainTimeout: 0 });
    expect(service({})?.serviceArguments).not.toHaveProperty('drainTimeout');
    const paths = (args: string[], flags: Flags) => plan('delete', args, flags).requests.map(({ path }) => path);
    expect(paths(['1.1.1.1'], { tcp: ['80'], drain: 60 })[0]).toMatch(/\?bgp=false&block=0&drain=60$/);
    expect(paths([], { name: 'web', drain: 60 })).toEqual(['/config/loadbalancer/name/web?drain=60']);
    expect(paths([], { name: 'web' })).toEqual(['/config/loadbalancer/name/web']);
  });

  it('and what becomes of flows of a failed endpoint', () => {
    expect(service({ epdown: 'reset' })?.serviceArguments).toMatchObject({ onEndpointDown: 'reset' });
    const planned = plan('create', ['1.1.1.1'], { tcp: ['80:80'], endpoints: two, epdown: 'kill' });
    expect(planned.error).toBe("Error: epdown 'kill' is invalid (keep, cut, reset)");
  });

  it('are rows of their own after the endpoints of the rule', () => {
    const rule = {
      serviceArguments: { externalIP: '1.1.1.1', port: 80, protocol: 'tcp' },
      endpoints: [{ endpointIP: '10.0.0.1', targetPort: 80, weight: 1, state: 'active', counter: '1:60' }],
      draining: [{ endpointIP: '10.0.0.2', targetPort: 80, state: 'draining', counter: '2:120' }],
    };
    const rows = command.get?.wide?.rows?.(rule as never) ?? [];
    expect(rows.map((cells) => cells.slice(10))).toEqual([
      ['10.0.0.1', '80', '1', '-', '1:60'],
      ['10.0.0.2', '80', '', 'draining', '2:120'],
    ]);
  });
});

describe('delete lb', () => {
  it('names the rule by host, address, port and protocol', () => {
    const planned = plan('delete', ['1.1.1.1'], { tcp: ['80'], mark: 5, bgp: true });
    expect(planned.printed).toEqual(['PortNumberList: map[tcp:[80]]']);
    expect(planned.requests).toEqual([
      {
        method: 'DELETE',
        path: '/config/loadbalancer/hosturl/any/externalipaddress/1.1.1.1/port/80/portmax/0/protocol/tcp?bgp=true&block=5',
        before: ['subResources: [hosturl any externalipaddress 1.1.1.1 port 80 portmax 0 protocol tcp]'],
        transportError: 'Error: Failed to delete LoadBalancer(ExternalIP: 1.1.1.1, Protocol:tcp, Port:[80])',
      },
    ]);
  });

  it('takes ranges, icmp, hosts with slashes and IPv6, and removes all protocols', () => {
    const planned = plan('delete', ['2001::1'], { udp: ['90-80'], icmp: true, host: 'a.io/x y' });
    expect(planned.printed).toEqual(['PortNumberList: map[icmp:[0 0] udp:[90 80]]']);
    expect(planned.requests.map(({ path }) => path.replace('/config/loadbalancer/hosturl/a.io%2Fx%20y', ''))).toEqual([
      '/externalipaddress/2001::1/port/80/portmax/90/protocol/udp?bgp=false&block=0',
      '/externalipaddress/2001::1/port/0/portmax/0/protocol/icmp?bgp=false&block=0',
    ]);
  });

  it('removes by name alone', () => {
    expect(plan('delete', [], { name: 'web/1', tcp: ['80'] })).toMatchObject({
      printed: [],
      requests: [{ method: 'DELETE', path: '/config/loadbalancer/name/web%2F1' }],
    });
  });

  it.each<{ args: string[]; flags: Flags; error: string }>([
    { args: [], flags: {}, error: 'not valid EXTERNAL-IP' },
    {
      args: ['1.1.1.1'],
      flags: { tcp: ['1', '2', '3'] },
      error: 'Error: Too many ports in list to delete LoadBalancer(ExternalIP: 1.1.1.1, tcp, Port:[1 2 3])',
    },
    {
      args: ['1.1.1.1'],
      flags: { udp: ['x'] },
      error: 'Error: Invalid port in list to delete LoadBalancer(ExternalIP: 1.1.1.1,Port:x)',
    },
    { args: ['1.1.1.1'], flags: {}, error: 'Error: no service port: give --tcp, --udp, --sctp, --icmp or --name' },
  ])('refuses $args $flags', ({ args, flags, error }) => {
    expect(plan('delete', args, flags).error).toBe(error);
  });
});

describe('get lb', () => {
  const rule = {
    serviceArguments: {
      ...{ externalIP: '1.1.1.1', port: 8080, portMax: 8081, protocol: 'tcp', sel: 1, mode: 3, tunnel: 'ipip' },
      ...{ proxyprotocolv2: true, egress: true, inactiveTimeOut: 30, block: 7, name: 'web', monitor: true },
    },
    endpoints: [
      { endpointIP: '10.0.0.1', targetPort: 5201, targetPortMax: 5300, weight: 1, state: 'active', counter: '1:2' },
      { endpointIP: '10.0.0.2', targetPort: 80, weight: 1, state: 'inactive', counter: '0:0' },
    ],
    secondaryIPs: [{ secondaryIP: '1.1.1.2' }, { secondaryIP: '1.1.1.3' }],
    allowedSources: [{ prefix: '10.0.0.0/8' }],
  };
  const rows = (table: TableSpec | undefined) => table?.rows?.(rule as never) ?? [];

  it('shows a rule in a row', () => {
    expect(rows(command.get?.narrow)).toEqual([
      ['1.1.1.1', '8080-8081', 'tcp', 'web', '7', 'hash', 'dsr:ipip:ppv2:egress', '2', '30', 'On'],
    ]);
  });

  it('shows each endpoint in a row, spans with both ends', () => {
    const [first, second] = rows(command.get?.wide);
    expect(first).toEqual([
      ...['1.1.1.1', '1.1.1.2, 1.1.1.3', '10.0.0.0/8', '', '8080-8081', 'tcp', 'web', '7', 'hash'],
      ...['dsr:ipip:ppv2:egress', '10.0.0.1', '5201-5300', '1', 'active', '1:2'],
    ]);
    expect(second?.slice(10)).toEqual(['10.0.0.2', '80', '1', 'inactive', '0:0']);
  });

  it.each([
    [0, 'default'],
    [3, 'dsr'],
    [5, 'hostonearm'],
  ])('calls mode %i %s', (mode, text) => {
    const plain = { serviceArguments: { externalIP: '0.0.0.0', port: 80, protocol: 'tcp', mode } };
    expect(command.get?.narrow.rows?.(plain as never)[0]?.[6]).toBe(text);
  });
});

describe('yaml', () => {
  const spec = {
    ServiceArguments: {
      ExternalIP: '1.1.1.1',
      PORT: 80,
      portmax: 81,
      protocol: 'tcp',
      path: 'a.io',
      bgp: true,
      odd: 1,
    },
    endpoints: [{ endpointip: '2.2.2.2', targetport: 80, weight: 1 }],
  };

  it('matches keys whatever their case, and knows the saved names', () => {
    expect(command.fromYaml?.(spec, {})).toEqual({
      serviceArguments: { externalIP: '1.1.1.1', port: 80, portMax: 81, protocol: 'tcp', host: 'a.io', BGP: true },
      endpoints: [{ endpointIP: '2.2.2.2', targetPort: 80, weight: 1 }],
      secondaryIPs: null,
      allowedSources: null,
    });
  });

  it('reads back what save and -o yaml write', () => {
    const saved = {
      serviceArguments: { externalIP: '1.1.1.1', port: 80, protocol: 'tcp', mode: 3, sel: 1, tunnel: 'ipip' },
      endpoints: [{ endpointIP: '2.2.2.2', targetPort: 5201, targetPortMax: 5300, weight: 1, state: '', counter: '' }],
      secondaryIPs: [{ secondaryIP: '1.1.1.2' }],
      allowedSources: [{ prefix: '10.0.0.0/8' }],
    };
    expect(command.fromYaml?.(saved, {})).toEqual(saved);
  });

  it('deletes what it created', () => {
    expect(command.deletePath?.(command.fromYaml?.(spec, {}))).toBe(
      '/config/loadbalancer/hosturl/a.io/externalipaddress/1.1.1.1/port/80/portmax/81/protocol/tcp?bgp=true&block=0',
    );
  });
});
