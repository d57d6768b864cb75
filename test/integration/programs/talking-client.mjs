// talking-client.mjs JSON: opens `count` connections to an echo server, writes one byte to each every `everyMs` and waits
// for its echo. Prints "talking" when all are open, and on SIGTERM {"open", "ended", "rounds"}: connections that still
// answer, connections that do not, and how often the slowest of the open ones was answered.
import { connect } from 'node:net';

const options = { everyMs: 200, ...JSON.parse(process.argv[2]) };
const talks = await Promise.all(Array.from({ length: options.count }, open));
console.log('talking');
setInterval(() => {
  for (const talk of talks) if (!talk.ended && talk.answered) talk.say();
}, options.everyMs);
process.on('SIGTERM', () => {
  const open = talks.filter((talk) => !talk.ended && talk.answered);
  const rounds = Math.min(...open.map((talk) => talk.rounds));
  console.log(JSON.stringify({ open: open.length, ended: talks.length - open.length, rounds }));
  process.exit(0);
});

function open() {
  return new Promise((resolve) => {
    const talk = { rounds: 0, answered: false, ended: false };
    const socket = connect({ host: options.host, port: options.port, noDelay: true });
    talk.say = () => {
      talk.answered = false;
      socket.write('.');
    };
    const end = () => {
      talk.ended = true;
      resolve(talk);
    };
    socket.on('error', end).on('close', end);
    socket.on('data', () => {
      if (talk.answered) return;
      talk.answered = true;
      talk.rounds++;
      resolve(talk);
    });
  });
}
