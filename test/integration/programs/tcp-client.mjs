// tcp-client.mjs JSON: opens `count` connections, `parallel` at a time, and prints one JSON array with what the server
// said on each: {name, from, local} or {error, ms}. `hold` keeps all of them open until the end; with `stay` the program
// then prints the result and waits for a signal.
import { connect } from 'node:net';

const options = { count: 1, parallel: 1, hold: false, stay: false, timeoutMs: 5000, ...JSON.parse(process.argv[2]) };
const results = [];
const held = [];
let next = 0;

async function worker() {
  while (next < options.count) {
    const index = next++;
    results[index] = await attempt(index);
  }
}

/** One address for all, or a list that is gone through again and again. */
function localAddressOf(index) {
  const list = [options.localAddress ?? []].flat();
  return list.length > 0 ? { localAddress: list[index % list.length] } : {};
}

function attempt(index) {
  return new Promise((resolve) => {
    const started = performance.now();
    const socket = connect({
      host: options.host,
      port: options.port,
      ...localAddressOf(index),
      ...(options.localPort ? { localPort: options.localPort + index } : {}),
    });
    let text = '';
    const finish = (result) => {
      clearTimeout(timer);
      if (options.hold && !result.error) held.push(socket);
      else socket.destroy();
      resolve({ ...result, ms: Math.round(performance.now() - started) });
    };
    const timer = setTimeout(() => finish({ error: 'ETIMEDOUT' }), options.timeoutMs);
    socket.on('error', (error) => finish({ error: error.code }));
    socket.on('close', () => finish({ error: 'closed' }));
    socket.on('data', (chunk) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0)
        finish({ ...JSON.parse(text.slice(0, end)), local: { address: socket.localAddress, port: socket.localPort } });
    });
  });
}

await Promise.all(Array.from({ length: options.parallel }, worker));
console.log(JSON.stringify(results));
if (options.stay) await new Promise((resolve) => process.on('SIGTERM', resolve));
for (const socket of held) socket.destroy();
process.exit(0);
