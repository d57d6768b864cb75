/** The stack of the deepest chain of calls fits what every kernel gives a program. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseElf } from '../../core/dataplane/btf/elf.js';
import { type CallGraph, deepestChain, frameBytes, readCallGraph } from './call-stack.js';
import { OBJECT } from './harness.js';

/** MAX_BPF_STACK and MAX_CALL_FRAMES of the verifier. */
const STACK_BYTES = 512;
const FRAMES = 8;

const graph = readCallGraph(parseElf(readFileSync(OBJECT)));

describe('the call chains of the packet path', () => {
  it.each(graph.roots)('of %s fit the stack', (root) => {
    const { bytes, path } = deepestChain(graph, root);
    expect(bytes, path.join(' -> ')).toBeLessThanOrEqual(STACK_BYTES);
    expect(path.length, path.join(' -> ')).toBeLessThanOrEqual(FRAMES);
  });

  it('are read to their ends', () => {
    expect(graph.roots).toEqual(
      expect.arrayContaining(['tc_ingress', 'tc_egress', 'xdp_ingress', 'ct_walk', 'lb_recount']),
    );
    // A timer's callback, one of a loop, and a function of another section.
    expect(graph.roots).toContain('idle_over');
    expect(graph.functions.get('select_least_connections')?.calls).toContain('consider_next');
    expect(graph.functions.get('tc_ingress')?.calls).toContain('lb_open_flow');
    const calls = [...graph.functions.values()].flatMap(({ calls }) => calls);
    for (const callee of calls) expect(graph.functions.has(callee), callee).toBe(true);
  });
});

describe('the measure', () => {
  const chain = (...frames: readonly number[]): CallGraph => ({
    roots: ['0'],
    functions: new Map(
      frames.map((bytes, index) => [`${index}`, { bytes, calls: index + 1 < frames.length ? [`${index + 1}`] : [] }]),
    ),
  });

  it('rounds every frame up, the empty one too', () => {
    expect(deepestChain(chain(160, 0, 320), '0')).toEqual({ bytes: 512, path: ['0(160)', '1(0)', '2(320)'] });
  });

  it('is beyond the limit with one byte more', () => {
    expect(deepestChain(chain(160, 0, 321), '0').bytes).toBeGreaterThan(STACK_BYTES);
  });

  it('takes the deepest of several callees', () => {
    const frame = (bytes: number, ...calls: string[]) => ({ bytes, calls });
    const functions = new Map([
      ['root', frame(32, 'flat', 'steep')],
      ['flat', frame(64)],
      ['steep', frame(8, 'leaf')],
      ['leaf', frame(64)],
    ]);
    expect(deepestChain({ functions, roots: ['root'] }, 'root').path).toEqual(['root(32)', 'steep(8)', 'leaf(64)']);
  });

  it('finds the lowest place a function uses, by address or at once', () => {
    const none = { at: 0, to: 0, from: 0, offset: 0, immediate: 0 };
    const store = { ...none, code: 0x7b, to: 10, from: 1, offset: -24 };
    const address = { ...none, code: 0xbf, to: 2, from: 10 };
    const down = { ...none, code: 0x07, to: 2, immediate: -40 };
    const through = { ...none, code: 0x63, to: 2, from: 1, offset: -8 };
    expect(frameBytes([])).toBe(0);
    expect(frameBytes([store])).toBe(24);
    expect(frameBytes([store, address, down])).toBe(40);
    expect(frameBytes([store, address, down, through])).toBe(48);
    expect(frameBytes([address, { ...none, code: 0xb7, to: 2 }, down])).toBe(0);
  });
});
