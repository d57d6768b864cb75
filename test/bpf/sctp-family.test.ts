/** SCTP between families: no pseudo header, so only ports change its checksum, and the addresses inside its chunks. */
import { describe, expect, it } from 'vitest';
import { CtSctpState as STATE } from '../../plugins/conntrack/layout.gen.js';
import { CLIENT_TAG, COOKIE, COOKIE_ACK, COOKIE_ECHO, ENDPOINT_TAG, SUPPORTED } from './association.js';
import { VERDICT } from './harness.js';
import { type Chunk, type Packet, PROTOCOL } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import { address, CHUNK, data, init, PARAMETER, type Parameter, sctp } from './reference/sctp.js';
import { CLIENT_PORT, describePath, ENDPOINT_PORT, type Family, packetFrom, SERVICE_PORT, scene } from './scenario.js';

const pad = (length: number): Parameter => ({ type: PARAMETER.pad, value: new Uint8Array(length) });

describePath('SCTP between families', (bench) => {
  describe.each<Family>([4, 6])('from IPv%d', (family) => {
    const { vip, client } = scene(family);
    const { endpoint, self } = scene(family === 4 ? 6 : 4);
    const server = endpoint(0);
    const request = (tag: number, ...chunks: readonly Chunk[]) =>
      packetFrom(client, vip, sctp({ sourcePort: CLIENT_PORT, destinationPort: SERVICE_PORT, tag, chunks }));
    const answer = (tag: number, ...chunks: readonly Chunk[]) =>
      packetFrom(server, self, sctp({ sourcePort: ENDPOINT_PORT, destinationPort: CLIENT_PORT, tag, chunks }));
    /** What comes out, its checksums judged. */
    const out = (packet: Packet, device = client.device) => {
      const { frame, verdict } = bench().receive(packet, device);
      expect(verdict).toBe(VERDICT.redirect);
      return parseFrame(frame);
    };
    const toServer = (tag: number, sent: readonly Chunk[], expected = sent) => {
      const { ip, transport } = out(request(tag, ...sent));
      expect(ip).toMatchObject({ version: family === 4 ? 6 : 4, source: self, destination: server.address, ttl: 63 });
      const ports = { sourcePort: CLIENT_PORT, destinationPort: ENDPOINT_PORT };
      expect(transport).toEqual({ kind: 'sctp', ...ports, tag, chunks: expected });
    };
    const toClient = (tag: number, sent: readonly Chunk[], expected = sent) => {
      const { ip, transport } = out(answer(tag, ...sent), server.device);
      expect(ip).toMatchObject({ version: family, source: vip, destination: client.address, ttl: 63 });
      const ports = { sourcePort: SERVICE_PORT, destinationPort: CLIENT_PORT };
      expect(transport).toEqual({ kind: 'sctp', ...ports, tag, chunks: expected });
    };

    it('goes there and back, and no address inside gets through', () => {
      bench().addService({
        address: vip,
        port: SERVICE_PORT,
        protocol: PROTOCOL.sctp,
        endpoints: [{ address: server.address, self }],
      });
      const hidden = ['192.168.1.1', 'fd00::1'].map(address);
      const start = (tag: number, type: number, parameters: readonly Parameter[]) =>
        init({ tag, tsn: 1, parameters }, type);
      toServer(
        0,
        [start(CLIENT_TAG, CHUNK.init, [...hidden, SUPPORTED])],
        [start(CLIENT_TAG, CHUNK.init, [pad(4), pad(16), SUPPORTED])],
      );
      toClient(
        CLIENT_TAG,
        [start(ENDPOINT_TAG, CHUNK.initAck, [...hidden, COOKIE])],
        [start(ENDPOINT_TAG, CHUNK.initAck, [pad(4), pad(16), COOKIE])],
      );
      toServer(ENDPOINT_TAG, [COOKIE_ECHO, data('early')]);
      toClient(CLIENT_TAG, [COOKIE_ACK]);
      for (const length of [0, 1, 500, 1300]) {
        toServer(ENDPOINT_TAG, [data('x'.repeat(length))]);
        toClient(CLIENT_TAG, [data('y'.repeat(length))]);
      }
      const flow = bench().findFlow(
        PROTOCOL.sctp,
        { address: client.address, port: CLIENT_PORT },
        { address: vip, port: SERVICE_PORT },
      );
      expect(flow?.state).toBe(STATE.CT_SCTP_EST);
    });
  });
});
