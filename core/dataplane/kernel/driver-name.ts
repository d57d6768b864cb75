import { readlinkSync } from 'node:fs';
import { basename } from 'node:path';

/** Kernel driver of a device, undefined for those that have none. */
export function driverName(interfaceName: string): string | undefined {
  try {
    return basename(readlinkSync(`/sys/class/net/${interfaceName}/device/driver`));
  } catch {
    return undefined;
  }
}
