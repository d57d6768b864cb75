/**
 * A round in which each endpoint comes exactly as often as its weight says, spread as evenly as can be: the n-th turn of
 * an endpoint of weight w is due at (n + 1/2) / w of the round, and turns follow in the order they are due.
 *
 * Returns indices into `weights`; weights are reduced by their greatest common divisor first, 0 never comes.
 */
export function weightedSequence(weights: readonly number[]): number[] {
  const divisor = weights.reduce(greatestCommonDivisor, 0);
  if (divisor === 0) return [];
  const turns: { index: number; numerator: number; weight: number }[] = [];
  for (const [index, given] of weights.entries()) {
    const weight = given / divisor;
    for (let turn = 0; turn < weight; turn++) turns.push({ index, numerator: 2 * turn + 1, weight });
  }
  // Cross-multiplied, so that equal due times are equal and the order given decides.
  turns.sort((a, b) => a.numerator * b.weight - b.numerator * a.weight || a.index - b.index);
  return turns.map(({ index }) => index);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
