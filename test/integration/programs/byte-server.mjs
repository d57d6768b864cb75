// byte-server.mjs PORT BYTES: every connection gets BYTES bytes of a fixed pseudo-random stream, then the end. Prints
// the sha256 of that stream before it listens.
import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { Readable } from 'node:stream';

const [port, bytes] = process.argv.slice(2).map(Number);
const block = Buffer.alloc(1 << 20);
// xorshift32: quick, and no two blocks positions alike.
let seed = 0x9e3779b9;
for (let i = 0; i < block.length; i += 4) {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  block.writeInt32LE(seed | 0, i);
}

function* chunks() {
  for (let sent = 0; sent < bytes; sent += block.length) {
    const chunk = Buffer.from(block.subarray(0, Math.min(block.length, bytes - sent)));
    chunk.writeUInt32LE(sent / block.length, 0);
    yield chunk;
  }
}

const hash = createHash('sha256');
for (const chunk of chunks()) hash.update(chunk);
console.log(`sha256 ${hash.digest('hex')}`);

createServer((socket) => {
  socket.on('error', () => socket.destroy());
  Readable.from(chunks(), { highWaterMark: 2 }).pipe(socket);
}).listen(port, '::', () => console.log('listening'));
