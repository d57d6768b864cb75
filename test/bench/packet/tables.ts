import { basename } from 'node:path';
import { formatTable } from '../report.js';
import type { LiveFigure } from './live.js';
import type { Column, PacketFigure } from './measure.js';

/** Verdicts of a packet that was sent on. */
const SENT = { tc: 7, xdp: 4 } as const;

const MATRIX: readonly (readonly [PacketFigure['hook'], Column, string])[] = [
  ['tc', 'hot', '1 flow'],
  ['tc', 'hotBack', 'answers'],
  ['tc', 'many', 'many'],
  ['tc', 'manyBack', 'answers'],
  ['tc', 'new', 'new flow'],
  ['xdp', 'hot', '1 flow'],
  ['xdp', 'hotBack', 'answers'],
  ['xdp', 'many', 'many'],
  ['xdp', 'manyBack', 'answers'],
];

/** Modes in a table of their own where there is one program; several programs side by side otherwise. */
export function formatPackets(figures: readonly PacketFigure[], flows: number): string {
  const subjects = [...new Set(figures.map(({ subject }) => subject))];
  if (subjects.length > 1) return formatList(figures, subjects);
  const modes = new Set(figures.filter(({ column }) => column.startsWith('hot')).map(({ name }) => name));
  const others = figures.filter(({ name }) => !modes.has(name));
  return `${formatModes(figures, [...modes], flows)}\n\n${formatList(others, subjects)}`;
}

/** A row per mode: medians. */
function formatModes(figures: readonly PacketFigure[], modes: readonly string[], flows: number): string {
  const head = MATRIX.map(([hook, , title]) => `${hook}: ${title.replace('many', `${flows} flows`)}`);
  const rows = modes.map((name) => [
    name,
    ...MATRIX.map(([hook, column]) =>
      median(figures.find((figure) => figure.name === name && figure.hook === hook && figure.column === column)),
    ),
  ]);
  const aims = MATRIX.map(([hook, column]) => {
    const aim = figures.find((figure) => figure.hook === hook && figure.column === column)?.aim;
    return aim ? `<= ${aim}` : '';
  });
  return formatTable(['ns net of the empty program', ...head], [['aim', ...aims], ...rows]);
}

function median(figure: PacketFigure | undefined): string {
  if (!figure) return '-';
  const text = figure.median.toFixed(0);
  return figure.verdict === SENT[figure.hook] ? text : `${text} (verdict ${figure.verdict})`;
}

const TITLES: Record<Column, (name: string) => string> = {
  hot: (name) => `${name}, 1 flow`,
  hotBack: (name) => `${name}, 1 flow, answers`,
  many: (name) => `${name}, many flows`,
  manyBack: (name) => `${name}, many flows, answers`,
  new: (name) => `new flow: ${name}`,
  packet: (name) => name,
};

/** A row per kind of packet, three columns per program. */
function formatList(figures: readonly PacketFigure[], subjects: readonly string[]): string {
  const label = (subject: string) => (subjects.length > 1 ? `${basename(subject)} ` : '');
  const rows = new Map<string, PacketFigure[]>();
  for (const figure of figures) {
    const name = `${TITLES[figure.column](figure.name)}${figure.hook === 'xdp' ? ' (XDP)' : ''}`;
    rows.set(name, [...(rows.get(name) ?? []), figure]);
  }
  const head = subjects.flatMap((subject) => [`${label(subject)}median`, 'min', 'max']);
  return formatTable(
    ['ns net of the empty program', ...head, 'aim', 'verdict'],
    [...rows].map(([name, list]) => [
      name,
      ...subjects.flatMap((subject) => spread(list.find((figure) => figure.subject === subject))),
      list[0]?.aim ? `<= ${list[0].aim}` : '',
      [...new Set(list.map(({ verdict }) => verdict))].join(', '),
    ]),
  );
}

function spread(figure: PacketFigure | undefined): string[] {
  return figure ? [figure.median, figure.min, figure.max].map((ns) => ns.toFixed(0)) : ['-', '-', '-'];
}

/** A row per load, a column per way through the balancer. */
export function formatLive(figures: readonly LiveFigure[]): string {
  const [ways, names] = [new Set(figures.map(({ way }) => way)), new Set(figures.map(({ name }) => name))];
  return formatTable(
    ['frames over veth: CPU ns per packet (Mpps)', ...ways],
    [...names].map((name) => [
      name,
      ...[...ways].map((way) => {
        const figure = figures.find((candidate) => candidate.name === name && candidate.way === way);
        if (!figure) return '-';
        const lost = figure.delivered < 0.99 ? `, ${(figure.delivered * 100).toFixed(0)} % arrived` : '';
        return `${figure.median.toFixed(0)} (${(1e3 / figure.median).toFixed(2)}${lost})`;
      }),
    ]),
  );
}
