/** Features: constants of the packet path, set before it is loaded. The verifier removes what is off. */
import type { ObjectConstant, ObjectLayout } from './btf/object-layout.js';
import { featureUnknown, featureValue } from './errors.js';

const PREFIX = 'cfg_';

export class Features {
  private readonly values = new Map<string, { owner: string; value: boolean | number }>();

  constructor(private readonly layout: ObjectLayout | undefined) {}

  /** Several owners may ask for one feature: switches that one wants on are on, numbers must agree. */
  set(owner: string, name: string, value: boolean | number): void {
    const constant = this.layout?.constants.get(PREFIX + name);
    if (this.layout && !constant) throw featureUnknown(name, this.names());
    if (constant) checkValue(name, constant, value);
    const present = this.values.get(name);
    if (present && typeof value === 'number' && present.value !== value) {
      throw featureValue(name, value, `${present.owner} asks for ${present.value}`);
    }
    this.values.set(name, { owner, value: present?.value === true ? true : value });
  }

  /** Every switch, off unless asked for, and the numbers somebody asked for. */
  constants(): Map<string, number | boolean> {
    const result = new Map<string, number | boolean>();
    for (const constant of this.layout?.constants.values() ?? []) {
      const asked = this.values.get(constant.name.slice(PREFIX.length))?.value;
      if (!constant.name.startsWith(PREFIX)) continue;
      if (asked !== undefined) result.set(constant.name, asked);
      else if (constant.boolean) result.set(constant.name, false);
    }
    return result;
  }

  private names(): string[] {
    const all = [...(this.layout?.constants.keys() ?? [])];
    return all.filter((name) => name.startsWith(PREFIX)).map((name) => name.slice(PREFIX.length));
  }
}

function checkValue(name: string, constant: ObjectConstant, value: boolean | number): void {
  if (constant.boolean) {
    if (typeof value !== 'boolean') throw featureValue(name, value, 'it is on or off');
    return;
  }
  const max = 2 ** (constant.size * 8) - 1;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    throw featureValue(name, value, `it is a whole number from 0 to ${max}`);
  }
}
