import type { z } from 'zod';

/**
 * What the wire format needs to know of a zod schema and zod does not say: which spelling of a key is meant (keys match
 * case-insensitively), which members are inline objects (error paths repeat their name), and which Go type a client's
 * author would name. Read once per schema.
 */
export type WireShape =
  | { readonly kind: 'object'; readonly typeName: string; readonly inline: boolean; readonly members: Members }
  | { readonly kind: 'array'; readonly element: WireShape }
  | { readonly kind: 'record'; readonly value: WireShape }
  | { readonly kind: 'scalar'; readonly goType: string }
  | { readonly kind: 'any' };

/** By lower-cased key. */
export type Members = ReadonlyMap<string, Member>;

export interface Member {
  readonly key: string;
  readonly shape: WireShape;
  /** Zero values that mean absent: those an optional choice does not offer. */
  readonly absent: readonly unknown[];
}

/** zod's own description of a schema. Read structurally: a plugin may bring its own copy of zod. */
interface SchemaDef {
  readonly type: string;
  readonly shape?: Record<string, z.ZodType>;
  readonly element?: z.ZodType;
  readonly valueType?: z.ZodType;
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly out?: z.ZodType;
  readonly format?: string;
  readonly entries?: Record<string, string | number>;
  readonly values?: readonly unknown[];
  readonly checks?: readonly { readonly _zod: { readonly def: { readonly format?: string } } }[];
}

const OPTIONAL = new Set(['optional', 'default', 'prefault', 'catch', 'nullable']);
const WRAPPERS = new Set([...OPTIONAL, 'nonoptional', 'readonly']);

/** @param name type name of the body when the schema's metadata gives none (`.meta({ id })`) */
export function wireShape(schema: z.ZodType, name: string): WireShape {
  return shapeOf(schema, { name, inline: false });
}

interface Place {
  readonly name: string;
  /** Where the object stands as another object's member, declared in place. */
  readonly inline: boolean;
}

function shapeOf(schema: z.ZodType, place: Place): WireShape {
  const { inner } = unwrap(schema);
  const def = defOf(inner);
  if (def.type === 'object') return objectShape(inner, def, place);
  if (def.type === 'array' && def.element) {
    return { kind: 'array', element: shapeOf(def.element, { name: `${place.name}Items0`, inline: false }) };
  }
  if (def.type === 'record' && def.valueType) {
    return { kind: 'record', value: shapeOf(def.valueType, { name: place.name, inline: false }) };
  }
  const goType = goTypeOf(def);
  return goType ? { kind: 'scalar', goType } : { kind: 'any' };
}

function objectShape(schema: z.ZodType, def: SchemaDef, place: Place): WireShape {
  const id = schema.meta()?.id;
  const typeName = id ?? place.name;
  const members = new Map<string, Member>();
  for (const [key, value] of Object.entries(def.shape ?? {})) {
    const { inner, optional } = unwrap(value);
    members.set(key.toLowerCase(), {
      key,
      shape: shapeOf(value, { name: typeName + pascal(key), inline: true }),
      absent: optional ? zerosNotOffered(defOf(inner)) : [],
    });
  }
  return { kind: 'object', typeName, inline: place.inline && id === undefined, members };
}

function unwrap(schema: z.ZodType): { inner: z.ZodType; optional: boolean } {
  let inner = schema;
  let optional = false;
  for (;;) {
    const def = defOf(inner);
    if (WRAPPERS.has(def.type) && def.innerType) {
      optional ||= OPTIONAL.has(def.type);
      inner = def.innerType;
    } else if (def.type === 'pipe' && def.in && def.out) {
      // A pipe that begins with a transform is `z.preprocess`: the wire form is unknown, the result is the best guess.
      inner = defOf(def.in).type === 'transform' ? def.out : def.in;
    } else {
      return { inner, optional };
    }
  }
}

function zerosNotOffered(def: SchemaDef): unknown[] {
  const offered =
    def.type === 'enum' ? Object.values(def.entries ?? {}) : def.type === 'literal' ? def.values : undefined;
  return offered ? ['', 0].filter((zero) => !offered.includes(zero)) : [];
}

function goTypeOf(def: SchemaDef): string | undefined {
  if (def.type === 'string' || def.type === 'enum') return 'string';
  if (def.type === 'boolean') return 'bool';
  if (def.type !== 'number') return undefined;
  const formats = [def.format, ...(def.checks ?? []).map((check) => check._zod.def.format)];
  const format = formats.find((entry) => entry !== undefined);
  return format === 'safeint' ? 'int64' : (format ?? 'float64');
}

function defOf(schema: z.ZodType): SchemaDef {
  return schema._zod.def as unknown as SchemaDef;
}

function pascal(key: string): string {
  return key.charAt(0).toUpperCase() + key.slice(1);
}

/**
 * Brings a parsed body into the spelling of the schema: known keys only, `null` members dropped, zero values of
 * optional choices dropped. What does not fit the shape stays as it is, for the schema to complain about.
 */
export function normalize(shape: WireShape, value: unknown): unknown {
  if (shape.kind === 'object' && isObject(value)) return normalizeObject(shape.members, value);
  if (shape.kind === 'array' && Array.isArray(value)) return value.map((item) => normalize(shape.element, item));
  if (shape.kind === 'record' && isObject(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, normalize(shape.value, item)]));
  }
  return value;
}

function normalizeObject(members: Members, value: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [given, item] of Object.entries(value)) {
    const member = members.get(given.toLowerCase());
    if (!member || item === null) continue;
    if (member.absent.includes(item)) continue;
    out[member.key] = normalize(member.shape, item);
  }
  return out;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
