import { expect, it } from 'vitest';
import { canonicalPrefix, prefixBits } from './prefixes.js';

it.each([
  ['10.2.0.5/16', '10.2.0.0/16'],
  ['10.10.10.1/32', '10.10.10.1/32'],
  ['255.255.255.255/31', '255.255.255.254/31'],
  ['1.2.3.4/0', '0.0.0.0/0'],
  ['2001:DB8:0:1::5/33', '2001:db8::/33'],
  ['::1/0', '::/0'],
  ['2001:db8::1/128', '2001:db8::1/128'],
  ['::ffff:10.1.2.3/104', '10.0.0.0/8'],
])('reads %s as %s', (given, canonical) => {
  expect(canonicalPrefix(given)).toBe(canonical);
  expect(canonicalPrefix(canonical)).toBe(canonical);
});

it.each(['', '10.0.0.0', '10.0.0.0/', '10.0.0.0/33', '::/129', '10.0.0/8', 'a/8', '10.0.0.0/-1', 'fe80::1%eth0/64'])(
  'refuses %s',
  (given) => {
    expect(canonicalPrefix(given)).toBeUndefined();
  },
);

it('counts bits of 128', () => {
  expect(prefixBits('10.0.0.0/8')).toEqual({ addr: '10.0.0.0', bits: 104 });
  expect(prefixBits('2001:db8::/32')).toEqual({ addr: '2001:db8::', bits: 32 });
});
