import { describe, expect, it } from 'vitest';
import { listEndpoints } from './list-endpoints.js';

const endpoint = { address: '10.212.0.1', protocol: 'tcp', port: 80, active: true, monitored: false, rules: 1 };

describe('listEndpoints', () => {
  it('names endpoints as rules made them', () => {
    expect(listEndpoints([endpoint])).toEqual([
      { hostName: '10.212.0.1', name: '10.212.0.1_tcp_80', probeType: 'none', probePort: 80, currState: 'ok' },
    ]);
  });

  it('shows an endpoint that packets cannot choose', () => {
    expect(listEndpoints([{ ...endpoint, active: false }])[0]?.currState).toBe('nok');
  });

  it('shows one that no rule uses any more while its flows go on', () => {
    const draining = { flows: 3, until: 1_800_000_000 };
    expect(listEndpoints([{ ...endpoint, active: false, rules: 0, draining }])).toMatchObject([
      { currState: 'draining', flows: 3, until: '2027-01-15T08:00:00.000Z' },
    ]);
  });

  it('names an icmp endpoint by ping, without a port', () => {
    const [listed] = listEndpoints([{ ...endpoint, protocol: 'icmp', port: 0 }]);
    expect(listed).toEqual({ hostName: '10.212.0.1', name: '10.212.0.1_ping_0', probeType: 'none', currState: 'ok' });
  });
});
