/**
 * Ports of endpoints. On the wire a span of ports is one entry per port, which is what existing clients send and
 * expect; a rule keeps it as one endpoint with a first and a last port, and so does the data plane.
 */

/** Ports of one address. `targetPortMax` is there only when there are several. */
export interface PortSpan {
  readonly endpointIP: string;
  readonly targetPort: number;
  readonly targetPortMax?: number;
  readonly weight: number;
}

/** From this many on, ports in a row are one endpoint; below, each is probed, counted and chosen for itself. */
export const MIN_SPAN = 8;

export function lastPort({ targetPort, targetPortMax }: PortSpan): number {
  return targetPortMax ?? targetPort;
}

export function portCount(span: PortSpan): number {
  return lastPort(span) - span.targetPort + 1;
}

interface Piece {
  readonly first: number;
  readonly last: number;
  /** Where it was given. */
  readonly position: number;
}

/**
 * The one form a set of endpoints is kept in: ports in a row of equal address and weight are one endpoint when they are
 * many, or as many as the service has (`servicePorts`, the n-th goes to the n-th); others are apart. The order is that of
 * the first port given.
 */
export function joinPorts(given: readonly PortSpan[], servicePorts: number): PortSpan[] {
  if (given.every((one) => one.targetPortMax === undefined) && !hasNeighbours(given)) return [...given];
  const groups = new Map<string, Piece[]>();
  given.forEach((one, position) => {
    const key = `${one.weight}|${one.endpointIP}`;
    const piece = { first: one.targetPort, last: lastPort(one), position };
    const group = groups.get(key);
    if (group) group.push(piece);
    else groups.set(key, [piece]);
  });
  const placed = [...groups].flatMap(([key, pieces]) => {
    const [weight = '', endpointIP = ''] = splitOnce(key);
    return runsOf(pieces).flatMap((run) =>
      pieceSpans(run, servicePorts).map(({ first, last, position }) => ({
        position,
        span: spanOf(endpointIP, first, last, Number(weight)),
      })),
    );
  });
  placed.sort((a, b) => a.position - b.position || a.span.targetPort - b.span.targetPort);
  return placed.map(({ span }) => span);
}

/** Two entries of one address: the usual rule has none and needs no more thought. */
function hasNeighbours(given: readonly PortSpan[]): boolean {
  return new Set(given.map(({ endpointIP }) => endpointIP)).size < given.length;
}

function splitOnce(key: string): [string, string] {
  const at = key.indexOf('|');
  return [key.slice(0, at), key.slice(at + 1)];
}

/** Pieces that touch, in the order of their ports. */
function runsOf(pieces: readonly Piece[]): Piece[][] {
  const runs: Piece[][] = [];
  let end = Number.NaN;
  for (const piece of [...pieces].sort((a, b) => a.first - b.first)) {
    if (piece.first === end + 1) runs.at(-1)?.push(piece);
    else runs.push([piece]);
    end = piece.last;
  }
  return runs;
}

function pieceSpans(run: readonly Piece[], servicePorts: number): Piece[] {
  const first = run[0]?.first ?? 0;
  const last = run.at(-1)?.last ?? 0;
  const ports = last - first + 1;
  if (ports >= MIN_SPAN || ports === servicePorts) {
    return [{ first, last, position: Math.min(...run.map(({ position }) => position)) }];
  }
  return run.flatMap(({ first: port, last: end, position }) =>
    Array.from({ length: end - port + 1 }, (_, index) => ({ first: port + index, last: port + index, position })),
  );
}

function spanOf(endpointIP: string, first: number, last: number, weight: number): PortSpan {
  return { endpointIP, targetPort: first, ...(last > first && { targetPortMax: last }), weight };
}

/** `from` without the ports of `taken`; weights do not matter. */
export function withoutPorts(from: readonly PortSpan[], taken: readonly PortSpan[]): PortSpan[] {
  return from.flatMap((span) => {
    const cuts = taken.filter(({ endpointIP }) => endpointIP === span.endpointIP);
    return cuts.reduce((left, cut) => left.flatMap((one) => cutOut(one, cut)), [span]);
  });
}

function cutOut(span: PortSpan, cut: PortSpan): PortSpan[] {
  const { endpointIP, weight } = span;
  if (lastPort(cut) < span.targetPort || cut.targetPort > lastPort(span)) return [span];
  const left: PortSpan[] = [];
  if (span.targetPort < cut.targetPort) left.push(spanOf(endpointIP, span.targetPort, cut.targetPort - 1, weight));
  if (lastPort(cut) < lastPort(span)) left.push(spanOf(endpointIP, lastPort(cut) + 1, lastPort(span), weight));
  return left;
}
