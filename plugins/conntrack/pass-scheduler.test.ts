import type { Logger } from '@loxilb/sdk';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PassResult } from './pass.js';
import { PassScheduler } from './pass-scheduler.js';

const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() } satisfies Logger;

function scheduler(options: { durationMs?: number; entries?: number; created?: bigint } = {}) {
  const created = options.created ?? 0n;
  const state = { passes: 0, cuts: [] as boolean[], created, entries: options.entries ?? 0, fails: false };
  const durationMs = options.durationMs ?? 10;
  const run = async (cut: boolean): Promise<PassResult> => {
    state.cuts.push(cut);
    await new Promise((resolve) => setTimeout(resolve, durationMs));
    state.passes++;
    if (state.fails) throw new Error('walk failed');
    return { confirmed: { seen: state.entries, expired: 0 }, fresh: { seen: 0, expired: 0 }, durationMs };
  };
  const passes = new PassScheduler({ run, flowsCreated: () => state.created, intervalMs: 1000, log });
  return { state, passes };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
  vi.clearAllMocks();
});

describe('PassScheduler', () => {
  it.each([
    ['where there has never been a flow', 0n, 1],
    ['where there have been flows', 7n, 2],
  ])('rests when the tables are empty and wakes with the first flow: %s', async (_, created, expected) => {
    const { state, passes } = scheduler({ created });
    passes.start();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(state.passes).toBe(expected);
    state.created = created + 1n;
    state.entries = 2;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(state.passes).toBeGreaterThanOrEqual(expected + 4);
    await passes.stop();
  });

  it('spends at most a twentieth of the time', async () => {
    const { state, passes } = scheduler({ durationMs: 200, entries: 1000 });
    passes.start();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(state.passes).toBeGreaterThanOrEqual(13);
    expect(state.passes * 200).toBeLessThanOrEqual(60_000 / 20);
    await passes.stop();
  });

  it('shares one pass among callers and starts a new one for callers during a pass', async () => {
    const { state, passes } = scheduler({ entries: 5 });
    const first = passes.request();
    const during = [passes.request(), passes.request(), passes.request()];
    await vi.advanceTimersByTimeAsync(10);
    await first;
    expect(state.passes).toBe(1);
    await vi.advanceTimersByTimeAsync(10);
    await Promise.all(during);
    expect(state.passes).toBe(2);
  });

  it('cuts in the pass that begins after it was asked, and in no other', async () => {
    const { state, passes } = scheduler({ entries: 5 });
    const asked = [passes.request(), passes.requestCut(), passes.request()];
    await vi.advanceTimersByTimeAsync(20);
    await Promise.all(asked);
    const later = passes.request();
    await vi.advanceTimersByTimeAsync(10);
    await later;
    expect(state.cuts).toEqual([false, true, false]);
  });

  it('answers a request at once when there is nothing to expire', async () => {
    const { state, passes } = scheduler({ created: 7n });
    for (let round = 0; round < 5; round++) {
      const request = passes.request();
      await vi.advanceTimersByTimeAsync(10);
      await request;
    }
    expect(state.passes).toBe(3);
  });

  it('tells listeners after each pass, until they leave', async () => {
    const { passes } = scheduler({ entries: 1 });
    const listener = vi.fn();
    passes.onPass(() => {
      throw new Error('broken');
    });
    const leave = passes.onPass(listener);
    for (let round = 0; round < 3; round++) {
      const request = passes.request();
      await vi.advanceTimersByTimeAsync(10);
      await request;
      if (round === 1) leave();
    }
    expect(listener).toHaveBeenCalledTimes(2);
    expect(log.error).toHaveBeenCalledTimes(3);
  });

  it('survives a failing pass and hands the failure to who asked', async () => {
    const { state, passes } = scheduler({ entries: 1 });
    state.fails = true;
    const failed = expect(passes.request()).rejects.toThrow('walk failed');
    await vi.advanceTimersByTimeAsync(10);
    await failed;
    passes.start();
    await vi.advanceTimersByTimeAsync(1100);
    expect(log.error).toHaveBeenCalled();
    state.fails = false;
    await vi.advanceTimersByTimeAsync(1100);
    expect(passes.last).toBeDefined();
    await passes.stop();
  });

  it('leaves no timer and starts no pass after stop', async () => {
    const { state, passes } = scheduler({ entries: 1 });
    passes.start();
    const running = passes.request();
    const stopped = passes.stop();
    const late = passes.request();
    await vi.advanceTimersByTimeAsync(60_000);
    await Promise.all([running, stopped, late]);
    expect(state.passes).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});
