/**
 * Runs in the daemon's namespace: sends rules over kept connections, one request at a time on each, and prints
 * {"seconds":..,"failed":..,"firstFailure":..}. Arguments: first rule, number of rules, connections.
 * Plain sockets instead of an HTTP client, because client and daemon share the CPUs.
 */
import { connect, type Socket } from 'node:net';
import { scaleRule } from './rules.js';

const [first = 0, count = 0, connections = 1] = process.argv.slice(2).map(Number);
let next = first;
let failed = 0;
let firstFailure = '';

function request(index: number): string {
  const body = JSON.stringify(scaleRule(index));
  return (
    'POST /netlox/v1/config/loadbalancer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}

/** Sends rules on one connection until none is left. */
function work(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    let received = '';
    const send = () => {
      if (next >= first + count) return void socket.end(resolve);
      socket.write(request(next++));
    };
    socket.setNoDelay(true);
    socket.on('connect', send);
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      if (!isComplete(received)) return;
      if (!received.startsWith('HTTP/1.1 200')) {
        failed++;
        firstFailure ||= received.slice(0, 500);
      }
      received = '';
      send();
    });
  });
}

function isComplete(answer: string): boolean {
  const head = answer.indexOf('\r\n\r\n');
  if (head < 0) return false;
  const length = /content-length: (\d+)/i.exec(answer.slice(0, head))?.[1];
  return length ? answer.length >= head + 4 + Number(length) : answer.endsWith('\r\n0\r\n\r\n');
}

const begin = performance.now();
await Promise.all(Array.from({ length: connections }, () => work(connect(11111, '127.0.0.1'))));
process.stdout.write(JSON.stringify({ seconds: (performance.now() - begin) / 1e3, failed, firstFailure }));
