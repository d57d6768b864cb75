// talking-client.mjs JSON: opens `count` connections to an echo server, writes one byte to each every `everyMs` and waits
// for its echo. Prints "talking" when all are open, and on SIGTERM {"open", "ended", "rounds"}: connections that still
// answer, connections that do not, and how often the slowest of the open ones was answered. Each of them says something
// once more then, and has LAST_ANSWER_MS to be answered: neither is a live one counted as ended because the signal came in
// the middle of a round, nor one as open whose end nobody has had the time to look at.
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const LAST_ANSWER_MS = 5_000;
const options = { everyMs: 200, ...JSON.parse(process.argv[2]) };
const talks = await Promise.all(Array.from({ length: options.count }, open));
console.log('talking');
const timer = setInterval(() => {
  for (const talk of talks) if (!talk.ended && talk.answered) talk.say();
}, options.everyMs);
process.once('SIGTERM', async () => {
  clearInterval(timer);
  await untilAnswered();
  for (const talk of talks) if (!talk.ended && talk.answered) talk.say();
  await untilAnswered();
  const open = talks.filter((talk) => !talk.ended && talk.answered);
  const fewest = Math.min(...open.map((talk) => talk.rounds));
  console.log(JSON.stringify({ open: open.length, ended: talks.length - open.length, rounds: fewest }));
  process.exit(0);
});

async function untilAnswered() {
  const deadline = Date.now() + LAST_ANSWER_MS;
  while (Date.now() < deadline && talks.some((talk) => !talk.ended && !talk.answered)) await pause(5);
}

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
