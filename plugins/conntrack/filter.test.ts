import { encodeBytes, ipAddress } from '@loxilb/sdk';
import { describe, expect, it } from 'vitest';
import { parseFilter } from './filter.js';

describe('parseFilter', () => {
  it('reads each parameter and ignores empty and unknown ones', () => {
    expect(
      parseFilter({ servName: 'web', protocol: 'TCP', sourceIP: '10.0.0.1', destinationIP: '2001:DB8::1', x: '1' }),
    ).toEqual({
      serviceName: 'web',
      protocol: 6,
      source: encodeBytes(ipAddress, '10.0.0.1'),
      destination: encodeBytes(ipAddress, '2001:db8::1'),
    });
    expect(parseFilter({ servName: '', protocol: '' })).toEqual({});
  });

  it('takes a protocol by number', () => {
    expect(parseFilter({ protocol: '47' })).toEqual({ protocol: 47 });
  });

  it.each([
    [{ protocol: '256' }, 'protocol'],
    [{ protocol: 'tpc' }, 'protocol'],
    [{ sourceIP: '10.0.0' }, 'sourceIP'],
    [{ destinationIP: 'fe80::1%eth0' }, 'destinationIP'],
  ])('refuses %o', (query, field) => {
    expect(() => parseFilter(query)).toThrow(
      expect.objectContaining({ code: 'CONNTRACK_FILTER_INVALID', status: 400, field }),
    );
  });
});
