import { isLoxilbError } from '@loxilb/sdk';
import { describe, expect, it } from 'vitest';
import { deleteForms } from './deletes.js';
import type { Rule } from './model.js';
import { body, createWorld } from './testing/world.js';

const world = createWorld();
world.post(body({ name: 'web' }));
world.post(body({ port: 81, name: 'web' }));
world.post(body({ block: 5 }));
world.post(body({ protocol: 'icmp' }));
const stored: ReadonlyMap<string, Rule> = world.stored;

function select(form: number, params: Record<string, string>, query: Record<string, string> = {}): readonly string[] {
  return deleteForms[form]?.select({ params, query }, stored) ?? [];
}

function resultOf(form: number, params: Record<string, string>, query: Record<string, string> = {}): string {
  try {
    select(form, params, query);
  } catch (error) {
    if (isLoxilbError(error)) return `${error.status} ${error.result}`;
    throw error;
  }
  return 'accepted';
}

const web = { ip_address: '20.20.20.1', port: '80', proto: 'tcp' };
const key = '20.20.20.1|tcp|80|0|';

describe('DELETE', () => {
  it.each([
    ['kube-loxilb', 0, web],
    ['with portmax', 1, { ...web, portmax: '0' }],
    ['with portmax equal to port', 1, { ...web, portmax: '80' }],
    ['with host', 2, { ...web, hosturl: 'any' }],
    ['loxicmd', 3, { ...web, hosturl: 'any', portmax: '0' }],
    ['fractions', 0, { ...web, port: '80.7' }],
  ])('finds a rule by the form of %s', (_, form, params) => {
    expect(select(form, params, { bgp: 'false', block: '0' })).toEqual([key]);
  });

  it('goes by the mark', () => {
    expect(select(0, web, { block: '5' })).toEqual(['20.20.20.1|tcp|80|5|']);
    expect(resultOf(0, web, { block: '6' })).toBe('404 no-rule error');
  });

  it('finds an icmp rule at port 0', () => {
    expect(select(0, { ip_address: '20.20.20.1', port: '0', proto: 'icmp' })).toHaveLength(1);
  });

  it.each([
    ['address', 0, { ...web, ip_address: 'x' }, '400 malformed-service error'],
    ['range', 1, { ...web, portmax: '79' }, '400 serv-port-args range error'],
    ['protocol', 0, { ...web, proto: 'foo' }, '400 malformed-proto error'],
    ['no such rule', 0, { ...web, port: '82' }, '404 no-rule error'],
    ['a range that is none', 1, { ...web, portmax: '90' }, '404 no-rule error'],
    ['another host', 2, { ...web, hosturl: 'loxilb.io' }, '404 no-rule error'],
  ])('refuses %s', (_, form, params, answer) => {
    expect(resultOf(form, params)).toBe(answer);
  });

  it.each([
    [0, web],
    [1, { ...web, portmax: '0' }],
    [2, { ...web, hosturl: 'any' }],
    [3, { ...web, hosturl: 'any', portmax: '0' }],
    [4, { lb_name: 'web' }],
    [5, {}],
  ])('takes a drain of a day and no more, form %i', (form, params) => {
    expect(deleteForms[form]?.query).toMatchObject({ drain: 'int64' });
    expect(select(form, params, { drain: '86400' }).length).toBeGreaterThan(0);
    for (const drain of ['86401', '-1']) expect(resultOf(form, params, { drain })).toBe('400 service-args error');
  });

  it('takes all of a name, and none as a success', () => {
    expect(select(4, { lb_name: 'web' })).toHaveLength(2);
    expect(select(4, { lb_name: 'nothing' })).toEqual([]);
  });

  it('takes all', () => {
    expect(select(5, {})).toHaveLength(4);
  });

  it('has the six known paths', () => {
    expect(deleteForms.map(({ path }) => path)).toEqual([
      '/externalipaddress/:ip_address/port/:port/protocol/:proto',
      '/externalipaddress/:ip_address/port/:port/portmax/:portmax/protocol/:proto',
      '/hosturl/:hosturl/externalipaddress/:ip_address/port/:port/protocol/:proto',
      '/hosturl/:hosturl/externalipaddress/:ip_address/port/:port/portmax/:portmax/protocol/:proto',
      '/name/:lb_name',
      '/all',
    ]);
  });
});
