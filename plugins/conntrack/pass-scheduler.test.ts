import type { Logger } from '@loxilb/sdk';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PassResult } from './pass.js';
import { PassScheduler } from './pass-scheduler.js';

const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() } satisfies Logger;

/** `restMs`: until the first flow is over, as a pass finds it. */
function scheduler(options: { durationMs?: number; entries?: number; activity?: bigint; restMs?: number } = {}) {
  const { activity = 0n, entries = 0, restMs = 0, durationMs = 10 } = options;
  const state = { passes: 0, cuts: [] as boolean[], activity, entries, restMs, fails: false };
  const run = async (cut: boolean): Promise<PassResult> => {
    state.cuts.push(cut);
    await new Promise((resolve) => setTimeout(resolve, durationMs));
    state.passes++;
    if (state.fails) throw new Error('walk failed');
    const confirmed = { seen: state.entries, expired: 0 };
    return { confirmed, fresh: { seen: 0, expired: 0 }, restMs: state.restMs, durationMs };
  };
  const passes = new PassScheduler({ run, activity: () => state.activity, intervalMs: 1000, log });
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
    ['where there has never been a flow', 0n],
    ['where there have been flows', 7n],
  ])('rests when the tables are empty and wakes with the first flow: %s', async (_, activity) => {
    const { state, passes } = scheduler({ activity });
    passes.start();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(state.passes).toBe(1);
    state.activity = activity + 1n;
    state.entries = 2;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(state.passes).toBeGreaterThanOrEqual(5);
    await passes.stop();
  });

  it('rests until the first flow is over', async () => {
    const { state, passes } = scheduler({ entries: 2, activity: 1n, restMs: 30_000 });
    passes.start();
    await vi.advanceTimersByTimeAsync(30_900);
    expect(state.passes).toBe(1);
    await vi.advanceTimersByTimeAsync(1_200);
    expect(state.passes).toBe(2);
    await passes.stop();
  });

  it('rests for a minute at most', async () => {
    const { state, passes } = scheduler({ entries: 2, activity: 1n, restMs: 86_400_000 });
    passes.start();
    await vi.advanceTimersByTimeAsync(601_000);
    expect(state.passes).toBeGreaterThanOrEqual(9);
    expect(state.passes).toBeLessThanOrEqual(11);
    await passes.stop();
  });

  it('looks again within a second when a flow began, was closed or ended, and rests again', async () => {
    const { state, passes } = scheduler({ entries: 2, activity: 1n, restMs: 30_000 });
    passes.start();
    await vi.advanceTimersByTimeAsync(5_000);
    state.activity = 2n;
    await vi.advanceTimersByTimeAsync(1_100);
    expect(state.passes).toBe(2);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(state.passes).toBe(2);
    await passes.stop();
  });

  it('looks again when something happened while it looked', async () => {
    const { state, passes } = scheduler({ entries: 2, activity: 1n, restMs: 30_000, durationMs: 40 });
    passes.start();
    await vi.advanceTimersByTimeAsync(1_020);
    state.activity = 2n;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(state.passes).toBe(2);
    await passes.stop();
  });

  it.each([
    ['between passes', 5_000],
    ['during a pass', 1_020],
  ])('is not put off when flows may be over sooner than it knew: told %s', async (_, when) => {
    const { state, passes } = scheduler({ entries: 2, activity: 1n, restMs: 30_000, durationMs: 40 });
    passes.start();
    await vi.advanceTimersByTimeAsync(when);
    passes.hasten();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(state.passes).toBe(2);
    await passes.stop();
  });

  it('looks again soon after a pass that failed', async () => {
    const { state, passes } = scheduler({ entries: 2, activity: 1n, restMs: 30_000 });
    passes.start();
    await vi.advanceTimersByTimeAsync(2_000);
    state.fails = true;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(log.error).toHaveBeenCalled();
    state.fails = false;
    const failed = state.passes;
    await vi.advanceTimersByTimeAsync(1_100);
    expect(state.passes).toBe(failed + 1);
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
    const { state, passes } = scheduler({ activity: 7n });
    for (let round = 0; round < 5; round++) {
      const request = passes.request();
      await vi.advanceTimersByTimeAsync(10);
      await request;
    }
    expect(state.passes).toBe(1);
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
