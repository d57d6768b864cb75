import { statSync } from 'node:fs';
import { LoxilbError } from '@loxilb/sdk';

/**
 * A config file is code that runs with the daemon's rights: it is refused when anybody else could have written it.
 *
 * @throws LoxilbError CONFIG_UNSAFE
 */
export function checkTrusted(file: string): void {
  const { uid, mode } = statSync(file);
  const self = process.getuid?.() ?? 0;
  if (uid !== 0 && uid !== self) throw unsafe(file, `belongs to user ${uid}`, `chown root ${file}`);
  if (mode & 0o022)
    throw unsafe(file, `may be written by others (mode ${(mode & 0o777).toString(8)})`, `chmod go-w ${file}`);
}

function unsafe(file: string, why: string, remedy: string): LoxilbError {
  return new LoxilbError(`refusing ${file}: it ${why}`, { code: 'CONFIG_UNSAFE', status: 403, value: file, remedy });
}
