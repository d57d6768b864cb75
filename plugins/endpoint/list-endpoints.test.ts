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

  it('names an icmp endpoint by ping, without a port', () => {
    const [listed] = listEndpoints([{ ...endpoint, protocol: 'icmp', port: 0 }]);
    expect(listed).toEqual({ hostName: '10.212.0.1', name: '10.212.0.1_ping_0', probeType: 'none', currState: 'ok' });
  });
});
