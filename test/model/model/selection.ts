/** Whom a new flow may go to. */
import { SELECT, type Talk, talkText } from '../commands.js';
import { Disagreement } from '../disagreement.js';
import type { Endpoint, Service } from './service.js';

/** Idle time after which persist forgets a client, seconds. */
export const PERSIST_SECONDS = 10_800;

/**
 * What hash and persist did: the same flow, or client, finds the same endpoint among the same ones, whatever happened in
 * between. The table itself is nobody's business here.
 */
export type Hashed = Map<string, string>;

/** Endpoints a service may choose now; none: new flows are refused. */
export function eligible(service: Service, active: readonly Endpoint[]): readonly Endpoint[] {
  return active.filter((endpoint) => weightOf(service, endpoint) > 0);
}

/** Weights all zero were not meant: they count as equal. */
function weightOf({ endpoints }: Service, { weight }: Endpoint): number {
  return endpoints.every((one) => one.weight === 0) ? 1 : weight;
}

/** Throws unless the service may have chosen `endpoint`, and remembers that it did. */
export function choose(
  service: Service,
  endpoint: Endpoint,
  choice: { readonly talk: Talk; readonly active: readonly Endpoint[]; readonly now: number; readonly hashed: Hashed },
): void {
  const { talk, active, now, hashed } = choice;
  const among = eligible(service, active);
  const all = among.map((one) => `${one.text}*${weightOf(service, one)}`).join();
  switch (service.rule.sel) {
    case SELECT.rr:
      takeTurn(service, endpoint, among, `rr ${all}`, checkOrder);
      break;
    case SELECT.priority:
      takeTurn(service, endpoint, among, `priority ${all}`, (taken) => checkShares(taken, service, among));
      break;
    case SELECT.lc:
      checkOneOf(endpoint, fewest(among), 'lc');
      takeTurn(service, endpoint, among, 'lc', () => undefined);
      break;
    case SELECT.hash:
      checkOneOf(endpoint, among, 'hash');
      checkHashed(hashed, `${all} ${talkText(talk)}`, endpoint);
      break;
    default: {
      const bound = service.clients.get(talk.from);
      const isBound = bound && now - bound.since <= PERSIST_SECONDS && among.includes(bound.endpoint);
      checkOneOf(endpoint, isBound ? [bound.endpoint] : among, 'persist');
      if (!isBound) checkHashed(hashed, `${all} ${talk.from}`, endpoint);
      service.clients.set(talk.from, { endpoint, since: now });
    }
  }
}

function checkOneOf(endpoint: Endpoint, allowed: readonly Endpoint[], selection: string): void {
  if (allowed.includes(endpoint)) return;
  const names = allowed.map(({ text }) => text).join(', ');
  throw new Disagreement(selection, `flow went to ${endpoint.text}, may go to ${names || 'nobody'}`);
}

function fewest(endpoints: readonly Endpoint[]): Endpoint[] {
  const least = Math.min(...endpoints.map(({ current }) => current));
  return endpoints.filter(({ current }) => current === least);
}

function checkHashed(hashed: Hashed, key: string, endpoint: Endpoint): void {
  const before = hashed.get(key) ?? endpoint.text;
  if (before !== endpoint.text)
    throw new Disagreement('hash', `${key} went to ${before} before, now to ${endpoint.text}`);
  hashed.set(key, endpoint.text);
}

type TurnCheck = (taken: readonly Endpoint[], among: readonly Endpoint[], fresh: boolean) => void;

function takeTurn(
  service: Service,
  endpoint: Endpoint,
  among: readonly Endpoint[],
  question: string,
  check: TurnCheck,
): void {
  checkOneOf(endpoint, among, 'turn');
  const { turns } = service;
  const isSame = turns.among === question;
  const taken = [...(isSame ? turns.taken : []), endpoint];
  check(taken, among, turns.fresh);
  service.turns = { among: question, taken, fresh: false };
}

/** rr: in the order given, one after the other, beginning with the first. */
function checkOrder(taken: readonly Endpoint[], among: readonly Endpoint[], fresh: boolean): void {
  const [before, last] = taken.length > 1 ? taken.slice(-2) : [undefined, taken[0]];
  if (before === undefined && !fresh) return;
  const next = before === undefined ? among[0] : among[(among.indexOf(before) + 1) % among.length];
  if (last !== next) throw new Disagreement('rr', `flow went to ${last?.text}, the next is ${next?.text}`);
}

/** priority: of as many flows as a round has, each endpoint got exactly its share, wherever one begins to count. */
function checkShares(taken: readonly Endpoint[], service: Service, among: readonly Endpoint[]): void {
  const divisor = among.reduce((all, one) => gcd(all, weightOf(service, one)), 0);
  const round = among.reduce((all, one) => all + weightOf(service, one) / divisor, 0);
  if (taken.length < round) return;
  const last = taken.slice(-round);
  for (const endpoint of among) {
    const got = last.filter((one) => one === endpoint).length;
    const weight = weightOf(service, endpoint);
    if (got !== weight / divisor)
      throw new Disagreement('priority', `${endpoint.text} got ${got} of ${round}, its weight is ${weight}`);
  }
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
