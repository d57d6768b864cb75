/**
 * How fast one thread turns raw flow entries into JSON.
 *
 *   npx jiti plugins/conntrack/testing/measure-format.ts
 */
import { formatBatch } from '../format.js';
import { guideConnection, rawBatch, type TestFlow } from './entries.js';

const BATCH = 4096;
const ROUNDS = 200;

function measure(title: string, flows: readonly TestFlow[]): void {
  const batch = rawBatch(flows);
  const task = { ...batch, serviceNames: new Map([[7, 'default_web-service1:llb-inst0']]), filter: {} };
  let length = 0;
  for (let round = 0; round < 20; round++) length = formatBatch(task).length;
  const start = process.cpuUsage();
  for (let round = 0; round < ROUNDS; round++) formatBatch(task);
  // Processor time, so that a busy machine tells the same.
  const { user, system } = process.cpuUsage(start);
  const seconds = (user + system) / 1e6;
  const rate = Math.round((batch.count * ROUNDS) / seconds);
  console.log(`${title}: ${rate.toLocaleString('en')} entries/s, ${Math.round(length / batch.count)} bytes each`);
}

function variedFlows(make: (index: number) => TestFlow): TestFlow[] {
  return Array.from({ length: BATCH }, (_, index) => make(index));
}

measure(
  'IPv4',
  variedFlows((index) => {
    const flow = guideConnection(7)[index % 2] as TestFlow;
    const saddr = `10.${index % 7}.${(index >> 4) % 256}.${index % 251}`;
    const counters = { packets: BigInt(index * 17), bytes: BigInt(index * 90_001) };
    return { key: { ...flow.key, saddr, sport: 1024 + index }, entry: { ...flow.entry, ...counters } };
  }),
);
measure(
  'IPv6',
  variedFlows((index) => ({
    key: { saddr: `2001:db8::${index.toString(16)}`, daddr: '2001:db8:1::80', sport: 1024 + index, dport: 80 },
    entry: {
      nsaddr: `2001:db8::${index.toString(16)}`,
      ndaddr: '2001:db8:2:3:4:5:6:7',
      nsport: 1024 + index,
      ndport: 8080,
      state: 3,
      packets: 9n,
      bytes: 999n,
      serviceId: 7,
    },
  })),
);
