import { expect, it } from 'vitest';
import { RateMeter } from './rate-meter.js';

let now = 0;
const meter = () => {
  now = 0;
  return new RateMeter(() => now);
};

it('is the average since the reading before', () => {
  const rates = meter();
  expect(rates.read(1, 100)).toBeUndefined();
  now = 2_000;
  expect(rates.read(1, 150)).toBe(25);
  now = 12_000;
  expect(rates.read(1, 151)).toBe(0.1);
});

it('does not change within a second, whoever asks', () => {
  const rates = meter();
  rates.read(1, 0);
  now = 500;
  expect(rates.read(1, 10)).toBeUndefined();
  now = 1_000;
  expect(rates.read(1, 10)).toBe(10);
  now = 1_900;
  expect(rates.read(1, 500)).toBe(10);
});

it('says nothing from a reading of long ago, of another owner of the id, or of a counter that began anew', () => {
  const rates = meter();
  rates.read(1, 0);
  now = 301_000;
  expect(rates.read(1, 10)).toBeUndefined();
  now = 302_000;
  expect(rates.read(1, 5)).toBeUndefined();
  now = 303_000;
  rates.forget([1]);
  expect(rates.read(1, 6)).toBeUndefined();
});
