import { isLoxilbError, type LoxilbError } from '@loxilb/sdk';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lbRequest } from './schema.js';
import { body } from './testing/world.js';
import { checkRequest } from './validation.js';

const limits = { maxEndpointsPerRule: 64 };

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
    ['IPv6 endpoint', endpoint({ endpointIP: '2001:db8::1' }), 400, 'malformed-service nat46 error'],
    ['icmp endpoint port', endpoint({}, { protocol: 'icmp' }), 400, 'malformed-service error'],
    ['dsr port', endpoint({}, { mode: 3, sel: 1 }), 400, 'malformed-service dsr-port error'],
    ['endpoint twice', body({}, ['10.0.0.1', '10.0.0.1']), 400, 'malformed-lbep error'],
    ['multicast service', body({ externalIP: '224.0.0.1' }), 400, 'malformed-service error'],
    ['no address at all', body({ externalIP: '0.0.0.0' }), 400, 'malformed-service error'],
    ['private address of another family', body({ privateIP: '::1' }), 400, 'malformed-service privateIP error'],
    ['secondary of tcp', { ...body(), secondaryIPs: [{ secondaryIP: '1.1.1.1' }] }, 400, 'secondaryIP-args error'],
    ['bad prefix', { ...body(), allowedSources: [{ prefix: '10.0.0.0/33' }] }, 400, 'rule-allowed-src error'],
  ])('refuses %s with the known text', (_, request, status, result) => {
    const fault = faultOf(request);
    expect({ status: fault.status, result: fault.result }).toEqual({ status, result });
    expect(fault.code).toMatch(/^LB_/);
  });

  it.each([
    ['mode dsr', body({ mode: 3, sel: 1, port: 8080 })],
    ['mode fullproxy', body({ mode: 4 })],
    ['mode hostonearm', body({ mode: 5, externalIP: '0.0.0.0' })],
    ['protocol sctp', body({ protocol: 'sctp' })],
    ['selection n2', body({ sel: 5 })],
    ['selection n3', body({ sel: 6, protocol: 'udp' })],
    ['a port range', body({ portMax: 81 })],
    ['TLS (security)', body({ security: 1 })],
    ['a host', body({ host: 'loxilb.io' })],
    ['proxy protocol v2', body({ proxyprotocolv2: true })],
    ['an egress rule', body({ egress: true })],
    ['a list of allowed sources', { ...body(), allowedSources: [{ prefix: '10.0.0.0/8' }] }],
    ['an IPv4 endpoint of an IPv6 service (NAT64)', body({ externalIP: '2001:db8::1' })],
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
          expect(rule.endpoints).toHaveLength(given.length);
        } catch (error) {
          expect(isLoxilbError(error)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});
