// idle-client.mjs JSON: opens a connection to a server that speaks first, writes one byte `writes` times, `everyMs` apart,
// and then is silent until the other side ends it. Prints "connected" when the server has spoken, and at the end
// {"end": error code or "closed", "ms": since its last byte}.
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const options = { writes: 1, everyMs: 500, ...JSON.parse(process.argv[2]) };
const socket = connect({ host: options.host, port: options.port });
let last = performance.now();

const finish = (end) => {
  console.log(JSON.stringify({ end, ms: Math.round(performance.now() - last) }));
  process.exit(0);
};

socket.on('error', (error) => finish(error.code));
socket.on('close', () => finish('closed'));
// The acknowledgment of the answer is the last packet.
socket.on('data', () => {
  last = performance.now();
});
socket.once('data', () => console.log('connected'));
socket.on('connect', async () => {
  for (let count = 0; count < options.writes; count++) {
    if (count > 0) await delay(options.everyMs);
    socket.write('.');
  }
});
