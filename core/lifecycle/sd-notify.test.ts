import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { recordingLog } from '../testing/silent-log.js';
import { notifyServiceManager } from './sd-notify.js';

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, void *address, unsigned int length)');
const recv = libc.func('long recv(int fd, _Out_ void *data, size_t size, int flags)');
const close = libc.func('int close(int fd)');
const MSG_DONTWAIT = 0x40;

function listen(path: string): number {
  const fd = socket(1, 2, 0) as number;
  const address = Buffer.concat([Buffer.from([1, 0]), Buffer.from(path.replace(/^@/, '\0'))]);
  expect(bind(fd, address, address.length)).toBe(0);
  return fd;
}

function receive(fd: number): string {
  const data = Buffer.alloc(100);
  const size = Number(recv(fd, data, data.length, MSG_DONTWAIT));
  close(fd);
  return data.toString('utf8', 0, Math.max(size, 0));
}

const dir = mkdtempSync(join(tmpdir(), 'loxilb-notify-'));
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it.each([`@loxilb-notify-test-${process.pid}`, join(dir, 'notify')])('tells the manager at %s', async (path) => {
  const fd = listen(path);
  vi.stubEnv('NOTIFY_SOCKET', path);
  await notifyServiceManager('READY=1', recordingLog());
  expect(receive(fd)).toBe('READY=1');
});

it('does not mind when nobody listens', async () => {
  const log = recordingLog();
  vi.stubEnv('NOTIFY_SOCKET', '/nowhere/notify');
  await notifyServiceManager('READY=1', log);
  expect(log.lines.map(({ level }) => level)).toEqual(['warn']);
});
