import { type ChildProcess, spawn } from 'node:child_process';
import { until } from './run.js';

/** A program that runs beside the test, with all it has printed. Ended by its own pid only. */
export class Background {
  output = '';
  private readonly child: ChildProcess;
  private readonly ended: Promise<number | NodeJS.Signals>;
  private exit: number | NodeJS.Signals | undefined;

  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ) {
    this.child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', ...env },
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
    this.ended = new Promise((resolve) => {
      this.child.on('error', (error) => {
        this.output += `${error}\n`;
        this.exit = -1;
        resolve(-1);
      });
      this.child.on('close', (code, signal) => {
        this.exit = code ?? signal ?? -1;
        resolve(this.exit);
      });
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  get hasEnded(): boolean {
    return this.exit !== undefined;
  }

  /** Exit status or the signal that ended it. */
  end(): Promise<number | NodeJS.Signals> {
    return this.ended;
  }

  /** Waits for a line of output; fails at once when the program ends without it. */
  async line(pattern: RegExp, timeoutMs = 30_000): Promise<RegExpMatchArray> {
    return await until(
      `${this.name} prints ${pattern}`,
      () => {
        const match = this.output.match(pattern);
        if (match) return match;
        if (this.hasEnded) throw new Error(`${this.name} ended with ${this.exit} before ${pattern}:\n${this.output}`);
        return undefined;
      },
      timeoutMs,
    ).catch((error: unknown) => {
      throw new Error(`${error}\n--- output of ${this.name}:\n${this.output}`);
    });
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.hasEnded) this.child.kill(signal);
  }

  /** SIGTERM, and SIGKILL for one that does not listen. */
  async stop(graceMs = 10_000): Promise<void> {
    if (this.hasEnded) return;
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs);
    await this.ended;
    clearTimeout(timer);
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended;
  }
}
