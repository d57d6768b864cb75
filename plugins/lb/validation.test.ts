import { isLoxilbError, type LoxilbError } from '@loxilb/sdk';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lbRequest } from './schema.js';
import { body } from './testing/world.js';
import { checkRequest } from './validation.js';

const limits = { maxEndpointsPerRule: 64, maxSecondaryIPs: 3 };

function faultOf(request: unknown): LoxilbError {
  try {
    checkRequest(lbRequest.parse(request), limits);
  } catch (error) {
    if (isLoxilbError(error)) return error;
    throw error;
  }
  throw new Error('no fault');
}

const many = (count: number) => Array.from({ length: count }, (_, index) => `10.0.1.${index}`);
const endpoint = (given: Record<string, unknown>, service: Record<string, unknown> = {}) => ({
  ...body(service),
  endpoints: [{ endpointIP: '10.0.0.1', targetPort: 8080, weight: 1, ...given }],
});

const PRIVATE = 'malformed-service privateIP error';
const hostonearm = { mode: 5, externalIP: '0.0.0.0' };
const dsr = (service: Record<string, unknown>, given: Record<string, unknown> = {}) =>
  endpoint({ targetPort: 80, ...given }, { mode: 3, sel: 1, ...service });
const sctp = (secondary: readonly string[], service: Record<string, unknown> = {}) => ({
  ...body({ protocol: 'sctp', ...service }),
  secondaryIPs: secondary.map((secondaryIP) => ({ secondaryIP })),
});
const spans = (...ports: readonly (readonly [number, number])[]) => ({
  ...body(),
  endpoints: ports.map(([targetPort, targetPortMax]) => ({
    endpointIP: '10.0.0.1',
    targetPort,
    targetPortMax,
    weight: 1,
  })),
});
const check = (request: unknown, most = limits) => checkRequest(lbRequest.parse(request), most);

describe('checkRequest', () => {
  it.each([
    ['dsr without hash', body({ mode: 3 }), 200, 'Error: Only Hash Selection criteria allowed for DSR mode'],
    ['address', body({ externalIP: 'nonsense' }), 400, 'malformed-service error'],
    ['empty address', body({ externalIP: '' }), 400, 'malformed-service error'],
    ['private address', body({ privateIP: '10.0.0' }), 400, 'malformed-service privateIP error'],
    ['idle time', body({ inactiveTimeOut: 86_401 }), 400, 'service-args error'],
    ['negative idle time', body({ inactiveTimeOut: -1 }), 400, 'service-args error'],
    ['probe type', body({ probetype: 'http' }), 400, 'malformed-service-ptype error'],
    ['probe port missing', body({ probetype: 'tcp' }), 400, 'malformed-service-pport error'],
    ['probe port too much', body({ probetype: 'ping', probeport: 80 }), 400, 'malformed-service-pport error'],
    ['probe port alone', body({ probeport: 80 }), 400, 'malformed-service-pport error'],
    ['no endpoints', body({}, []), 400, 'endpoints-range error'],
    ['too many endpoints', body({}, many(65)), 400, 'endpoints-range error'],
    ['icmp with a port', body({ protocol: 'icmp', port: 80 }), 400, 'malformed-service error'],
    ['proxy protocol', body({ protocol: 'udp', proxyprotocolv2: true }), 400, 'proxy-proto-v2 not tcp service error'],
    ['no protocol', body({ protocol: undefined }), 400, 'malformed-proto error'],
    ['n3 over tcp', body({ sel: 6 }), 400, 'non-udp-n3-args error'],
    ['port', body({ port: 70_000 }), 400, 'serv-port-args range error'],
    ['negative port', body({ port: -1 }), 400, 'serv-port-args range error'],
    ['port 0', body({ port: 0 }), 400, 'serv-port-args range error'],
    ['portMax', body({ port: 80, portMax: 79 }), 400, 'serv-port-args range error'],
    ['hostonearm address', body({ mode: 5 }), 400, 'hostarm-args error'],
    ['endpoint address', endpoint({ endpointIP: 'x' }), 400, 'malformed-lbep error'],
    ['endpoint port', endpoint({ targetPort: 70_000 }), 400, 'malformed-lbep error'],
    ['endpoint port 0', endpoint({ targetPort: 0 }), 400, 'malformed-lbep error'],
    ['weight', endpoint({ weight: 256 }), 400, 'malformed-weight error'],
    ['icmp endpoint port', endpoint({}, { protocol: 'icmp' }), 400, 'malformed-service error'],
    ['dsr port', endpoint({}, { mode: 3, sel: 1 }), 400, 'malformed-service dsr-port error'],
    ['endpoint twice', body({}, ['10.0.0.1', '10.0.0.1']), 400, 'malformed-lbep error'],
    ['multicast service', body({ externalIP: '224.0.0.1' }), 400, 'malformed-service error'],
    ['no address at all', body({ externalIP: '0.0.0.0' }), 400, 'malformed-service error'],
    ['private address of another family', body({ privateIP: '::1' }), 400, 'malformed-service privateIP error'],
    ['secondary of tcp', { ...body(), secondaryIPs: [{ secondaryIP: '1.1.1.1' }] }, 400, 'secondaryIP-args error'],
    ['bad prefix', { ...body(), allowedSources: [{ prefix: '10.0.0.0/33' }] }, 400, 'rule-allowed-src error'],
    ['a drain of more than a day', body({ drainTimeout: 86_401 }), 400, 'service-args error'],
    ['a drain of less than nothing', body({ drainTimeout: -1 }), 400, 'service-args error'],
    [
      'prefixes of the other family',
      { ...body(), allowedSources: [{ prefix: 'fd00::/8' }] },
      400,
      'rule-allowed-src error',
    ],
    ['no prefix', { ...body(), allowedSources: [{ prefix: '10.0.0.1' }] }, 400, 'rule-allowed-src error'],
    ['too many secondary', sctp(['1.1.1.1', '1.1.1.2', '1.1.1.3', '1.1.1.4']), 400, 'secondaryIP-args len error'],
    ['a secondary that is none', sctp(['1.1.1']), 400, 'malformed-secIP error'],
    ['a secondary of no machine', sctp(['224.0.0.1']), 400, 'malformed-secIP error'],
    ['a secondary twice', sctp(['1.1.1.1', '1.1.1.1']), 400, 'malformed-secIP error'],
    ['the address as secondary', sctp(['20.20.20.1']), 400, 'malformed-secIP error'],
    ['the private address as secondary', sctp(['1.1.1.1'], { privateIP: '1.1.1.1' }), 400, 'malformed-secIP error'],
    ['IPv6 secondary', sctp(['2001:db8::1']), 400, 'malformed-secIP nat46 error'],
    ['icmp range', body({ protocol: 'icmp', portMax: 5 }), 400, 'malformed-service error'],
    ['dsr to another span', dsr({ portMax: 81 }, { targetPortMax: 82 }), 400, 'malformed-service dsr-port error'],
    ['dsr to part of a range', dsr({ portMax: 85 }, { targetPort: 81 }), 400, 'malformed-service dsr-port error'],
    ['a span backwards', endpoint({ targetPortMax: 8079 }), 400, 'malformed-lbep error'],
    ['a span too far', endpoint({ targetPortMax: 65_536 }), 400, 'malformed-lbep error'],
    [
      'a span of icmp',
      endpoint({ targetPort: 0, targetPortMax: 9 }, { protocol: 'icmp' }),
      400,
      'malformed-lbep error',
    ],
    ['a port twice', spans([8080, 8090], [8090, 8090]), 400, 'malformed-lbep error'],
    ['the other private address of hostonearm', body({ ...hostonearm, privateIP: '1.1.1.1' }), 400, PRIVATE],
    [
      'dsr with proxy protocol',
      dsr({ proxyprotocolv2: true }),
      400,
      'proxy protocol v2 cannot work in mode dsr: packets are left as they are',
    ],
    [
      'proxy protocol to another family',
      body({ proxyprotocolv2: true }, ['10.0.0.1', '2001:db8::1']),
      400,
      'proxy protocol v2 cannot tell 2001:db8::1 port 8080 the clients of 20.20.20.1:80/tcp: they are of another family',
    ],
    ['a tunnel without dsr', body({ tunnel: 'ipip' }), 400, 'a tunnel needs mode dsr, not default'],
  ])('refuses %s with the known text', (_, request, status, result) => {
    const fault = faultOf(request);
    expect({ status: fault.status, result: fault.result }).toEqual({ status, result });
    expect(fault.code).toMatch(/^LB_/);
  });

  it.each([
    ['mode fullproxy', body({ mode: 4 })],
    ['selection n2', body({ sel: 5 })],
    ['selection n3', body({ sel: 6, protocol: 'udp' })],
    ['TLS (security)', body({ security: 1 })],
    ['a host', body({ host: 'loxilb.io' })],
  ])('refuses %s as not supported yet', (what, request) => {
    const fault = faultOf(request);
    expect(fault).toMatchObject({ code: 'LB_NOT_SUPPORTED', status: 400, result: `${what} is not supported yet` });
    expect(fault.field).toBeDefined();
  });

  it('names field and value', () => {
    expect(faultOf(endpoint({ weight: 300 }))).toMatchObject({
      code: 'LB_WEIGHT_RANGE',
      field: 'endpoints.0.weight',
      value: 300,
    });
    expect(faultOf(body({ port: 70_000 }))).toMatchObject({ field: 'serviceArguments.port', value: 70_000 });
  });

  it('reports the first fault in the known order', () => {
    expect(faultOf(body({ externalIP: 'x', inactiveTimeOut: 100_000, mode: 4 })).code).toBe('LB_VIP_MALFORMED');
    expect(faultOf(body({ inactiveTimeOut: 100_000, mode: 4 }, [])).code).toBe('LB_TIMEOUT_RANGE');
    expect(faultOf(body({ mode: 4, portMax: 1 })).code).toBe('LB_PORT_RANGE');
  });

  it('fills in defaults and one spelling of addresses', () => {
    const rule = checkRequest(
      lbRequest.parse(body({ externalIP: '2001:DB8:0::1', protocol: 'udp', probetype: 'none' }, ['2001:db8::A'])),
      limits,
    );
    expect(rule).toMatchObject({ externalIP: '2001:db8::1', inactiveTimeOut: 20, sel: 0, mode: 0, block: 0, name: '' });
    expect(rule.endpoints[0]?.endpointIP).toBe('2001:db8::a');
    expect(rule.monitor).toBe(false);
    const probed = checkRequest(lbRequest.parse(body({ probetype: 'tcp', probeport: 80 })), limits);
    expect(probed).toMatchObject({ monitor: true, inactiveTimeOut: 240, probe: { type: 'tcp', port: 80 } });
  });

  it('takes portMax equal to port as no range', () => {
    expect(checkRequest(lbRequest.parse(body({ portMax: 80 })), limits)).not.toHaveProperty('portMax');
  });

  it.each([
    ['dsr', dsr({}), { mode: 3, sel: 1 }],
    ['a tunnel', dsr({ tunnel: 'ipip' }), { tunnel: 'ipip' }],
    ['dsr over a range', dsr({ portMax: 81 }, { targetPortMax: 81 }), { portMax: 81 }],
    ['dsr over a range, to its port', dsr({ portMax: 81 }), { portMax: 81 }],
    ['hostonearm', body(hostonearm), hostonearm],
    ['hostonearm of IPv6', body({ mode: 5, externalIP: '::' }, ['2001:db8::1']), { externalIP: '::' }],
    ['sctp', sctp(['1.1.1.2', '1.1.1.1']), { protocol: 'sctp', secondaryIPs: ['1.1.1.2', '1.1.1.1'] }],
    ['a port range', body({ portMax: 81 }), { portMax: 81 }],
    ['all ports', body({ port: 1, portMax: 65_535 }), { port: 1, portMax: 65_535 }],
    ['proxy protocol v2', body({ proxyprotocolv2: true }), { proxyprotocolv2: true }],
    ['egress', body({ egress: true, externalIP: '0.0.0.0' }), { egress: true, externalIP: '0.0.0.0' }],
    ['NAT64', body({ externalIP: '2001:db8::1' }), { externalIP: '2001:db8::1' }],
    ['NAT46', body({}, ['2001:db8::1', '10.0.0.1']), { externalIP: '20.20.20.1' }],
  ])('takes %s', (_, request, rule) => {
    expect(check(request)).toMatchObject(rule);
  });

  it('keeps prefixes without host bits and once', () => {
    const allowedSources = ['10.2.0.5/16', '10.2.0.0/16', '2001:DB8::5/32', '0.0.0.0/0'].map((prefix) => ({ prefix }));
    expect(check({ ...body(), allowedSources }).allowedSources).toEqual(['10.2.0.0/16', '2001:db8::/32', '0.0.0.0/0']);
  });

  it('leaves members out that are not wanted', () => {
    const rule = check({ ...body({ tunnel: 'auto', egress: false }), allowedSources: [], secondaryIPs: [] });
    for (const name of ['tunnel', 'egress', 'proxyprotocolv2', 'allowedSources', 'secondaryIPs', 'portMax']) {
      expect(rule).not.toHaveProperty(name);
    }
  });

  it('counts a span of ports as one endpoint', () => {
    const ports = Array.from({ length: 100 }, (_, index) => 5201 + index);
    const endpoints = many(3).flatMap((endpointIP) =>
      ports.map((targetPort) => ({ endpointIP, targetPort, weight: 1 })),
    );
    expect(check({ ...body(), endpoints }).endpoints).toEqual(
      many(3).map((endpointIP) => ({ endpointIP, targetPort: 5201, targetPortMax: 5300, weight: 1 })),
    );
    const one = { maxEndpointsPerRule: 2, maxSecondaryIPs: 3 };
    expect(() => check({ ...body(), endpoints }, one)).toThrow('3 endpoints, a rule has 1 to 2');
  });

  it('takes up to seven secondary addresses when it may', () => {
    const seven = Array.from({ length: 7 }, (_, index) => `1.1.1.${index + 1}`);
    expect(check(sctp(seven), { ...limits, maxSecondaryIPs: 7 }).secondaryIPs).toEqual(seven);
  });

  it('answers anything the schema lets through with a rule or a coded error', () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string());
    const number = fc.oneof(fc.integer({ min: -5, max: 90_000 }), fc.maxSafeInteger());
    const service = fc.record(
      {
        externalIP: address,
        privateIP: address,
        port: number,
        portMax: number,
        protocol: fc.constantFrom('tcp', 'udp', 'sctp', 'icmp'),
        sel: fc.integer({ min: 0, max: 6 }),
        mode: fc.integer({ min: 0, max: 5 }),
        inactiveTimeOut: fc.integer(),
        probetype: fc.constantFrom('tcp', 'http', 'ping', 'none'),
        probeport: fc.integer({ min: 0, max: 65_535 }),
        block: fc.integer({ min: 0 }),
        name: fc.string(),
      },
      { requiredKeys: ['externalIP', 'port'] },
    );
    const endpoints = fc.array(fc.record({ endpointIP: address, targetPort: number, weight: number }), {
      maxLength: 5,
    });
    fc.assert(
      fc.property(service, endpoints, (serviceArguments, given) => {
        const request = lbRequest.parse({ serviceArguments, endpoints: given });
        try {
          const rule = checkRequest(request, limits);
          expect(rule.endpoints.length).toBeLessThanOrEqual(given.length);
        } catch (error) {
          expect(isLoxilbError(error)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});
