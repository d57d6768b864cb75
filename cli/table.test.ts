import stringWidth from 'string-width';
import { describe, expect, it } from 'vitest';
import { type MeasureWidth, Table } from './table.js';

function renderTable(titles: string[], rows: string[][], measure?: MeasureWidth): string[] {
  const table = new Table(titles);
  for (const row of rows) table.add(row);
  expect(table.needsMeasure).toBe(measure !== undefined);
  return [...table.lines(measure)];
}

function table(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

describe('Table', () => {
  it('draws the form of the guide', () => {
    expect(renderTable(['Instance', 'RemoteIP', 'State'], [['llb-inst0', '192.168.1.91', 'BFDUp']])).toEqual(
      table(`
        | INSTANCE  |   REMOTEIP   | STATE |
        |-----------|--------------|-------|
        | llb-inst0 | 192.168.1.91 | BFDUp |
      `),
    );
  });

  it('puts plain numbers to the right and everything else to the left', () => {
    const values = ['7', '-12', '1,234', '0.5', '0:0', '8080-8081', '1g', '10.0.0.1', '1,23', ''];
    const lines = renderTable(
      ['Value'],
      values.map((value) => [value]),
    );
    expect(lines.slice(2)).toEqual([
      '|         7 |',
      '|       -12 |',
      '|     1,234 |',
      '|       0.5 |',
      '| 0:0       |',
      '| 8080-8081 |',
      '| 1g        |',
      '| 10.0.0.1  |',
      '| 1,23      |',
      '|           |',
    ]);
  });

  it('writes titles in capitals, centred, with the odd space on the right, on as many lines as they need', () => {
    expect(renderTable(['# of_Endpoints', 'target\nname', 'v1.2 a.b'], [['0123456789 abc d', 'x', 'y']])).toEqual(
      table(`
        |  # OF ENDPOINTS  | TARGET | V1.2 A B |
        |                  |  NAME  |          |
        |------------------|--------|----------|
        | 0123456789 abc d | x      | y        |
      `),
    );
  });

  it('keeps the lines of a cell, and makes the row as tall as its tallest cell', () => {
    const l3 = 'Routed: false\nIPv4 : [10.0.0.1/24]\nIPv6 : []';
    expect(renderTable(['Index', 'L3Info', 'L2Info'], [['1', l3, 'IsPVID: true\nVID : 3801']])).toEqual(
      table(`
        | INDEX |        L3INFO        |    L2INFO    |
        |-------|----------------------|--------------|
        |     1 | Routed: false        | IsPVID: true |
        |       | IPv4 : [10.0.0.1/24] | VID : 3801   |
        |       | IPv6 : []            |              |
      `),
    );
  });

  it('wraps one long line at spaces and never inside a word', () => {
    const three = '192.168.0.201, 192.168.0.202, 192.168.0.203';
    const word = 'fdnat-192.168.1.81,192.168.1.80:30523:w0';
    const lines = renderTable(['A', 'B'], [[three, word]]);
    expect(lines.slice(2)).toEqual([
      `| 192.168.0.201, 192.168.0.202, | ${word} |`,
      `| 192.168.0.203                 | ${' '.repeat(word.length)} |`,
    ]);
    expect(renderTable(['A'], [['192.168.0.201, 192.168.0.202']])[2]).toBe('| 192.168.0.201, 192.168.0.202 |');
  });

  it('breaks lines evenly rather than as late as possible', () => {
    const [first, second, third, last] = ['a'.repeat(14), 'b'.repeat(14), 'd'.repeat(28), 'e'.repeat(30)];
    const lines = renderTable(['A'], [[`${first} ${second} cc ${third} ${last}`]]);
    expect(lines.slice(2).map((line) => line.slice(2, -2).trim())).toEqual([first, `${second} cc`, third, last]);
  });

  it('measures East Asian text by columns and keeps control characters off the terminal', () => {
    const rows = [['웹서버'], ['\u001b[31mred'], ['743.777µs']];
    expect(renderTable(['Name'], rows, (text) => stringWidth(text))).toEqual([
      '|   NAME    |',
      '|-----------|',
      '| 웹서버    |',
      '| ?[31mred  |',
      '| 743.777µs |',
    ]);
  });

  it('lays out 20 000 rows in well under a second', () => {
    const rows = Array.from({ length: 20_000 }, (_, index) => [
      ...[`service-${index}`, '10.0.0.1', '192.168.1.103', String(index), '443', 'tcp', '0:0', 'est'],
      ...['fdnat-192.168.1.81,192.168.1.80:30523:w0', String(index), '1000'],
    ]);
    // The least of some: others use this machine, too.
    const times = Array.from({ length: 3 }, () => {
      const start = performance.now();
      expect(renderTable(Array<string>(11).fill('T'), rows)).toHaveLength(20_002);
      return performance.now() - start;
    });
    expect(Math.min(...times), `milliseconds: ${times}`).toBeLessThan(2000);
  });
});
