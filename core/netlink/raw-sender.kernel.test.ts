/** Raw sockets in a network namespace of their own, with a packet socket of the kernel as the witness. Needs root. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import koffi from 'koffi';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { silentLog } from '../dataplane/testing/silent-log.js';
import { createRawSender } from './index.js';
import type { ClosableRawSender } from './types.js';

const CLONE_NEWNET = 0x40000000;
/** Resets from addresses nobody here has, to 10.98.0.9 and fd98::9. */
const IPV4 = '4500002800004000400600000a6300010a620009' + '07e49c40fffffffe0000000050040000d9a70000';
const IPV6 =
  '6000000000140640fd990000000000000000000000000001fd980000000000000000000000000009' +
  '0050c350deadbeef0000000050040000f2960000';

let sender: ClosableRawSender;

function run(command: string): void {
  const [file = '', ...args] = command.split(' ');
  execFileSync(file, args);
}

beforeAll(async () => {
  const unshare = koffi.load('libc.so.6').func('int unshare(int flags)') as (flags: number) => number;
  if (unshare(CLONE_NEWNET) !== 0) throw new Error('these tests need root: a network namespace could not be made');
  run('ip link set lo up');
  run('ip link add raw0 type veth peer name raw1');
  run('ip link set raw0 up');
  run('ip link set raw1 up');
  run('ip addr add 10.98.0.1/24 dev raw0');
  run('ip -6 addr add fd98::1/64 dev raw0 nodad');
  run('ip neigh add 10.98.0.9 lladdr 02:00:00:00:00:09 dev raw0');
  run('ip neigh add fd98::9 lladdr 02:00:00:00:00:09 dev raw0');
  sender = await createRawSender({ backend: 'kernel', log: silentLog });
});

afterAll(() => sender.close());

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));

/** Text of tcpdump about `count` packets on the wire from now on. */
async function listen(count: number): Promise<() => Promise<string>> {
  const options = ['-l', '-nn', '-v', '-S', '-i', 'raw1', '-c', String(count), 'tcp'];
  const child: ChildProcess = spawn('tcpdump', options, { stdio: ['ignore', 'pipe', 'pipe'] });
  const text: string[] = [];
  child.stdout?.on('data', (chunk: Buffer) => text.push(chunk.toString()));
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await expect.poll(() => said).toContain('listening on');
  // Not `exit`: by then what it has printed may not be read yet.
  const end = once(child, 'close');
  return async () => {
    await end;
    return text.join('');
  };
}

it('sends packets with any source, in both families, as they are', async () => {
  const heard = await listen(2);
  expect([sender.send(bytes(IPV4)), sender.send(bytes(IPV6))]).toEqual(['sent', 'sent']);
  const text = await heard();
  expect(text).toContain('10.99.0.1.2020 > 10.98.0.9.40000: Flags [R]');
  expect(text).toContain('seq 4294967294');
  expect(text).toContain('fd99::1.80 > fd98::9.50000: Flags [R]');
  expect(text).toContain('seq 3735928559');
  // The kernel makes the IPv4 header's checksum, and no other.
  expect(text).not.toContain('bad cksum 0');
});

it('refuses what has no way out or is no packet', () => {
  run('ip route add unreachable 10.97.0.0/16');
  const packet = bytes(IPV4);
  packet.set([10, 97, 0, 1], 16);
  expect(sender.send(packet)).toBe('refused');
  expect([new Uint8Array(0), bytes(IPV4).subarray(0, 19), new Uint8Array(40)].map((one) => sender.send(one))).toEqual([
    'refused',
    'refused',
    'refused',
  ]);
});

it('sends nothing once it is closed', async () => {
  const closed = await createRawSender({ backend: 'kernel', log: silentLog });
  closed.close();
  expect(closed.send(bytes(IPV4))).toBe('refused');
});
