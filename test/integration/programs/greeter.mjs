// greeter.mjs PORT: a server that speaks first, as mail servers do. It waits for the PROXY protocol header, greets with what
// that says - one JSON line {client, service} - and then echoes.
import { createServer } from 'node:net';

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const PREFIX = 16;

function address(bytes) {
  if (bytes.length === 4) return bytes.join('.');
  return Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16)).join(':');
}

function greeting(header) {
  const size = header[13] >> 4 === 2 ? 16 : 4;
  const at = (offset, length) => header.subarray(PREFIX + offset, PREFIX + offset + length);
  return {
    client: { address: address(at(0, size)), port: at(2 * size, 2).readUInt16BE() },
    service: { address: address(at(size, size)), port: at(2 * size + 2, 2).readUInt16BE() },
  };
}

createServer({ noDelay: true }, (socket) => {
  let got = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('data', function wait(chunk) {
    got = Buffer.concat([got, chunk]);
    if (got.length < PREFIX || got.length < PREFIX + got.readUInt16BE(14)) return;
    socket.off('data', wait);
    if (!got.subarray(0, SIGNATURE.length).equals(SIGNATURE)) {
      socket.end('no header\n');
      return;
    }
    const end = PREFIX + got.readUInt16BE(14);
    socket.write(`${JSON.stringify(greeting(got.subarray(0, end)))}\n`);
    socket.write(got.subarray(end));
    socket.pipe(socket);
  });
}).listen(Number(process.argv[2]), '::', () => console.log('listening'));
