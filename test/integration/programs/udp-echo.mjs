// udp-echo.mjs PORT ADDRESS: sends every datagram back as it is.
import { createSocket } from 'node:dgram';

const [port, address] = process.argv.slice(2);
const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 1 << 20 });
socket.on('message', (message, remote) => socket.send(message, remote.port, remote.address));
socket.bind(Number(port), address, () => console.log('listening'));
