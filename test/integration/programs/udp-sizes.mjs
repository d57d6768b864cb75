// udp-sizes.mjs HOST PORT SIZE...: sends a datagram of random bytes of each size to an echo server and prints a JSON array
// of the sizes that came back as they were sent.
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';

const [host, port, ...sizes] = process.argv.slice(2);
const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
const echoed = [];

function ask(size) {
  return new Promise((resolve) => {
    const sent = randomBytes(size);
    const send = () => socket.send(sent);
    // Once more: the first may be the one that learns the path MTU.
    const again = setTimeout(send, 500);
    const timer = setTimeout(() => finish(), 5_000);
    const finish = () => {
      clearTimeout(again);
      clearTimeout(timer);
      socket.removeAllListeners('message');
      resolve();
    };
    socket.on('message', (got) => {
      if (!sent.equals(got)) return;
      echoed.push(size);
      finish();
    });
    send();
  });
}

socket.on('error', () => {});
await new Promise((resolve) => socket.connect(Number(port), host, resolve));
for (const size of sizes.map(Number)) await ask(size);
socket.close();
console.log(JSON.stringify(echoed));
