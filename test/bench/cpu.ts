import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Ticks per second of /proc; USER_HZ is 100 on every architecture Node.js runs on. */
const TICKS = 100;

interface Sample {
  readonly busy: number;
  readonly processes: ReadonlyMap<string, number>;
}

export interface CpuUse {
  /** CPU seconds of the whole machine that were not idle, foreign processes taken off. */
  readonly busySeconds: number;
  /** CPU seconds of processes that are not part of the run. */
  readonly foreignSeconds: number;
}

/**
 * Measures the CPU time of the machine between two moments. Softirq work cannot be told apart by namespace, so the
 * whole machine is counted and what foreign processes used is subtracted.
 */
export class CpuMeter {
  private before = this.sample();

  /** `own` are the network namespaces of the run; processes in them, and this one's children, are not foreign. */
  constructor(private readonly own: ReadonlySet<string>) {}

  restart(): void {
    this.before = this.sample();
  }

  read(): CpuUse {
    const after = this.sample();
    let foreign = 0;
    for (const [pid, ticks] of after.processes) foreign += Math.max(0, ticks - (this.before.processes.get(pid) ?? 0));
    return {
      busySeconds: Math.max(0, after.busy - this.before.busy - foreign) / TICKS,
      foreignSeconds: foreign / TICKS,
    };
  }

  private sample(): Sample {
    const processes = new Map<string, number>();
    for (const pid of readdirSync('/proc')) {
      if (!/^\d+$/.test(pid)) continue;
      const ticks = this.foreignTicks(pid);
      if (ticks !== undefined) processes.set(pid, ticks);
    }
    return { busy: machineBusy(), processes };
  }

  /** User and system ticks of a foreign process, undefined for ours, kernel threads and those that just ended. */
  private foreignTicks(pid: string): number | undefined {
    try {
      const fields = statFields(readFileSync(`/proc/${pid}/stat`, 'latin1'));
      const parent = Number(fields[1]);
      if (Number(pid) === process.pid || parent === process.pid || parent === 2) return undefined;
      if (this.own.has(readlinkSync(`/proc/${pid}/ns/net`))) return undefined;
      return Number(fields[11]) + Number(fields[12]);
    } catch {
      return undefined;
    }
  }
}

/** Fields of /proc/PID/stat from the state on; the command before it may hold blanks and brackets. */
function statFields(text: string): string[] {
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** Ticks all CPUs were not idle: user, nice, system, irq and softirq. Steal is the hypervisor's. */
function machineBusy(): number {
  const fields = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]?.split(/\s+/).slice(1).map(Number) ?? [];
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields;
  return user + nice + system + irq + softirq;
}
