import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeDaemon } from './testing/fake-daemon.js';

let daemon: FakeDaemon;
beforeAll(async () => {
  daemon = await FakeDaemon.start();
});
beforeEach(() => daemon.reset());
afterAll(() => daemon.close());

const EVENT = {
  ...{ time: '2026-11-22T22:40:00.123456Z', kind: 'drop', reason: 'source', number: 9, interface: 'eth0' },
  ...{ service: 'web', serviceAddress: '20.20.20.1:80/tcp', protocol: 'tcp', tcpFlags: 'SYN', length: 60 },
  ...{ source: '10.0.0.1:1000', destination: '20.20.20.1:80' },
};
const STREAM = 'text/event-stream';
const LINE =
  '22:40:00.123456 drop  source           eth0     tcp   10.0.0.1:1000 > 20.20.20.1:80, SYN, 60 bytes, service web';

function stream(...messages: readonly (readonly [name: string, data: unknown])[]): string {
  return messages.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join(': alive\n\n');
}

describe('observe', () => {
  it('prints packets until it has enough', async () => {
    const body = stream(
      ['open', {}],
      ['packet', EVENT],
      ['lost', { events: 3, where: 'packet path' }],
      ['packet', EVENT],
    );
    daemon.on('GET /observe', { type: STREAM, body });
    const { status, stdout, stderr } = await daemon.loxicmd('observe --drop --service=web --count=2');
    expect([status, stdout]).toEqual([0, `${LINE}\n${LINE}\n`]);
    expect(stderr).toBe('... 3 packets are not shown: there were more than the packet path had room for\n');
    expect(daemon.requests[0]?.path).toBe('/observe?kind=drop&service=web');
  });

  it('prints JSON by lines, and fails when the daemon ends', async () => {
    daemon.on('GET /observe', { type: STREAM, body: stream(['packet', EVENT]) });
    const { status, stdout, stderr } = await daemon.loxicmd('observe -o json');
    expect([status, JSON.parse(stdout)]).toEqual([1, EVENT]);
    expect(stderr).toBe('Error: the daemon has ended the stream\n');
  });

  it('says what the daemon refuses', async () => {
    const body = { result: 'no service is called x', error: { remedy: 'look' } };
    daemon.on('GET /observe', { status: 404, body });
    expect(await daemon.loxicmd('observe --service=x')).toEqual({
      ...{ status: 1, stdout: 'Error: no service is called x\n', stderr: '  remedy: look\n' },
    });
    daemon.reset();
    expect((await daemon.loxicmd('observe')).stdout).toContain("plugin 'observe' is not enabled");
  });
});

describe('a refusal of the legacy dialect', () => {
  const refused = { status: 1, stdout: 'Error: no service is called x\n', stderr: '' };

  it.each([
    ['GET /observe', 'observe --service=x'],
    ['POST /trace', 'trace 10.0.0.1 20.20.20.1 --tcp=1000:80 --in eth0'],
  ])('to %s is one, although its status is 200', async (operation, line) => {
    daemon.on(operation, { body: { result: 'no service is called x' } });
    expect(await daemon.loxicmd(line)).toEqual(refused);
  });
});

describe('trace', () => {
  const packet = { hex: '0123456789ab', summary: 'a packet', sourceMac: '02:00:00:00:00:01', destinationMac: 'ff' };
  const answer = {
    ...{ interface: 'eth0', before: packet, after: { ...packet, hex: '00', summary: 'another' }, notes: ['a note'] },
    steps: [
      { program: 'tc_ingress', step: 'parsed', text: 'read' },
      { program: 'tc_ingress', step: 'way', text: 'way out' },
    ],
    verdict: { name: 'sent', text: 'sent out of eth1' },
    out: { interface: 'eth1', how: 'known MAC addresses', sourceMac: 'aa', destinationMac: 'bb' },
  };
  const line = 'trace 10.0.0.1 20.20.20.1 --tcp=1000:80 --in eth0';

  it('prints what becomes of the packet', async () => {
    daemon.on('POST /trace', { body: answer });
    const { status, stdout } = await daemon.loxicmd(`${line} --syn --flags=ack`);
    expect(status).toBe(0);
    expect(stdout).toBe(`in:      eth0
packet:  a packet

1. parsed         read
2. way            way out

verdict: sent out of eth1
out:     eth1, known MAC addresses, aa > bb
after:   another
note:    a note
`);
    expect(daemon.requests[0]?.body).toEqual({
      ...{ source: '10.0.0.1', destination: '20.20.20.1', protocol: 'tcp', sourcePort: 1000, destinationPort: 80 },
      ...{ interface: 'eth0', flags: ['syn', 'ack'] },
    });
  });

  it('says which program decides, where there are two', async () => {
    const steps = [{ program: 'xdp_ingress', step: 'xdp', text: 'left to tc' }, ...answer.steps];
    daemon.on('POST /trace', { body: { ...answer, steps } });
    expect((await daemon.loxicmd(line)).stdout).toContain(`
xdp_ingress:
1. xdp            left to tc
tc_ingress:
2. parsed         read
3. way            way out
`);
  });

  it('prints bytes when it may be wide, and JSON', async () => {
    daemon.on('POST /trace', { body: answer });
    expect((await daemon.loxicmd(`${line} -o wide`)).stdout).toContain('         0000  01 23 45 67 89 ab\n');
    expect(JSON.parse((await daemon.loxicmd(`${line} -o json`)).stdout)).toEqual(answer);
  });

  it('asks for what is missing, and shows its help', async () => {
    const { status, stdout } = await daemon.loxicmd('trace 10.0.0.1 20.20.20.1 --tcp=1:2');
    expect([status, stdout]).toEqual([1, 'Error: trace needs --in, the device the packet comes in by\n']);
    expect((await daemon.loxicmd('trace')).stdout).toContain('--in string');
    expect(daemon.requests).toEqual([]);
  });
});

describe('get drops', () => {
  const entry = {
    ...{ reason: 'source', number: 9, packets: 10, meaning: 'not allowed', remedy: 'allow it' },
    services: [{ service: 'web', address: '20.20.20.1:80/tcp', packets: 8 }],
  };
  const rows = (text: string) =>
    text.split('\n').map((row) =>
      row
        .split('|')
        .map((cell) => cell.trim())
        .join('|'),
    );

  it('has a row per service, and one for the rest', async () => {
    daemon.on('GET /config/drops/all', { body: { dropAttr: [entry] } });
    expect(rows((await daemon.loxicmd('get drops')).stdout).slice(2)).toEqual([
      '|source|web|20.20.20.1:80/tcp|8|',
      '|source||-|2|',
      '',
    ]);
    expect(rows((await daemon.loxicmd('get drop -o wide')).stdout).slice(2, 3)).toEqual([
      '|9|source|web|20.20.20.1:80/tcp|8|not allowed|allow it|',
    ]);
  });
});
