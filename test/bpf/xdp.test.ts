/** The fast path in the driver: what tc makes of packets of open flows, and nothing else. */
import { describe, expect, it } from 'vitest';
import { DpXdpFlags, IntfFlags } from '../../core/dataplane/layout.gen.js';
import { CtSpecial, CtTcpState, CtUdpState } from '../../plugins/conntrack/layout.gen.js';
import { LbEndpointFlags } from '../../plugins/lb/layout.gen.js';
import { addPlainService, type Conversation, conversation } from './conversation.js';
import { addDsrService } from './dsr.js';
import { CLIENT_SIDE, type Device, ip, NARROW_SIDE, SERVER_SIDE } from './network.js';
import { buildFrame } from './reference/build.js';
import { joinBytes, type Packet, TCP, type Tcp, type Transport, text } from './reference/packet.js';
import { randomBytes, seeded } from './reference/random.js';
import { translate } from './reference/translate.js';
import {
  answer,
  type Bench,
  CLIENT_PORT,
  departure,
  describePath,
  ENDPOINT_PORT,
  EVERY_KIND,
  type Family,
  type Host,
  host,
  MODE,
  opening,
  type Protocol,
  packetFrom,
  protocolNumber,
  SERVICE_PORT,
  scene,
} from './scenario.js';
import { expectLeftToTc, expectSameByXdp, knowDevice, knowDevices, runXdp, XDP } from './xdp-run.js';

const { syn, ack, fin, rst, psh } = TCP;
const CLIENT_ISN = 1000;
const SERVER_ISN = 500_000;
/** Enough packets for any kind of flow to be open. */
const OPEN = 9;

/** What goes on in an open flow. */
function later(protocol: Protocol, fromClient: boolean, ports: [number, number], fields: Partial<Tcp> = {}): Transport {
  const [own, other] = ports;
  if (protocol !== 'tcp') return fromClient ? opening(protocol, own, other) : answer(protocol, own, other);
  const numbers = fromClient
    ? { sequence: CLIENT_ISN + 1, acknowledgment: SERVER_ISN + 1 }
    : { sequence: SERVER_ISN + 1, acknowledgment: CLIENT_ISN + 1 };
  const rest = { flags: ack, window: 500, ...numbers, ...fields };
  return fromClient ? opening('tcp', own, other, rest) : answer('tcp', own, other, rest);
}

/** Both directions until the flow is open; returns a frame of each. */
function openFlow(bench: Bench, protocol: Protocol, talk: Conversation, client: Host, server: Host) {
  bench.receive(talk.request, client.device);
  bench.receive(talk.reply, server.device);
  const seen = 'sourcePort' in talk.reply.transport ? talk.reply.transport.destinationPort : CLIENT_PORT;
  const request: Packet = { ...talk.request, transport: later(protocol, true, [CLIENT_PORT, SERVICE_PORT]) };
  const reply: Packet = { ...talk.reply, transport: later(protocol, false, [ENDPOINT_PORT, seen]) };
  for (let round = 0; round < OPEN; round++) {
    bench.receive(request, client.device);
    bench.receive(reply, server.device);
  }
  return { request, reply };
}

const KINDS_OF_TRANSLATION = [
  { name: 'default', mode: MODE.default, source: () => undefined },
  { name: 'onearm', mode: MODE.onearm, source: (family: Family) => scene(family).self },
  { name: 'fullnat', mode: MODE.fullnat, source: (family: Family) => scene(family).vip },
] as const;

function withTransport(packet: Packet, transport: Transport): Packet {
  return { ...packet, transport };
}

describePath('XDP', (bench) => {
  /** An open TCP flow in default mode. */
  const openTcp = (family: Family) => {
    knowDevices(bench());
    addPlainService(bench(), family, 'tcp');
    const { client, endpoint } = scene(family);
    return openFlow(bench(), 'tcp', conversation(family, 'tcp'), client, endpoint(0));
  };

  describe.each(KINDS_OF_TRANSLATION)('$name mode', ({ mode, source }) => {
    it.each(EVERY_KIND)('IPv$family $protocol: both directions as by tc', ({ family, protocol }) => {
      const seenAs = source(family);
      const { client, endpoint } = scene(family);
      knowDevices(bench());
      addPlainService(bench(), family, protocol, seenAs ? { source: seenAs } : {}, { mode });
      const talk = conversation(family, protocol, seenAs ? { seenAs } : {});
      const { request, reply } = openFlow(bench(), protocol, talk, client, endpoint(0));
      expectSameByXdp(bench(), buildFrame(request), CLIENT_SIDE);
      expectSameByXdp(bench(), buildFrame(reply), SERVER_SIDE);
    });
  });

  describe.each(EVERY_KIND)('IPv$family $protocol', ({ family, protocol }) => {
    const { vip, client, endpoint, self } = scene(family);
    const request = packetFrom(client, vip, later(protocol, true, [CLIENT_PORT, SERVICE_PORT]));
    const openOneWay = (flags: number, outer: Family = family) => {
      knowDevices(bench());
      addDsrService(bench(), family, protocol, [
        { address: scene(outer).endpoint(0).address, self: scene(outer).self, flags },
      ]);
      bench().receive(packetFrom(client, vip, opening(protocol, CLIENT_PORT, SERVICE_PORT)), CLIENT_SIDE);
      for (let round = 0; round < OPEN; round++) bench().receive(request, CLIENT_SIDE);
    };

    it('L2-DSR as by tc', () => {
      openOneWay(0);
      expectSameByXdp(bench(), buildFrame(request), CLIENT_SIDE);
    });

    it.each([4, 6] as const)('in a tunnel of IPv%d as by tc', (outer) => {
      openOneWay(LbEndpointFlags.LB_EP_TUNNEL, outer);
      for (const value of [0, 0xb9, 3]) {
        const packet = packetFrom(client, vip, request.transport, { tos: value, trafficClass: value, ttl: 9 });
        expectSameByXdp(bench(), buildFrame(packet), CLIENT_SIDE);
      }
    });

    it('sends out where it came in, when the endpoint is there', () => {
      const server = host(CLIENT_SIDE, family, 30);
      knowDevices(bench(), DpXdpFlags.DP_XDP_IN);
      bench().addService({
        address: vip,
        port: protocol === 'icmp' ? 0 : SERVICE_PORT,
        protocol: protocolNumber(family, protocol),
        mode: MODE.onearm,
        endpoints: [{ address: server.address, source: self }],
      });
      const talk = conversation(family, protocol, { seenAs: self });
      const reply = { ...talk.reply, ...packetFrom(server, self, talk.reply.transport) };
      openFlow(bench(), protocol, { ...talk, reply }, client, server);
      expectSameByXdp(bench(), buildFrame(request), CLIENT_SIDE, XDP.tx);
    });

    it('reaches a veth whose peer is elsewhere', () => {
      const key = { ifindex: bench().network.ifindex(SERVER_SIDE), ingVid: 0 };
      bench().path.maps.interfaces.set(key, { port: 1, zone: 0, bd: 0, flags: IntfFlags.INTF_PEER });
      knowDevices(bench());
      addPlainService(bench(), family, protocol);
      openFlow(bench(), protocol, conversation(family, protocol), client, endpoint(0));
      expectSameByXdp(bench(), buildFrame(request), CLIENT_SIDE);
    });
  });

  describe.each([4, 6] as const)('IPv%d', (family) => {
    const { vip, client, endpoint } = scene(family);
    const ports: [number, number] = [CLIENT_PORT, SERVICE_PORT];

    it('whatever is in a packet', () => {
      const { request } = openTcp(family);
      const random = seeded(family);
      for (let round = 0; round < 300; round++) {
        const value = Math.floor(random() * 256);
        const options = family === 4 ? randomIpOptions(random) : undefined;
        const fields = {
          tos: value,
          trafficClass: value,
          ttl: 2 + Math.floor(random() * 254),
          flowLabel: Math.floor(random() * 0x100000),
          ...(options ? { options } : {}),
        };
        const tcpOptions = new Uint8Array(Math.floor(random() * 11) * 4).fill(1);
        const payload = randomBytes(random, Math.floor(random() * 1200));
        const numbers = { sequence: CLIENT_ISN + 1 + Math.floor(random() * 1000), payload, options: tcpOptions };
        const transport = later('tcp', true, ports, { flags: ack | (random() < 0.5 ? psh : 0), ...numbers });
        const packet = { ...packetFrom(client, vip, transport, fields), trailer: request.trailer };
        expectSameByXdp(bench(), buildFrame(packet), CLIENT_SIDE);
      }
    });

    it('padding of the frame, and no UDP checksum', () => {
      knowDevices(bench());
      addPlainService(bench(), family, 'udp');
      const { request } = openFlow(bench(), 'udp', conversation(family, 'udp'), client, endpoint(0));
      expectSameByXdp(bench(), buildFrame({ ...request, trailer: text('Ethernet padding') }), CLIENT_SIDE);
      if (family === 6) return;
      const frame = buildFrame(request);
      frame.set([0, 0], 14 + 20 + 6);
      expectSameByXdp(bench(), frame, CLIENT_SIDE);
    });

    it('frames of several buffers', () => {
      for (const { name } of [CLIENT_SIDE, SERVER_SIDE]) ip('link', 'set', name, 'mtu', '9000');
      try {
        knowDevices(bench());
        addPlainService(bench(), family, 'tcp');
        openFlow(bench(), 'tcp', conversation(family, 'tcp'), client, endpoint(0));
        const payload = randomBytes(seeded(1), 8000);
        const packet = packetFrom(client, vip, later('tcp', true, ports, { payload }));
        const { verdict, frame } = runXdp(bench(), buildFrame(packet), CLIENT_SIDE);
        const out = translate(packet, {
          source: { address: client.address, port: CLIENT_PORT },
          destination: { address: endpoint(0).address, port: ENDPOINT_PORT },
          hop: departure(endpoint(0)),
          hops: 1,
        });
        expect(verdict).toBe(XDP.redirect);
        expect(Buffer.compare(frame, buildFrame(out))).toBe(0);
      } finally {
        for (const { name } of [CLIENT_SIDE, SERVER_SIDE]) ip('link', 'set', name, 'mtu', '1500');
      }
    });

    describe('leaves to tc', () => {
      const sent = (frame: Uint8Array, device: Device = CLIENT_SIDE) => expectLeftToTc(bench(), frame, device);

      it.each([
        ['SYN', syn],
        ['SYN-ACK', syn | ack],
        ['FIN', fin | ack],
        ['RST', rst],
      ])('%s of an open flow', (_, flags) => {
        const { request } = openTcp(family);
        sent(buildFrame(withTransport(request, later('tcp', true, ports, { flags }))));
      });

      it('the handshake', () => {
        knowDevices(bench());
        addPlainService(bench(), family, 'tcp');
        const talk = conversation(family, 'tcp');
        sent(buildFrame(talk.request));
        bench().receive(talk.request, CLIENT_SIDE);
        sent(buildFrame(talk.reply), SERVER_SIDE);
        bench().receive(talk.reply, SERVER_SIDE);
        sent(buildFrame(withTransport(talk.request, later('tcp', true, ports))));
        const flow = bench().findFlow(6, talk.from, talk.to);
        expect(flow?.state).not.toBe(CtTcpState.CT_TCP_EST);
      });

      it('datagrams of a flow that is not open yet', () => {
        knowDevices(bench());
        addPlainService(bench(), family, 'udp');
        const talk = conversation(family, 'udp');
        bench().receive(talk.request, CLIENT_SIDE);
        sent(buildFrame(talk.request));
        expect(bench().findFlow(17, talk.from, talk.to)?.state).not.toBe(CtUdpState.CT_UDP_EST);
      });

      it('flows of others', () => {
        openTcp(family);
        sent(buildFrame(packetFrom(client, vip, later('tcp', true, [CLIENT_PORT + 1, SERVICE_PORT]))));
        sent(buildFrame(packetFrom(client, endpoint(0).address, later('tcp', true, ports))));
      });

      it('a spent TTL, and what is larger than the way takes', () => {
        const { request } = openTcp(family);
        for (const ttl of [0, 1]) sent(buildFrame(packetFrom(client, vip, request.transport, { ttl })));
        const payload = new Uint8Array(1500);
        sent(buildFrame(packetFrom(client, vip, later('tcp', true, ports, { payload }))));
      });

      it('a flow whose way out has to be looked up again', () => {
        const { request } = openTcp(family);
        bench().path.maps.control.set(0, { layoutVersion: 2, generation: 2 });
        sent(buildFrame(request));
        bench().receive(request, CLIENT_SIDE);
        expectSameByXdp(bench(), buildFrame(request), CLIENT_SIDE);
      });

      it('devices it does not know, and ways to them', () => {
        const { request, reply } = openTcp(family);
        knowDevice(bench(), CLIENT_SIDE, 0);
        sent(buildFrame(request));
        sent(buildFrame(reply), SERVER_SIDE);
        knowDevice(bench(), CLIENT_SIDE, DpXdpFlags.DP_XDP_IN);
        expectSameByXdp(bench(), buildFrame(request), CLIENT_SIDE);
        sent(buildFrame(reply), SERVER_SIDE);
        knowDevice(bench(), CLIENT_SIDE, DpXdpFlags.DP_XDP_OUT);
        sent(buildFrame(request));
        expectSameByXdp(bench(), buildFrame(reply), SERVER_SIDE);
      });

      it('frames for others', () => {
        const { request } = openTcp(family);
        for (const destination of ['ff:ff:ff:ff:ff:ff', '02:00:00:00:09:09', NARROW_SIDE.mac]) {
          sent(buildFrame({ ...request, ethernet: { ...request.ethernet, destination } }));
        }
      });

      it('frames with a VLAN tag', () => {
        const frame = buildFrame(openTcp(family).request);
        const tag = Uint8Array.of(0x81, 0, 0, 100);
        sent(joinBytes(frame.subarray(0, 12), tag, frame.subarray(12)));
      });

      it('frames cut off anywhere', () => {
        const frame = buildFrame(openTcp(family).request);
        for (let length = 14; length < frame.length; length++) sent(frame.slice(0, length));
      });

      it('fragments', () => {
        if (family === 6) return;
        const frame = buildFrame(openTcp(family).request);
        for (const bits of [0x20, 0x01]) {
          const fragment = frame.slice();
          fragment[20] = bits;
          sent(fragment);
        }
      });

      it('ICMP errors about the flow', () => {
        const { reply } = openTcp(family);
        const quote = buildFrame(reply).subarray(14, 14 + 48);
        const kind = family === 4 ? { type: 3, code: 4, rest: 1280 } : { type: 2, code: 0, rest: 1280 };
        sent(buildFrame(packetFrom(endpoint(0), client.address, { kind: 'error', ...kind, quote })), SERVER_SIDE);
      });

      it('flows with special treatment', () => {
        const { request } = openTcp(family);
        const key = flowKey(bench(), client.address);
        for (const special of [CtSpecial.CT_SPECIAL_PPV2, CtSpecial.CT_SPECIAL_FAMILY]) {
          bench().path.maps.flows.change(key, { special });
          sent(buildFrame(request));
        }
      });
    });
  });
});

function flowKey(bench: Bench, source: string) {
  const found = bench.path.maps.flows.keys().find(({ saddr }) => saddr === source);
  if (!found) throw new Error(`no flow from ${source}`);
  return found;
}

/** No-operations up to the longest header, or none. */
function randomIpOptions(random: () => number): Uint8Array {
  return new Uint8Array(Math.floor(random() * 11) * 4).fill(1);
}
