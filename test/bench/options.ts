import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

export interface Options {
  readonly full: boolean;
  readonly json: string | undefined;
  readonly parts: ReadonlySet<Part>;
  readonly contenders: ReadonlySet<string> | undefined;
  readonly rounds: number | undefined;
  /** Compiled packet paths of the packet part. */
  readonly objects: readonly string[] | undefined;
  readonly cleanup: boolean;
  /** Append the report to RESULTS.md. */
  readonly record: boolean;
  readonly help: boolean;
}

const PARTS = ['traffic', 'packet', 'programs', 'scale', 'flood'] as const;
export type Part = (typeof PARTS)[number];

export const USAGE = `Usage: npm run bench -- [options]

  --full                all parts, more and longer rounds (about half an hour)
  --only PART[,PART]    traffic, packet, programs, scale, flood; a quick run does traffic and packet
  --contenders A[,B]    of direct, nft, haproxy, nginx, loxilb; on request also onearm, fullnat, dsr,
                        nat64, ppv2, haproxy-ppv2, wires, xdp
  --rounds N            so many rounds of traffic, however long they take
  --object FILE         a packet path to measure instead of bpf/build/loxilb.bpf.o; give it twice to compare two
  --json FILE           write all figures there
  --record              append the report to test/bench/RESULTS.md
  --cleanup             only remove what an interrupted run left behind
`;

export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      full: { type: 'boolean', default: false },
      json: { type: 'string' },
      only: { type: 'string' },
      contenders: { type: 'string' },
      rounds: { type: 'string' },
      object: { type: 'string', multiple: true },
      record: { type: 'boolean', default: false },
      cleanup: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  return {
    full: values.full,
    json: values.json,
    parts: readParts(values.only, values.full),
    contenders: values.contenders ? new Set(values.contenders.split(',')) : undefined,
    rounds: values.rounds ? readCount(values.rounds) : undefined,
    objects: values.object?.map((file) => resolve(file)),
    cleanup: values.cleanup,
    record: values.record,
    help: values.help,
  };
}

function readParts(text: string | undefined, full: boolean): ReadonlySet<Part> {
  if (!text) return new Set(full ? PARTS : ['traffic', 'packet']);
  return new Set(
    text.split(',').map((name) => {
      const part = PARTS.find((known) => known === name);
      if (!part) throw new Error(`--only ${name}: not one of ${PARTS.join(', ')}`);
      return part;
    }),
  );
}

function readCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new Error(`--rounds ${text}: not a positive number`);
  return count;
}
