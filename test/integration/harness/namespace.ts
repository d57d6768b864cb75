import { Background } from './background.js';
import { must, type RunOptions, type RunResult, run } from './run.js';

/**
 * A network namespace. Programs enter it with nsenter: `ip netns exec` would mount another /sys over ours, and with it
 * hide every bpffs below.
 */
export class Namespace {
  private readonly children: Background[] = [];

  constructor(readonly name: string) {}

  get path(): string {
    return `/run/netns/${this.name}`;
  }

  run(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<RunResult> {
    return run('nsenter', this.enter(command, args), options);
  }

  must(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<string> {
    return must('nsenter', this.enter(command, args), options);
  }

  /** Runs a shell line, e.g. a pipe. */
  sh(script: string, options: RunOptions = {}): Promise<string> {
    return this.must('bash', ['-c', `set -o pipefail; ${script}`], options);
  }

  spawn(
    name: string,
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Background {
    const child = new Background(`${name} in ${this.name}`, 'nsenter', this.enter(command, args), env);
    this.children.push(child);
    return child;
  }

  /** One line of `ip` each, without the word `ip`. */
  async ip(...lines: readonly string[]): Promise<void> {
    await must('ip', ['-n', this.name, '-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  async sysctl(values: Readonly<Record<string, number | string>>): Promise<void> {
    await this.must('sysctl', ['-qw', ...Object.entries(values).map(([key, value]) => `${key}=${value}`)]);
  }

  /** Ends what was started in it. */
  async stopAll(): Promise<void> {
    await Promise.all(this.children.splice(0).map((child) => child.stop(2_000)));
  }

  private enter(command: string, args: readonly string[]): string[] {
    return [`--net=${this.path}`, '--', command, ...args];
  }
}
