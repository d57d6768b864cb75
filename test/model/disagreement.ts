/** The balancer did other than the model says. Failures of one `kind` are the same failure to the shrinker. */
export class Disagreement extends Error {
  readonly kind: string;

  constructor(kind: string, message: string) {
    super(`${kind}: ${message}`);
    this.kind = kind;
  }
}

export function agree(kind: string, actual: unknown, expected: unknown): void {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) throw new Disagreement(kind, `is ${is}, should be ${should}`);
}
