import type { z } from 'zod';
import type { PluginContext } from './context.js';

/** Version of this contract. A plugin names the range it was written for. */
export const SDK_VERSION = '0.1.0';

const BRAND = Symbol.for('loxilb.plugin');

export interface PluginDefinition<C extends z.ZodType> {
  /** kebab-case: folder, log name, metric subsystem. */
  readonly name: string;
  /** Range of SDK_VERSION this plugin works with, e.g. `^0.1.0`. Checked before setup. */
  readonly sdk: string;
  readonly summary: string;
  /** Plugins that must be enabled and started first. */
  readonly dependsOn?: readonly string[];
  /** Options in `loxilb.config.ts`. Strict objects: an unknown option is refused. */
  readonly config: C;
  setup(context: PluginContext<z.output<C>>): void | Promise<void>;
}

export interface Plugin extends PluginDefinition<z.ZodType> {
  readonly [BRAND]: true;
}

/**
 * Defines a plugin.
 *
 * @example
 * export default definePlugin({
 *   name: 'hello', sdk: '^0.1.0', summary: 'Greets', config: z.strictObject({}),
 *   setup(ctx) { ctx.resource(greeting); },
 * });
 */
export function definePlugin<C extends z.ZodType>(definition: PluginDefinition<C>): Plugin {
  return { ...definition, [BRAND]: true } as unknown as Plugin;
}

export function isPlugin(value: unknown): value is Plugin {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[BRAND] === true;
}
