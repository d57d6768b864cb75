/** Who knows the tag of one SCTP association has no say about the packets of another client. */
import { describe, expect, it } from 'vitest';
import { Association, CLIENT_TAG } from './association.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE, SERVER_SIDE } from './network.js';
import { parseFrame } from './reference/parse.js';
import { CHUNK, chunk, init, sctp } from './reference/sctp.js';
import { CLIENT_PORT, describePath, ENDPOINT_PORT, host, packetFrom, SERVICE_PORT } from './scenario.js';

describePath('strangers to an SCTP association', (bench) => {
  describe.each([4, 6] as const)('IPv%d', (family) => {
    it.each(['default', 'onearm', 'fullnat'] as const)('cannot draw the next client to themselves, %s mode', (mode) => {
      const association = new Association(bench(), family, mode);
      association.addService();
      association.establish();
      const stranger = host(SERVER_SIDE, family, 30);
      const victim = host(CLIENT_SIDE, family, 20);
      // The tag that the client has chosen, which it knows: from its own association, to somebody else.
      const ports = { sourcePort: ENDPOINT_PORT, destinationPort: CLIENT_PORT };
      const forged = sctp({ ...ports, tag: CLIENT_TAG, chunks: [chunk(CHUNK.heartbeat, Uint8Array.of(0, 1, 0, 4))] });
      bench().receive(packetFrom(stranger, victim.address, forged), SERVER_SIDE);
      const first = init({ tag: 0x55667788, tsn: 1, parameters: [] });
      const opening = sctp({ sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT, chunks: [first] });
      const result = bench().receive(packetFrom(victim, association.vip, opening), CLIENT_SIDE);
      expect(result.verdict).toBe(VERDICT.redirect);
      expect(parseFrame(result.frame).ip.destination).toBe(association.endpoint.address);
    });
  });
});
