/** TCP flows from the first SYN to the last ACK, and everything that does not go as it should. */
import { describe, expect, it } from 'vitest';
import { CtTcpState } from '../../plugins/conntrack/layout.gen.js';
import { VERDICT } from './harness.js';
import { CLIENT_SIDE, SERVER_SIDE } from './network.js';
import { buildFrame } from './reference/build.js';
import { joinBytes, type Packet, TCP, TCP_OPTION, type Tcp, tcp, text } from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import {
  type Bench,
  CLIENT_PORT,
  describePath,
  ENDPOINT_PORT,
  expectUntouched,
  type Family,
  packetFrom,
  SERVICE_PORT,
  type Service,
  scene,
} from './scenario.js';

const { syn, ack, fin, rst, psh } = TCP;
const CLIENT_ISN = 1000;
const SERVER_ISN = 500_000;
const CLIENT_WINDOW = 502;
const SERVER_WINDOW = 509;
const SCALE = 7;

/** One TCP conversation in default mode: segments of both sides with the sequence numbers they should have. */
class Talk {
  private readonly bench: Bench;
  private readonly family: Family;
  private readonly clientPort: number;

  constructor(bench: Bench, family: Family, clientPort = CLIENT_PORT) {
    this.bench = bench;
    this.family = family;
    this.clientPort = clientPort;
  }

  client(flags: number, fields: Partial<Tcp> = {}): Packet {
    const { vip, client } = scene(this.family);
    const ports = { sourcePort: this.clientPort, destinationPort: SERVICE_PORT };
    const rest = { sequence: CLIENT_ISN + 1, acknowledgment: SERVER_ISN + 1, window: CLIENT_WINDOW };
    return packetFrom(client, vip, tcp({ ...ports, flags, ...rest, ...fields }));
  }

  server(flags: number, fields: Partial<Tcp> = {}, index = 0): Packet {
    const { client, endpoint } = scene(this.family);
    const ports = { sourcePort: ENDPOINT_PORT, destinationPort: this.clientPort };
    const rest = { sequence: SERVER_ISN + 1, acknowledgment: CLIENT_ISN + 1, window: SERVER_WINDOW };
    return packetFrom(endpoint(index), client.address, tcp({ ...ports, flags, ...rest, ...fields }));
  }

  /** Sends and expects it to be forwarded; returns where it went. */
  send(packet: Packet): string {
    const fromClient = packet.ip.destination === scene(this.family).vip;
    const result = this.bench.receive(packet, fromClient ? CLIENT_SIDE : SERVER_SIDE);
    expect(result.verdict).toBe(VERDICT.redirect);
    return parseFrame(result.frame).ip.destination;
  }

  sendSyn(fields: Partial<Tcp> = {}): string {
    const options = joinBytes(TCP_OPTION.mss(1460), TCP_OPTION.sackPermitted, TCP_OPTION.windowScale(SCALE));
    return this.send(this.client(syn, { sequence: CLIENT_ISN, acknowledgment: 0, window: 64_240, options, ...fields }));
  }

  sendSynAck(fields: Partial<Tcp> = {}, index = 0): void {
    const options = joinBytes(TCP_OPTION.mss(1460), TCP_OPTION.windowScale(SCALE));
    this.send(this.server(syn | ack, { sequence: SERVER_ISN, window: 65_160, options, ...fields }, index));
  }

  establish(index = 0): void {
    this.sendSyn();
    this.sendSynAck({}, index);
    this.send(this.client(ack));
    this.send(this.server(ack, {}, index));
  }

  /** State of both directions: they are one flow, so they have to agree. */
  state(index = 0): number | undefined {
    const { vip, client, endpoint } = scene(this.family);
    const at = { address: client.address, port: this.clientPort };
    const forward = this.bench.findFlow(6, at, { address: vip, port: SERVICE_PORT });
    const reverse = this.bench.findFlow(6, { address: endpoint(index).address, port: ENDPOINT_PORT }, at);
    expect(reverse?.state).toBe(forward?.state);
    return forward?.state;
  }
}

function describeStates(bench: () => Bench): void {
  describe.each([4, 6] as const)('IPv%d', (family) => {
    const { vip, endpoint } = scene(family);
    const addService = (count = 1): Service =>
      bench().addService({
        address: vip,
        port: SERVICE_PORT,
        protocol: 6,
        endpoints: Array.from({ length: count }, (_, index) => ({ address: endpoint(index).address })),
      });
    const flowsOf = (service: Service) => {
      const { active, pending } = bench().path.maps.endpointFlows.need(service.endpointIds[0] ?? 0);
      return { active, pending };
    };

    it('handshake: sync-sent, sync-ack, established', () => {
      const service = addService();
      const talk = new Talk(bench(), family);
      talk.sendSyn();
      expect(talk.state()).toBe(CtTcpState.CT_TCP_SYN_SENT);
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 2 });
      expect(flowsOf(service)).toEqual({ active: 0, pending: 1 });
      talk.sendSynAck();
      expect(talk.state()).toBe(CtTcpState.CT_TCP_SYN_ACK);
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 2 });
      talk.send(talk.client(ack));
      expect(talk.state()).toBe(CtTcpState.CT_TCP_EST);
      expect(bench().flowCount()).toEqual({ confirmed: 2, pending: 0 });
      expect(flowsOf(service)).toEqual({ active: 1, pending: 0 });
      expect(bench().path.counters()).toMatchObject({ EVENT_FLOW_CREATED: 1, EVENT_FLOW_CONFIRMED: 1 });
    });

    it('data keeps it established', () => {
      addService();
      const talk = new Talk(bench(), family);
      talk.establish();
      for (let round = 0; round < 5; round++) {
        talk.send(talk.client(ack | psh, { payload: text('request') }));
        talk.send(talk.server(ack | psh, { payload: text('response') }));
      }
      expect(talk.state()).toBe(CtTcpState.CT_TCP_EST);
    });

    it('retransmitted SYN and SYN-ACK change nothing', () => {
      addService(2);
      const talk = new Talk(bench(), family);
      for (let round = 0; round < 3; round++) expect(talk.sendSyn()).toBe(endpoint(0).address);
      expect(talk.state()).toBe(CtTcpState.CT_TCP_SYN_SENT);
      talk.sendSynAck();
      expect(talk.sendSyn()).toBe(endpoint(0).address);
      talk.sendSynAck();
      talk.send(talk.client(ack));
      expect(talk.state()).toBe(CtTcpState.CT_TCP_EST);
      expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(1);
    });

    it('a SYN that offers ECN opens a flow like any other', () => {
      addService();
      const talk = new Talk(bench(), family);
      talk.send(talk.client(syn | TCP.ece | TCP.cwr, { sequence: CLIENT_ISN, acknowledgment: 0 }));
      expect(talk.state()).toBe(CtTcpState.CT_TCP_SYN_SENT);
    });

    it('an ACK before the SYN-ACK establishes nothing', () => {
      addService();
      const talk = new Talk(bench(), family);
      talk.sendSyn();
      talk.send(talk.client(ack));
      expect(talk.state()).toBe(CtTcpState.CT_TCP_SYN_SENT);
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 2 });
    });

    it('an ACK of something the server never sent does not confirm the flow', () => {
      addService();
      const talk = new Talk(bench(), family);
      talk.sendSyn();
      talk.sendSynAck();
      talk.send(talk.client(ack, { acknowledgment: SERVER_ISN + 0x40000000 }));
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 2 });
      talk.send(talk.client(ack));
      expect(bench().flowCount()).toEqual({ confirmed: 2, pending: 0 });
    });

    it.each([
      ['client', 'server'],
      ['server', 'client'],
    ] as const)('the %s closes first: fini, closed-wait, and the last ACK still arrives', (first, second) => {
      addService();
      const talk = new Talk(bench(), family);
      talk.establish();
      talk.send(talk[first](fin | ack));
      expect(talk.state()).toBe(CtTcpState.CT_TCP_FINI);
      talk.send(talk[second](ack, { payload: text('more') }));
      expect(talk.state()).toBe(CtTcpState.CT_TCP_FINI);
      talk.send(talk[second](fin | ack));
      expect(talk.state()).toBe(CtTcpState.CT_TCP_CLOSED_WAIT);
      talk.send(talk[first](ack));
      talk.send(talk[second](fin | ack));
      expect(talk.state()).toBe(CtTcpState.CT_TCP_CLOSED_WAIT);
    });

    it('a FIN sent twice by one side is not the FIN of the other', () => {
      addService();
      const talk = new Talk(bench(), family);
      talk.establish();
      talk.send(talk.client(fin | ack));
      talk.send(talk.client(fin | ack));
      expect(talk.state()).toBe(CtTcpState.CT_TCP_FINI);
    });

    it('the port may be used again after both FINs, and the new flow is a new choice', () => {
      const service = addService(2);
      const talk = new Talk(bench(), family);
      talk.establish();
      talk.send(talk.client(fin | ack));
      talk.send(talk.server(fin | ack));
      expect(talk.sendSyn({ sequence: 77_000 })).toBe(endpoint(1).address);
      expect(talk.state(1)).toBe(CtTcpState.CT_TCP_SYN_SENT);
      expect(flowsOf(service)).toEqual({ active: 0, pending: 0 });
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 2 });
      expect(bench().path.counters().EVENT_FLOW_CREATED).toBe(2);
    });

    it('an endpoint that answers a direct client is not translated for a flow that is over', () => {
      addService();
      const talk = new Talk(bench(), family);
      talk.establish();
      talk.send(talk.client(fin | ack));
      talk.send(talk.server(fin | ack));
      const answer = talk.server(syn | ack, { sequence: 500, acknowledgment: 900 });
      expectUntouched(bench().receive(answer, SERVER_SIDE), buildFrame(answer));
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
    });

    it('a new SYN in place of an unanswered one is the one that counts', () => {
      addService();
      const talk = new Talk(bench(), family);
      talk.sendSyn();
      talk.sendSyn({ sequence: 77_000 });
      talk.sendSynAck({ acknowledgment: 77_001 });
      expect(talk.state()).toBe(CtTcpState.CT_TCP_SYN_ACK);
      talk.send(talk.client(ack, { sequence: 77_001 }));
      expect(bench().flowCount()).toEqual({ confirmed: 2, pending: 0 });
    });

    describe('Fast Open (RFC 7413)', () => {
      const payload = text('GET / HTTP/1.0');

      it.each([
        ['accepted', payload.length],
        ['not accepted', 0],
      ])('data in the SYN, %s', (_name, taken) => {
        addService();
        const talk = new Talk(bench(), family);
        talk.sendSyn({ payload });
        talk.sendSynAck({ acknowledgment: CLIENT_ISN + 1 + taken });
        talk.send(talk.client(ack, { sequence: CLIENT_ISN + 1 + taken }));
        expect(talk.state()).toBe(CtTcpState.CT_TCP_EST);
        expect(bench().flowCount()).toEqual({ confirmed: 2, pending: 0 });
      });

      it('a refusal acknowledges the data too', () => {
        addService();
        const talk = new Talk(bench(), family);
        talk.sendSyn({ payload });
        talk.send(talk.server(rst | ack, { sequence: 0, acknowledgment: CLIENT_ISN + 1 + payload.length }));
        expect(talk.state()).toBe(CtTcpState.CT_TCP_CLOSED_WAIT);
      });

      it('data of the server before the handshake ends', () => {
        addService();
        const talk = new Talk(bench(), family);
        talk.sendSyn();
        talk.sendSynAck();
        talk.send(talk.server(ack | psh, { payload: text('220 ready') }));
        talk.send(talk.client(ack, { acknowledgment: SERVER_ISN + 1 + 9 }));
        expect(talk.state()).toBe(CtTcpState.CT_TCP_EST);
      });
    });

    it('a forged FIN does not make a flow one that a forged SYN may end', () => {
      addService(2);
      const talk = new Talk(bench(), family);
      talk.establish();
      talk.send(talk.client(fin | ack, { sequence: CLIENT_ISN + 0x40000000 }));
      expect(talk.state()).toBe(CtTcpState.CT_TCP_EST);
      expect(talk.sendSyn({ sequence: 77_000 })).toBe(endpoint(0).address);
      expect(talk.state()).toBe(CtTcpState.CT_TCP_EST);
    });

    it('a SYN into an established flow goes to the same endpoint, which will challenge it', () => {
      addService(2);
      const talk = new Talk(bench(), family);
      talk.establish();
      expect(talk.sendSyn({ sequence: 77_000 })).toBe(endpoint(0).address);
      expect(talk.state()).toBe(CtTcpState.CT_TCP_EST);
    });

    describe('reset', () => {
      const refusedBy = (talk: Talk, packet: Packet): void => {
        const before = talk.state();
        talk.send(packet);
        expect(talk.state()).toBe(before);
        expect(bench().path.counters().EVENT_RST_IGNORED).toBe(1);
      };
      const scaled = CLIENT_WINDOW << SCALE;

      it.each([
        ['at the acknowledged byte', SERVER_ISN + 1],
        ['at the end of the window', SERVER_ISN + 1 + scaled - 1],
      ])('of the server ends the flow: %s', (_where, sequence) => {
        addService();
        const talk = new Talk(bench(), family);
        talk.establish();
        talk.send(talk.server(rst, { sequence, acknowledgment: 0 }));
        expect(talk.state()).toBe(CtTcpState.CT_TCP_CLOSED_WAIT);
        expect(bench().path.counters().EVENT_RST_IGNORED).toBeUndefined();
      });

      it.each([
        ['below the acknowledged byte', SERVER_ISN],
        ['behind the window', SERVER_ISN + 1 + scaled + 1],
        ['far away', SERVER_ISN + 0x7fffffff],
      ])('of the server is not believed %s', (_where, sequence) => {
        addService();
        const talk = new Talk(bench(), family);
        talk.establish();
        refusedBy(talk, talk.server(rst, { sequence, acknowledgment: 0 }));
      });

      it('of the client is judged by the window of the server', () => {
        addService();
        const talk = new Talk(bench(), family);
        talk.establish();
        refusedBy(talk, talk.client(rst, { sequence: CLIENT_ISN + 1 + (SERVER_WINDOW << SCALE) + 1 }));
        talk.send(talk.client(rst | ack));
        expect(talk.state()).toBe(CtTcpState.CT_TCP_CLOSED_WAIT);
      });

      it('windows are not scaled unless both sides offered it (RFC 7323 2.2)', () => {
        addService();
        const talk = new Talk(bench(), family);
        talk.sendSyn();
        talk.sendSynAck({ options: TCP_OPTION.mss(1460) });
        talk.send(talk.client(ack));
        talk.send(talk.server(ack));
        refusedBy(talk, talk.server(rst, { sequence: SERVER_ISN + 1 + CLIENT_WINDOW + 1 }));
      });

      it('the window of a SYN is not scaled (RFC 7323 2.2)', () => {
        addService();
        const talk = new Talk(bench(), family);
        talk.sendSyn();
        talk.sendSynAck();
        talk.send(talk.client(ack));
        refusedBy(talk, talk.client(rst, { sequence: CLIENT_ISN + 1 + 65_160 + (1 << SCALE) }));
      });

      it('a forged ACK does not move the window to where a forged reset is', () => {
        addService();
        const talk = new Talk(bench(), family);
        talk.establish();
        talk.send(talk.client(ack, { acknowledgment: SERVER_ISN + 0x40000000 }));
        refusedBy(talk, talk.server(rst, { sequence: SERVER_ISN + 0x40000000 }));
      });

      it('sequence numbers wrap', () => {
        addService();
        const talk = new Talk(bench(), family);
        talk.sendSyn();
        talk.sendSynAck({ sequence: 0xffffffff });
        talk.send(talk.client(ack, { acknowledgment: 0 }));
        talk.send(talk.client(ack, { acknowledgment: 0 }));
        talk.send(talk.server(ack, { sequence: 0 }));
        talk.send(talk.server(rst, { sequence: 5 }));
        expect(talk.state()).toBe(CtTcpState.CT_TCP_CLOSED_WAIT);
      });

      it('refuses a connection only when it acknowledges its SYN', () => {
        addService();
        const talk = new Talk(bench(), family);
        talk.sendSyn();
        refusedBy(talk, talk.server(rst | ack, { sequence: 0, acknowledgment: CLIENT_ISN + 12_345 }));
        talk.send(talk.server(rst | ack, { sequence: 0, acknowledgment: CLIENT_ISN + 1 }));
        expect(talk.state()).toBe(CtTcpState.CT_TCP_CLOSED_WAIT);
      });

      it('of the client during the handshake has to be at its own next byte', () => {
        addService();
        const talk = new Talk(bench(), family);
        talk.sendSyn();
        talk.sendSynAck();
        refusedBy(talk, talk.client(rst, { sequence: CLIENT_ISN + 2 }));
        talk.send(talk.client(rst, { sequence: CLIENT_ISN + 1 }));
        expect(talk.state()).toBe(CtTcpState.CT_TCP_CLOSED_WAIT);
      });

      it('the port may be used again after a reset', () => {
        addService(2);
        const talk = new Talk(bench(), family);
        talk.establish();
        talk.send(talk.client(rst | ack));
        expect(talk.sendSyn({ sequence: 77_000 })).toBe(endpoint(1).address);
        expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 2 });
      });
    });

    it.each([
      ['ACK', ack],
      ['data', ack | psh],
      ['FIN', fin | ack],
      ['RST', rst],
      ['RST ACK', rst | ack],
      ['SYN ACK', syn | ack],
      ['SYN FIN', syn | fin],
      ['SYN RST', syn | rst],
      ['no flag', 0],
      ['all flags', 0xff],
    ])('%s without a flow goes to the kernel and leaves no trace', (_name, flags) => {
      addService();
      const packet = new Talk(bench(), family).client(flags);
      expectUntouched(bench().receive(packet, CLIENT_SIDE), buildFrame(packet));
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
      expect(bench().path.counters()).toEqual({ PASS_NO_FLOW: 1 });
    });

    it('a segment of the endpoint without a flow goes to the kernel', () => {
      addService();
      const packet = new Talk(bench(), family).server(ack);
      expectUntouched(bench().receive(packet, SERVER_SIDE), buildFrame(packet));
      expect(bench().flowCount()).toEqual({ confirmed: 0, pending: 0 });
    });
  });
}

describePath('TCP states', describeStates);
describePath('TCP states of flows that begin in the half-open table', describeStates, {
  features: { cfg_half_open_flows: 0 },
});
