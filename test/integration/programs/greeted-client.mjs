// greeted-client.mjs JSON: connects to a server that speaks first, waits for its line and then sends `bytes` bytes, which are to
// come back. Prints {greeting, echoed}.
import { connect } from 'node:net';

const { host, port, localPort, bytes } = JSON.parse(process.argv[2]);
const text = 'hello '.repeat(bytes / 6 + 1).slice(0, bytes);
const socket = connect({ host, port, localPort, noDelay: true });
let got = '';
let greeting;

function finish(echoed) {
  console.log(JSON.stringify({ greeting, echoed }));
  process.exit(0);
}

socket.setTimeout(8_000, () => finish(false));
socket.on('error', () => finish(false)).on('close', () => finish(false));
socket.setEncoding('utf8').on('data', (chunk) => {
  got += chunk;
  const end = got.indexOf('\n');
  if (!greeting && end >= 0) {
    greeting = JSON.parse(got.slice(0, end));
    got = got.slice(end + 1);
    socket.write(text);
  }
  if (greeting && got.length >= text.length) finish(got === text);
});
