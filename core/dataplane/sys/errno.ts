/** Error numbers of Linux that the data plane decides on. The values are the same on x86-64 and arm64. */
import { getSystemErrorName } from 'node:util';

export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  E2BIG: 7,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOSPC: 28,
  EOPNOTSUPP: 95,
  /** Kernel-internal, but bpf(2) lets it through. */
  ENOTSUPP: 524,
} as const;

/** `E2BIG`, or `errno 524` where user space has no name. */
export function errnoName(errno: number): string {
  try {
    const name = getSystemErrorName(-errno);
    return name.startsWith('Unknown') ? `errno ${errno}` : name;
  } catch {
    return `errno ${errno}`;
  }
}
