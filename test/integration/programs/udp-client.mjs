// udp-client.mjs JSON: sends `count` datagrams to host:port, each from a socket of its own unless `sameSocket`, and
// prints a JSON array of the answers: {name, from, echo} or {error}. Sockets stay open to the end: the kernel chooses ports
// at random, and one that it chose again would belong to a flow that is there already.
import { createSocket } from 'node:dgram';

const options = { count: 1, sameSocket: false, timeoutMs: 5000, size: 0, ...JSON.parse(process.argv[2]) };
const family = options.host.includes(':') ? 'udp6' : 'udp4';
const results = [];

function open(index) {
  return new Promise((resolve) => {
    const socket = createSocket(family);
    // Connected, so that an ICMP error comes back as an error of the socket.
    const connect = () => socket.connect(options.port, options.host, () => resolve(socket));
    const list = [options.localAddress ?? []].flat();
    const port = options.localPort ? options.localPort + index : 0;
    if (list.length > 0) socket.bind(port, list[index % list.length], connect);
    else connect();
  });
}

function ask(socket, index) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => finish({ error: 'ETIMEDOUT' }), options.timeoutMs);
    const finish = (result) => {
      clearTimeout(timer);
      socket.removeAllListeners('message');
      socket.removeAllListeners('error').on('error', () => {});
      resolve(result);
    };
    socket.on('error', (error) => finish({ error: error.code }));
    socket.on('message', (message) =>
      finish({
        ...JSON.parse(message.toString()),
        local: { address: socket.address().address, port: socket.address().port },
      }),
    );
    socket.send(String(index).padEnd(options.size, '.'));
  });
}

const shared = options.sameSocket ? await open(0) : undefined;
for (let index = 0; index < options.count; index++) {
  const socket = shared ?? (await open(index));
  results.push(await ask(socket, index));
}
console.log(JSON.stringify(results));
process.exit(0);
