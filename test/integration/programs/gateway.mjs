// gateway.mjs SOCKET PORT: a unix socket outside that leads to a TCP port of 127.0.0.1 inside the namespace it runs in.
import { connect, createServer } from 'node:net';

const [path, port] = process.argv.slice(2);

createServer((outer) => {
  const inner = connect(Number(port), '127.0.0.1');
  inner.on('error', () => outer.destroy());
  outer.on('error', () => inner.destroy());
  inner.on('close', () => outer.destroy());
  outer.on('close', () => inner.destroy());
  outer.pipe(inner).pipe(outer);
}).listen(path, () => console.log('listening'));
