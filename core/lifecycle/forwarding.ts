import { readFileSync, writeFileSync } from 'node:fs';
import type { Logger } from '@loxilb/sdk';

const SWITCHES = ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding'];

/**
 * Switches IP forwarding on in this network namespace. The packet path forwards by itself, but whatever it hands to the
 * kernel would end there otherwise.
 */
export function enableForwarding(log: Logger): void {
  for (const name of SWITCHES) {
    const file = `/proc/sys/${name}`;
    try {
      if (readFileSync(file, 'utf8').trim() === '1') continue;
      writeFileSync(file, '1');
      log.info({ sysctl: name.replaceAll('/', '.'), value: 1 }, 'switched forwarding on');
    } catch (err) {
      log.warn({ err, sysctl: name.replaceAll('/', '.') }, 'forwarding could not be switched on');
    }
  }
}
