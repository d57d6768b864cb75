// echo-server.mjs NAME PORT [v6only-address]: TCP and UDP, both families. Every TCP connection and every datagram is answered with
// one JSON line that says who was reached and who asked; TCP then echoes what it gets.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const [name, portText, address = '::'] = process.argv.slice(2);
const port = Number(portText);
const plain = (text) => text?.replace(/^::ffff:/, '') ?? '';

const tcp = createServer({ noDelay: true }, (socket) => {
  const from = { address: plain(socket.remoteAddress), port: socket.remotePort };
  socket.on('error', () => socket.destroy());
  socket.write(`${JSON.stringify({ name, from, to: plain(socket.localAddress) })}\n`);
  socket.pipe(socket);
});

const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4');
udp.on('message', (message, remote) => {
  const answer = { name, from: { address: plain(remote.address), port: remote.port }, echo: message.toString() };
  udp.send(`${JSON.stringify(answer)}\n`, remote.port, remote.address);
});

tcp.listen({ port, host: address, backlog: 4096 }, () => {
  udp.bind(port, address, () => console.log('listening'));
});
