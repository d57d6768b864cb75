import fc from 'fast-check';
import { expect, it } from 'vitest';
import { joinPorts, lastPort, MIN_SPAN, type PortSpan, withoutPorts } from './spans.js';

const one = (targetPort: number, weight = 1, endpointIP = '10.0.0.1'): PortSpan => ({ endpointIP, targetPort, weight });
const span = (targetPort: number, targetPortMax: number): PortSpan => ({
  endpointIP: '10.0.0.1',
  targetPort,
  targetPortMax,
  weight: 1,
});
const ports = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

it('joins many ports in a row and leaves few apart', () => {
  expect(
    joinPorts(
      ports(5201, 5300).map((port) => one(port)),
      1,
    ),
  ).toEqual([span(5201, 5300)]);
  expect(joinPorts([one(8080), one(8081)], 1)).toEqual([one(8080), one(8081)]);
  expect(joinPorts([span(8080, 8081)], 1)).toEqual([one(8080), one(8081)]);
});

it('joins as many as the service has', () => {
  expect(joinPorts([one(8080), one(8081)], 2)).toEqual([span(8080, 8081)]);
  expect(joinPorts([one(8080), one(8081), one(8082)], 2)).toHaveLength(3);
});

it('keeps the order of the first port, whatever the order of the others', () => {
  const given = [
    one(1, 1, '10.0.0.2'),
    ...ports(10, 20)
      .reverse()
      .map((port) => one(port)),
    one(1, 1, '10.0.0.3'),
  ];
  expect(joinPorts(given, 1)).toEqual([one(1, 1, '10.0.0.2'), span(10, 20), one(1, 1, '10.0.0.3')]);
});

it('keeps weights apart', () => {
  const given = ports(1, 20).map((port) => one(port, port > 10 ? 2 : 1));
  expect(joinPorts(given, 1)).toEqual([span(1, 10), { ...span(11, 20), weight: 2 }]);
});

it('takes 65535 entries of several addresses', () => {
  const given = ['10.0.0.1', '10.0.0.2'].flatMap((address) => ports(1, 65_535).map((port) => one(port, 1, address)));
  expect(joinPorts(given, 65_535)).toEqual([
    { ...span(1, 65_535), endpointIP: '10.0.0.1' },
    { ...span(1, 65_535), endpointIP: '10.0.0.2' },
  ]);
});

const spans = fc
  .uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 50 })
  .chain((list) => fc.tuple(fc.constant(list), fc.array(fc.integer({ min: 1, max: 2 }), { minLength: 60 })))
  .map(([list, weights]) => list.map((port) => one(port, weights[port % weights.length] ?? 1)));

const expand = (list: readonly PortSpan[]): string[] =>
  list.flatMap((each) => ports(each.targetPort, lastPort(each)).map((port) => `${port}:${each.weight}`)).sort();

it('has the same ports as what was given, in one form', () => {
  fc.assert(
    fc.property(spans, fc.integer({ min: 1, max: 5 }), (given, servicePorts) => {
      const joined = joinPorts(given, servicePorts);
      expect(expand(joined)).toEqual(expand(given));
      expect(joinPorts(joined, servicePorts)).toEqual(joined);
      const byPort = joinPorts([...given].reverse(), servicePorts);
      const sorted = (list: readonly PortSpan[]) => [...list].sort((a, b) => a.targetPort - b.targetPort);
      expect(sorted(byPort)).toEqual(sorted(joined));
      for (const each of joined) {
        const length = lastPort(each) - each.targetPort + 1;
        expect(length === 1 || length >= MIN_SPAN || length === servicePorts).toBe(true);
      }
    }),
  );
});

it('takes ports out as a set would', () => {
  fc.assert(
    fc.property(spans, spans, (from, taken) => {
      const left = withoutPorts(joinPorts(from, 1), joinPorts(taken, 1));
      const gone = new Set(taken.map(({ targetPort }) => targetPort));
      expect(expand(left)).toEqual(expand(from.filter(({ targetPort }) => !gone.has(targetPort))));
    }),
  );
});

it('takes nothing from other addresses', () => {
  expect(withoutPorts([one(80)], [one(80, 1, '10.0.0.2')])).toEqual([one(80)]);
});
