/** Which rules there are, and which of them a packet belongs to. */
import { nameText, OPER, type Protocol, type RuleAsked, type RuleName, type Talk } from '../commands.js';
import { FURTHER_ADDRESS, isV6, MACHINE } from '../places.js';
import { faultsOf, isAnyAddress, isRange, merged, type Rule } from './rule.js';
import { type Endpoint, Service } from './service.js';

export class Directory {
  readonly services = new Map<string, Service>();
  hasFurtherAddress = false;
  /** Endpoints that are down, by address, port and protocol. */
  private readonly down = new Set<string>();

  find(name: RuleName): Service | undefined {
    return this.services.get(nameText(name));
  }

  /** Codes the request may be refused with; none: it must be taken. */
  faults(asked: RuleAsked): string[] {
    const existing = this.find(asked)?.rule;
    const desired = merged(existing, asked);
    const faults = faultsOf(asked, desired);
    if (faults.length > 0) return faults;
    if (existing === undefined && asked.oper === OPER.detach) return ['LB_RULE_MISSING'];
    if (desired && JSON.stringify(desired) === JSON.stringify(existing)) return ['LB_RULE_EXISTS'];
    const overlaps = [...this.services.values()].some(({ rule }) => desired && rangesCollide(rule, desired));
    return overlaps ? ['LB_RANGE_OVERLAP'] : [];
  }

  /** The service, made if there was none, and the endpoints that have left it. */
  follow(name: RuleName, desired: Rule): { readonly service: Service; readonly left: readonly Endpoint[] } {
    const service = this.find(name) ?? new Service(desired);
    this.services.set(nameText(name), service);
    const left = service.follow(desired);
    this.forgetHealth();
    return { service, left };
  }

  delete(name: RuleName): Service | undefined {
    const service = this.find(name);
    this.services.delete(nameText(name));
    this.forgetHealth();
    return service;
  }

  isUp({ rule }: Service, { ip, port }: Endpoint): boolean {
    return !this.down.has(healthKey(ip, port, rule.protocol));
  }

  /** Sets the health of an endpoint, the same for all rules; returns those it changed for. Undefined: no rule has it. */
  setHealth(ip: string, port: number, over: Protocol, up: boolean): [Service, Endpoint][] | undefined {
    const users = [...this.services.values()].flatMap((service): [Service, Endpoint][] => {
      const endpoint = service.endpoints.find((one) => one.is({ ip, port }));
      return endpoint && service.rule.protocol === over ? [[service, endpoint]] : [];
    });
    const key = healthKey(ip, port, over);
    if (users.length === 0) return undefined;
    if (this.down.has(key) === !up) return [];
    if (up) this.down.delete(key);
    else this.down.add(key);
    return users;
  }

  /** The service a packet belongs to. */
  serviceOf({ to, at, over }: Talk, mark: number): Service | undefined {
    const found = [...this.services.values()].filter(
      ({ rule }) =>
        rule.protocol === over &&
        (rule.mark === mark || rule.mark === 0) &&
        rule.port <= at &&
        at <= rule.portMax &&
        this.answersAt(rule, to),
    );
    // Of this mark before of any; a port of its own before a range; an address of its own before all of the machine.
    const order = ({ rule }: Service): number =>
      (rule.mark === mark ? 0 : 4) + (isRange(rule) ? 2 : 0) + (isAnyAddress(rule.vip) ? 1 : 0);
    return found.sort((one, other) => order(one) - order(other))[0];
  }

  private answersAt(rule: Rule, address: string): boolean {
    if (!isAnyAddress(rule.vip)) return rule.vip === address;
    const own: readonly string[] = this.hasFurtherAddress ? [...MACHINE, FURTHER_ADDRESS] : MACHINE;
    if (!own.includes(address) || isV6(rule.vip) !== isV6(address)) return false;
    // It steps back from an address where another rule has some of its ports.
    return ![...this.services.values()].some(
      ({ rule: other }) => other.vip === address && portsCollide({ ...other, vip: rule.vip }, rule),
    );
  }

  /** What is known of an endpoint goes with the last rule that has it. */
  private forgetHealth(): void {
    const used = new Set<string>();
    for (const { rule } of this.services.values())
      for (const { ip, port } of rule.endpoints) used.add(healthKey(ip, port, rule.protocol));
    for (const key of this.down) if (!used.has(key)) this.down.delete(key);
  }
}

function healthKey(ip: string, port: number, over: Protocol): string {
  return `${ip} ${port} ${over}`;
}

/** Two ranges that share a port. A single port inside a range is fine: it comes first. */
function rangesCollide(one: Rule, other: Rule): boolean {
  return isRange(one) && nameText(one) !== nameText(other) && portsCollide(one, other);
}

function portsCollide(one: Rule, other: Rule): boolean {
  if (one.vip !== other.vip || one.protocol !== other.protocol || one.mark !== other.mark) return false;
  return isRange(one) === isRange(other) && one.port <= other.portMax && other.port <= one.portMax;
}
