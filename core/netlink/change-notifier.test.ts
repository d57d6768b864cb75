import type { NetworkChange } from '@loxilb/sdk';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { silentLog } from '../dataplane/testing/silent-log.js';
import { ChangeNotifier } from './change-notifier.js';

let notifier: ChangeNotifier;
let seen: NetworkChange[][];

beforeEach(() => {
  vi.useFakeTimers();
  vi.setSystemTime(1_000_000);
  notifier = new ChangeNotifier(silentLog);
  seen = [];
  notifier.subscribe((kinds) => seen.push([...kinds]));
  vi.advanceTimersByTime(1000);
});

afterEach(() => {
  notifier.close();
  vi.useRealTimers();
});

it('tells of a first change at once and of a burst together', () => {
  notifier.report('link');
  notifier.report('route');
  vi.advanceTimersByTime(1);
  expect(seen).toEqual([['link', 'route']]);
  for (let index = 0; index < 100; index++) notifier.report('neighbor');
  vi.advanceTimersByTime(20);
  expect(seen.length).toBe(1);
  vi.advanceTimersByTime(40);
  expect(seen).toEqual([['link', 'route'], ['neighbor']]);
});

it('prepares once per flush, and what that reports goes along', () => {
  let prepared = 0;
  const prepare = () => {
    prepared++;
    notifier.report('route');
  };
  notifier.report('link', prepare);
  notifier.report('link', prepare);
  vi.advanceTimersByTime(1);
  expect(prepared).toBe(1);
  expect(seen).toEqual([['link', 'route']]);
  vi.advanceTimersByTime(200);
  expect(seen.length).toBe(1);
});

it('tells the others when one listener fails, and nobody after close', () => {
  notifier.subscribe(() => {
    throw new Error('mine alone');
  });
  const last = vi.fn();
  notifier.subscribe(last);
  notifier.report('link');
  vi.advanceTimersByTime(1);
  expect(last).toHaveBeenCalledTimes(1);
  notifier.report('link');
  notifier.close();
  vi.advanceTimersByTime(200);
  expect(last).toHaveBeenCalledTimes(1);
});
