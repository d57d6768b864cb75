// idle-client.mjs JSON: opens a connection to a server that speaks first, writes one byte `writes` times, `everyMs` apart,
// and then is silent until the other side ends it. Prints "connected" when the server has spoken, and at the end
// {"end": error code or "closed", "ms": since the last answer, "stalledMs": how much of that it had no processor}.
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const options = { writes: 1, everyMs: 500, ...JSON.parse(process.argv[2]) };
const socket = connect({ host: options.host, port: options.port });
let last = performance.now();
let stalled = 0;
const BEAT_MS = 10;
let beat = last;
setInterval(() => {
  const now = performance.now();
  if (now - beat > 3 * BEAT_MS) stalled += now - beat - BEAT_MS;
  beat = now;
}, BEAT_MS);

const finish = (end) => {
  console.log(JSON.stringify({ end, ms: Math.round(performance.now() - last), stalledMs: Math.round(stalled) }));
  process.exit(0);
};

socket.on('error', (error) => finish(error.code));
socket.on('close', () => finish('closed'));
// The acknowledgment of the answer is the last packet.
socket.on('data', () => {
  last = performance.now();
  stalled = 0;
});
socket.once('data', () => console.log('connected'));
socket.on('connect', async () => {
  for (let count = 0; count < options.writes; count++) {
    if (count > 0) await delay(options.everyMs);
    socket.write('.');
  }
});
