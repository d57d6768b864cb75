// many-ports.mjs NAME FIRST LAST: TCP and UDP on all these ports, both families. Everyone who asks is told {name, from,
// port}, with the port that was reached.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const [name, first, last] = process.argv.slice(2);
const plain = (text) => text?.replace(/^::ffff:/, '') ?? '';
const answer = (address, asking, port) =>
  `${JSON.stringify({ name, from: { address: plain(address), port: asking }, port })}\n`;

function listen(port) {
  const tcp = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.write(answer(socket.remoteAddress, socket.remotePort, port));
  });
  const udp = createSocket('udp6');
  udp.on('message', (_, remote) => udp.send(answer(remote.address, remote.port, port), remote.port, remote.address));
  return new Promise((resolve) => tcp.listen(port, '::', () => udp.bind(port, '::', resolve)));
}

const ports = Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => Number(first) + index);
await Promise.all(ports.map(listen));
console.log('listening');
