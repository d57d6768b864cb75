/** Every code of the data plane, with what the operator can do about it. */
import { LoxilbError } from '@loxilb/sdk';
import { Errno, errnoName } from './sys/errno.js';

/** What a full map answers; an LPM trie has a number of its own. */
export function isFull(errno: number): boolean {
  return errno === Errno.E2BIG || errno === Errno.ENOSPC;
}

/** A map operation the kernel refused. */
export function mapError(map: string, operation: 'read' | 'write' | 'delete', errno: number): LoxilbError {
  if (operation === 'write' && isFull(errno)) {
    return new LoxilbError(`map ${map} is full`, {
      code: 'DP_MAP_FULL',
      status: 507,
      value: map,
      remedy: 'remove entries, or raise the size of this table in loxilb.config.ts and restart',
    });
  }
  return new LoxilbError(`map ${map}: ${operation} failed: ${errnoName(errno)}`, {
    code: operation === 'read' ? 'DP_MAP_READ' : 'DP_MAP_WRITE',
    status: 500,
    value: map,
    remedy: remedyFor(errno),
  });
}

/**
 * A request of the data plane to the kernel that failed. The end of `log` is in the message, where the verifier says
 * what it refuses; a long log follows in `cause`.
 */
export function kernelError(action: string, errno: number, log = ''): LoxilbError {
  const summary = `${action}: ${errnoName(errno)}`;
  const lines = log.split('\n').filter((line) => line.trim() !== '');
  return new LoxilbError([summary, ...lines.slice(-LOG_LINES).map((line) => line.slice(0, 200))].join('\n'), {
    code: 'DP_KERNEL',
    status: 500,
    result: summary,
    remedy: remedyFor(errno),
    ...(lines.length > LOG_LINES ? { cause: new Error(lines.slice(-LOG_LINES_KEPT).join('\n')) } : {}),
  });
}

const LOG_LINES = 8;
const LOG_LINES_KEPT = 200;

function remedyFor(errno: number): string {
  if (errno === Errno.EPERM || errno === Errno.EACCES) return 'run as root, with CAP_BPF and CAP_NET_ADMIN';
  if (errno === Errno.ENOMEM) return 'free memory, or lower the table sizes in loxilb.config.ts';
  return 'see the log of the daemon and dmesg';
}

export function notLoaded(what: string): LoxilbError {
  return new LoxilbError(`${what} is used before the data plane is loaded`, {
    code: 'DP_NOT_LOADED',
    status: 500,
    remedy: 'use maps and programs from onStart on',
  });
}

export function mapClaimed(map: string, owner: string, claimant: string): LoxilbError {
  return new LoxilbError(`map ${map} belongs to ${owner}; ${claimant} cannot claim it too`, {
    code: 'DP_MAP_CLAIMED',
    status: 500,
    value: map,
    remedy: 'ask for a read-only view',
  });
}

export function mapLate(map: string, claimant: string): LoxilbError {
  return new LoxilbError(`${claimant} claims map ${map} after the data plane was loaded`, {
    code: 'DP_MAP_LATE',
    status: 500,
    value: map,
    remedy: 'claim maps in setup',
  });
}

export function mapUnowned(map: string, viewer: string): LoxilbError {
  return new LoxilbError(`${viewer} reads map ${map}, which no enabled plugin owns`, {
    code: 'DP_MAP_UNOWNED',
    status: 500,
    value: map,
    remedy: 'enable the plugin that owns it',
  });
}

/** The sizes a plugin declares are not those of the compiled packet path. */
export function mapLayout(map: string, what: string, declared: number, compiled: number): LoxilbError {
  return new LoxilbError(`map ${map}: ${what} is ${declared} as declared and ${compiled} in the compiled packet path`, {
    code: 'DP_MAP_LAYOUT',
    status: 500,
    value: map,
    remedy: 'run npm run build:bpf and npm run layout',
  });
}

export function perCpuOnly(map: string): LoxilbError {
  return new LoxilbError(`map ${map} has a value per CPU: read it with getPerCpu or entriesPerCpu`, {
    code: 'DP_MAP_PERCPU',
    status: 500,
    value: map,
  });
}

export function featureUnknown(name: string, known: readonly string[]): LoxilbError {
  return new LoxilbError(`the packet path has no feature ${name}`, {
    code: 'DP_FEATURE_UNKNOWN',
    status: 500,
    value: name,
    remedy: `known features: ${known.join(', ')}`,
  });
}

export function featureValue(name: string, value: unknown, why: string): LoxilbError {
  return new LoxilbError(`feature ${name} cannot be ${String(value)}: ${why}`, {
    code: 'DP_FEATURE_VALUE',
    status: 500,
    value,
  });
}

export function programUnknown(name: string): LoxilbError {
  return new LoxilbError(`the packet path has no program ${name}`, {
    code: 'DP_PROGRAM_UNKNOWN',
    status: 500,
    value: name,
    remedy: 'run npm run build:bpf',
  });
}

export function mapUnknown(name: string): LoxilbError {
  return new LoxilbError(`the packet path has no map ${name} that could be used here`, {
    code: 'DP_MAP_UNKNOWN',
    status: 500,
    value: name,
    remedy: 'run npm run build:bpf',
  });
}

export function ringUnknown(name: string): LoxilbError {
  return new LoxilbError(`the packet path has no ring ${name}`, {
    code: 'DP_RING_UNKNOWN',
    status: 500,
    value: name,
    remedy: 'run npm run build:bpf',
  });
}

export function ringTaken(name: string): LoxilbError {
  return new LoxilbError(`ring ${name} has a reader already`, { code: 'DP_RING_TAKEN', status: 500, value: name });
}

export function objectMissing(file: string, cause: unknown): LoxilbError {
  return new LoxilbError(`no usable compiled packet path at ${file}`, {
    code: 'DP_OBJECT_MISSING',
    status: 500,
    value: file,
    remedy: 'run npm run build:bpf',
    cause,
  });
}

/** What an earlier daemon left pinned cannot be used by this one. */
export function layoutMismatch(message: string): LoxilbError {
  return new LoxilbError(message, {
    code: 'DP_LAYOUT_VERSION',
    status: 500,
    remedy:
      'start the version that wrote it, or run loxilb --cleanup: running connections end and rules are written anew',
  });
}

export function mapShrink(map: string, held: number, wanted: number): LoxilbError {
  return new LoxilbError(`map ${map} holds ${held} entries; they do not fit into the ${wanted} of the configuration`, {
    code: 'DP_MAP_SHRINK',
    status: 500,
    value: map,
    remedy: 'raise the size of this table in loxilb.config.ts, or run loxilb --cleanup',
  });
}

export function hookUnavailable(hook: string, errno: number): LoxilbError {
  return new LoxilbError(`this kernel has no ${hook}: ${errnoName(errno)}`, {
    code: 'DP_HOOK_UNAVAILABLE',
    status: 500,
    value: hook,
    remedy: "set dataplane.hook to 'auto' or 'clsact' (tcx needs Linux 6.6)",
  });
}

export function xdpUnavailable(): LoxilbError {
  return new LoxilbError('this kernel has no XDP for frames in several buffers (Linux 5.18)', {
    code: 'DP_XDP_UNAVAILABLE',
    status: 500,
    remedy: "set dataplane.xdp to 'off'",
  });
}

export function hookTaken(name: string, program: string): LoxilbError {
  return new LoxilbError(`the tc filter slot of loxilb on ${name} holds a program of somebody else: ${program}`, {
    code: 'DP_HOOK_TAKEN',
    status: 500,
    value: name,
    remedy: `remove it with tc filter del dev ${name}, or use dataplane.hook 'tcx'`,
  });
}
