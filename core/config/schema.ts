import { LoxilbError, z } from '@loxilb/sdk';
import { hint } from './suggestion.js';

export const DEFAULT_STATE_DIR = '/var/lib/loxilb';
export const DEFAULT_BPF_DIR = '/opt/loxilb/dp/bpf';

/** Shape and defaults of a config file. `LoxilbConfig` of the sdk is the same as an author writes it. */
export const configSchema = z.strictObject({
  plugins: z.record(z.string(), z.record(z.string(), z.unknown())),
  api: z
    .strictObject({
      /** `false`: no REST server at all. */
      enabled: z.boolean().default(true),
      host: z.string().min(1).default('127.0.0.1'),
      port: z.number().int().min(0).max(65535).default(11111),
      dialect: z.enum(['current', 'legacy']).default('current'),
    })
    .prefault({}),
  dataplane: z
    .strictObject({
      backend: z.enum(['kernel', 'memory']).default('kernel'),
      interfaces: z.array(z.string().min(1)).optional(),
      bpfDir: z.string().startsWith('/').default(DEFAULT_BPF_DIR),
      hook: z.enum(['auto', 'tcx', 'clsact']).default('auto'),
      xdp: z.enum(['auto', 'off', 'native', 'generic']).default('auto'),
      /** Switch IP forwarding on at start. */
      manageSysctl: z.boolean().default(true),
    })
    .prefault({}),
  stateDir: z.string().min(1).default(DEFAULT_STATE_DIR),
  /** Forget everything with the process. */
  ephemeral: z.boolean().default(false),
  logLevel: z.string().default('info'),
});

export type Config = z.output<typeof configSchema>;

/**
 * Checks what a file says.
 *
 * @throws LoxilbError CONFIG_INVALID with every complaint
 */
export function parseConfig(value: unknown, file: string): Config {
  const checked = configSchema.safeParse(value);
  if (checked.success) return checked.data;
  throw configError(file, describeIssues(configSchema, checked.error));
}

export function configError(where: string, complaints: readonly string[]): LoxilbError {
  return new LoxilbError(`${where}: ${complaints.join('; ')}`, { code: 'CONFIG_INVALID', status: 400 });
}

/** One line per complaint: `unknown option api.prot, did you mean port`. */
export function describeIssues(schema: z.ZodType, error: z.ZodError): string[] {
  return error.issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') return [`${issue.path.join('.') || 'file'}: ${issue.message}`];
    const known = keysAt(schema, issue.path);
    return issue.keys.map((key) => `unknown option ${[...issue.path, key].join('.')}${hint(key, known)}`);
  });
}

/** Member names of the object at a path, read structurally as a plugin may bring its own copy of zod. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let current: z.ZodType | undefined = schema;
  for (const part of path) current = unwrap(current)?.shape?.[String(part)];
  return Object.keys(unwrap(current)?.shape ?? {});
}

interface ObjectDef {
  readonly shape?: Record<string, z.ZodType>;
  readonly innerType?: z.ZodType;
}

function unwrap(schema: z.ZodType | undefined): ObjectDef | undefined {
  const def = schema?._zod.def as unknown as ObjectDef | undefined;
  return def?.innerType ? unwrap(def.innerType) : def;
}
