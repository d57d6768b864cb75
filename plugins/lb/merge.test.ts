import { isLoxilbError } from '@loxilb/sdk';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { mergeRule } from './merge.js';
import { type Rule, ruleKey } from './model.js';
import { lbRequest } from './schema.js';
import { body } from './testing/world.js';

const limits = { maxEndpointsPerRule: 4, maxSecondaryIPs: 3 };
let stored: Map<string, Rule>;

function post(request: unknown): Rule | undefined {
  const { key, desired } = mergeRule(lbRequest.parse(request), stored, limits);
  if (desired) stored.set(key, desired);
  else stored.delete(key);
  return desired;
}

function codeOf(request: unknown): string {
  try {
    mergeRule(lbRequest.parse(request), stored, limits);
  } catch (error) {
    if (isLoxilbError(error)) return `${error.status} ${error.code}`;
    throw error;
  }
  return 'accepted';
}

const addresses = (rule: Rule | undefined) => rule?.endpoints.map(({ endpointIP }) => endpointIP);

beforeEach(() => {
  stored = new Map();
  post(body({ name: 'web', sel: 2 }, ['10.0.0.1', '10.0.0.2']));
});

describe('re-POST', () => {
  it('is refused when it changes nothing', () => {
    expect(codeOf(body({ name: 'web', sel: 2 }))).toBe('409 LB_RULE_EXISTS');
    expect(codeOf(body({ name: 'web', sel: 2, inactiveTimeOut: 240 }))).toBe('409 LB_RULE_EXISTS');
  });

  it.each([
    ['name', { name: 'shop' }],
    ['timeout', { inactiveTimeOut: 30 }],
    ['bgp', { bgp: true }],
    ['managed', { managed: true }],
    ['monitor', { monitor: true }],
    ['selection', { sel: 1 }],
    ['mode', { mode: 2 }],
    ['private address', { privateIP: '10.9.9.9' }],
    ['probe', { probetype: 'ping' }],
  ])('changes %s in place', (_, change) => {
    const desired = post(body({ name: 'web', sel: 2, ...change }));
    expect(stored.size).toBe(1);
    expect(desired).toMatchObject('probetype' in change ? { probe: { type: 'ping' } } : change);
  });

  it('replaces endpoints, weights and order', () => {
    expect(addresses(post(body({ name: 'web', sel: 2 }, ['10.0.0.3', '10.0.0.1'])))).toEqual(['10.0.0.3', '10.0.0.1']);
    const weighted = post(body({ name: 'web', sel: 2 }, [['10.0.0.3', 5], '10.0.0.1']));
    expect(weighted?.endpoints[0]?.weight).toBe(5);
  });

  it('keeps other ports, protocols, addresses and marks apart', () => {
    post(body({ port: 81 }));
    post(body({ protocol: 'udp' }));
    post(body({ externalIP: '20.20.20.2' }));
    post(body({ block: 7 }));
    expect(stored.size).toBe(5);
  });

  it('answers changes that cannot be with their own texts', () => {
    expect(codeOf(body({ security: 1 }))).toBe('409 LB_SECURITY_FIXED');
    expect(codeOf(body({ egress: true }))).toBe('409 LB_EGRESS_FIXED');
    expect(codeOf(body({ mode: 4 }))).toBe('409 LB_FULLPROXY_FIXED');
  });
});

describe('attach', () => {
  it('creates a rule that is not there', () => {
    post(body({ externalIP: '20.20.20.9', oper: 1 }));
    expect(stored.size).toBe(2);
  });

  it('adds at the end and keeps the rest', () => {
    const desired = post(body({ oper: 1 }, ['10.0.0.2', '10.0.0.3']));
    expect(addresses(desired)).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    expect(desired).toMatchObject({ name: 'web', sel: 2 });
  });

  it('takes members that are given and not zero', () => {
    expect(post(body({ oper: 1, sel: 1, inactiveTimeOut: 30 }))).toMatchObject({
      name: 'web',
      sel: 1,
      inactiveTimeOut: 30,
    });
  });

  it('takes a new weight of an endpoint it has', () => {
    expect(post(body({ oper: 1 }, [['10.0.0.2', 9]]))?.endpoints[1]?.weight).toBe(9);
  });

  it('refuses what is there already', () => {
    expect(codeOf(body({ oper: 1 }))).toBe('409 LB_RULE_EXISTS');
  });

  it('refuses more than the limit instead of dropping the old ones', () => {
    expect(codeOf(body({ oper: 1 }, ['10.0.0.3', '10.0.0.4', '10.0.0.5']))).toBe('400 LB_ENDPOINT_COUNT');
  });
});

describe('detach', () => {
  it('takes endpoints away and nothing else', () => {
    const desired = post(body({ oper: 2, name: 'other', sel: 1 }, ['10.0.0.1', '10.0.0.9']));
    expect(addresses(desired)).toEqual(['10.0.0.2']);
    expect(desired).toMatchObject({ name: 'web', sel: 2 });
  });

  it('goes by address and port', () => {
    const request = body({ oper: 2 }, ['10.0.0.1']);
    expect(codeOf({ ...request, endpoints: [{ ...request.endpoints[0], targetPort: 9 }] })).toBe('409 LB_RULE_EXISTS');
  });

  it('deletes the rule with its last endpoint', () => {
    expect(post(body({ oper: 2 }))).toBeUndefined();
    expect(stored.size).toBe(0);
  });

  it('is an error on a rule that is not there', () => {
    expect(codeOf(body({ externalIP: '20.20.20.9', oper: 2 }))).toBe('404 LB_RULE_MISSING');
  });
});

describe('any sequence of POSTs', () => {
  it('follows a plain model of the rule', () => {
    const request = fc.record({
      oper: fc.integer({ min: 0, max: 2 }),
      endpoints: fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 }),
    });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 30 }), (requests) => {
        stored = new Map();
        let model: number[] | undefined;
        for (const { oper, endpoints } of requests) {
          const expected = modelAnswer(model, oper, endpoints);
          const asked = body(
            { oper },
            endpoints.map((one) => `10.0.0.${one}`),
          );
          if (typeof expected === 'string') {
            const before = structuredClone([...stored]);
            expect(codeOf(asked)).toBe(expected);
            expect([...stored]).toEqual(before);
            continue;
          }
          post(asked);
          model = expected.length === 0 ? undefined : expected;
          expect(addresses([...stored.values()][0])).toEqual(model?.map((one) => `10.0.0.${one}`));
          for (const [key, rule] of stored) expect(ruleKey(rule)).toBe(key);
        }
      }),
      { numRuns: 200 },
    );
  });
});

/** The endpoints the rule has afterwards, none for no rule, or the refusal. */
function modelAnswer(model: number[] | undefined, oper: number, given: number[]): number[] | string {
  if (model === undefined) return oper === 2 ? '404 LB_RULE_MISSING' : given;
  const added = given.filter((one) => !model.includes(one));
  const after = [given, [...model, ...added], model.filter((one) => !given.includes(one))][oper] as number[];
  if (after.length > limits.maxEndpointsPerRule) return '400 LB_ENDPOINT_COUNT';
  return after.join() === model.join() ? '409 LB_RULE_EXISTS' : after;
}
