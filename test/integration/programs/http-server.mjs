// http-server.mjs NAME PORT: HTTP on both families. GET is answered with the name, PUT with {name, from, bytes, sha256} of
// what was sent.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

const [name, port] = process.argv.slice(2);
const plain = (text) => text?.replace(/^::ffff:/, '') ?? '';

createServer((request, answer) => {
  if (request.method !== 'PUT') {
    answer.end(`${name}\n`);
    return;
  }
  const hash = createHash('sha256');
  let bytes = 0;
  request.on('data', (chunk) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  request.on('end', () => {
    const from = plain(request.socket.remoteAddress);
    answer.end(JSON.stringify({ name, from, bytes, sha256: hash.digest('hex') }));
  });
}).listen(Number(port), '::', () => console.log('listening'));
