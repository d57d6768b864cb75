/** Plays a list of commands on the model and on the balancer, and tells where the two part. */
import { type Command, drainText, type RuleAsked, type RuleName } from './commands.js';
import { agree, Disagreement } from './disagreement.js';
import { judge } from './judge.js';
import { compareList } from './listing.js';
import { Balancer } from './model/balancer.js';
import { merged } from './model/rule.js';
import { type RealBalancer, SETTLE_SECONDS, STOP_SECONDS } from './real/balancer.js';
import { codeOf } from './real/daemon.js';

export interface Failure {
  /** Index of the command; the number of commands for what is left over in the end. */
  readonly at: number;
  readonly kind: string;
  readonly message: string;
}

/** Longer than any flow may be silent. */
const FOREVER_SECONDS = 100_000;
/** Packets see real time too: a list that took longer than this may have aged flows. */
const SLOW_MS = 700n;
const ATTEMPTS = 5;

/** Undefined: they agree. */
export async function play(commands: readonly Command[], real: RealBalancer): Promise<Failure | undefined> {
  for (let attempt = 1; ; attempt++) {
    const started = process.hrtime.bigint();
    const failure = await playOnce(commands, real);
    const isSlow = process.hrtime.bigint() - started > SLOW_MS * 1_000_000n;
    if (!failure || !isSlow || attempt === ATTEMPTS) return failure;
  }
}

async function playOnce(commands: readonly Command[], real: RealBalancer): Promise<Failure | undefined> {
  const player = new Player(new Balancer(), real);
  let at = 0;
  try {
    await real.start();
    for (const command of commands) {
      await player.perform(command);
      at++;
      // What it did without is for the next start to see to.
      if (real.isUntidy) break;
    }
    await player.tidyUp();
    return undefined;
  } catch (error) {
    if (error instanceof Disagreement) return { at, kind: error.kind, message: error.message };
    return { at, kind: 'error', message: String(error instanceof Error ? error.stack : error) };
  } finally {
    real.end();
  }
}

class Player {
  constructor(
    private readonly model: Balancer,
    private readonly real: RealBalancer,
  ) {}

  async perform(command: Command): Promise<void> {
    if (command.do === 'client') this.sendAsClient(command);
    else if (command.do === 'endpoint') this.sendAsEndpoint(command);
    else {
      await this.change(command);
      this.compare();
    }
  }

  /** In the end everything is deleted, and nothing is left. */
  async tidyUp(): Promise<void> {
    const { model, real } = this;
    await this.wait(0);
    this.compare();
    this.compareDrains();
    for (const { rule } of [...model.directory.services.values()]) {
      real.delete(rule, 0);
      model.delete(rule, 0);
    }
    await this.wait(FOREVER_SECONDS);
    this.compare();
    if (real.isUntidy) await real.restart(false);
    await this.wait(0);
    agree('left', await real.leftovers(), []);
  }

  private sendAsClient(command: Extract<Command, { do: 'client' }>): void {
    const { say, mark = 0 } = command;
    const prediction = this.model.fromClient(command, say, mark);
    if (prediction) judge(prediction, this.real.send(prediction.packet, mark));
  }

  private sendAsEndpoint(command: Extract<Command, { do: 'endpoint' }>): void {
    const prediction = this.model.fromEndpoint(command, command.say);
    if (prediction) judge(prediction, this.real.send(prediction.packet, 0));
  }

  private async change(command: Exclude<Command, { do: 'client' | 'endpoint' }>): Promise<void> {
    const { model, real } = this;
    switch (command.do) {
      case 'post':
        if (command.dies === undefined) this.post(command.rule, command.fail);
        else await this.postAndDie(command.rule, command.dies);
        break;
      case 'delete':
        this.delete(command.rule, command.drain, command.fail);
        break;
      case 'health': {
        const { ip, port, over, up } = command;
        agree('health', real.health(command), model.health(ip, port, over, up));
        break;
      }
      case 'address':
        model.directory.hasFurtherAddress = command.up;
        real.address(command.up);
        await this.wait(0);
        break;
      case 'flush':
        model.flush(command.name);
        await real.flush(command.name);
        await this.wait(0);
        break;
      case 'restart':
        await this.restart(command.crash === true);
        break;
      case 'wait':
        await this.wait(command.seconds, command.fail);
    }
  }

  private async restart(crash: boolean): Promise<void> {
    this.model.restart();
    await this.real.restart(crash);
    this.model.wait(0, crash ? 0 : STOP_SECONDS);
    await this.wait(0);
  }

  private async wait(seconds: number, fail?: number): Promise<void> {
    await this.pass(seconds, fail);
    if (fail !== undefined) await this.pass(0);
    const { must, may } = this.model.takeResets();
    const told = new Set(this.real.takeResets());
    const missing = [...must].filter((reset) => !told.has(reset) && !may.has(reset));
    const needless = [...told].filter((reset) => !must.has(reset) && !may.has(reset));
    agree('resets', { missing, needless }, { missing: [], needless: [] });
  }

  private async pass(seconds: number, fail?: number): Promise<void> {
    await this.real.wait(seconds, fail);
    this.model.wait(seconds, seconds + SETTLE_SECONDS);
  }

  private compare(): void {
    const [is, should] = [this.real.tuples(), this.model.flows.tuples()];
    const tooMany = is.filter((one) => !should.includes(one));
    const missing = should.filter((one) => !is.includes(one));
    agree('flows', { tooMany, missing }, { tooMany: [], missing: [] });
    compareList(this.real.list(), this.model);
    // What a request could not write or remove is no worse than that, and what it could not remove goes soon.
    if (!this.real.isUntidy) this.compareDrains();
  }

  /** A note is there as long as the endpoint drains. */
  private compareDrains(): void {
    const [is, should] = [this.real.drainNotes(), this.model.drains.map(drainText)];
    const stale = is.filter((one) => !should.includes(one));
    const missing = this.real.isUntidy ? [] : should.filter((one) => !is.includes(one));
    agree('drains', { stale, missing }, { stale: [], missing: [] });
  }

  private post(rule: RuleAsked, fail: number | undefined): void {
    const { model, real } = this;
    const faults = model.directory.faults(rule);
    if (faults.length > 0) this.expectRefused(faults, () => real.post(rule));
    else if (this.succeeds(fail, () => real.post(rule, fail))) model.post(rule);
  }

  /** A request that was not answered has not been. One that takes the whole rule away may have ended its flows. */
  private async postAndDie(rule: RuleAsked, nth: number): Promise<void> {
    const { model, real } = this;
    const isPossible = model.directory.faults(rule).length === 0;
    if (!isPossible || !merged(model.directory.find(rule)?.rule, rule)) this.post(rule, undefined);
    else if (real.postAndDie(rule, nth)) model.post(rule);
    await this.restart(true);
  }

  private delete(rule: RuleName, drain: number | undefined, fail: number | undefined): void {
    const { model, real } = this;
    if (!model.directory.find(rule)) this.expectRefused(['LB_NO_RULE'], () => real.delete(rule, drain));
    else if (this.succeeds(fail, () => real.delete(rule, drain, fail))) model.delete(rule, drain);
  }

  /** A request that makes no sense writes nothing. */
  private expectRefused(codes: readonly string[], act: () => void): void {
    const before = this.real.writes;
    let code = 'none';
    try {
      act();
    } catch (error) {
      code = codeOf(error);
    }
    if (!codes.includes(code)) throw new Disagreement('refusal', `is ${code}, should be ${codes.join(' or ')}`);
    agree('writes of a refused request', this.real.writes - before, 0);
  }

  /** One the kernel did not let through has changed nothing but slots nobody reads. */
  private succeeds(fail: number | undefined, act: () => void): boolean {
    const before = fail === undefined ? new Map() : this.real.snapshot();
    try {
      act();
      return true;
    } catch (error) {
      if (fail === undefined || !codeOf(error).startsWith('DP_')) throw error;
    }
    const after = this.real.snapshot();
    const changed = [...before].filter(([name, bytes]) => after.get(name) !== bytes).map(([name]) => name);
    agree('maps a refused request changed', changed, []);
    return false;
  }
}
