import type { z } from 'zod';
import { FrameworkError, required, unparsable, VIOLATION } from './framework-error.js';
import { isObject, type WireShape } from './wire-shape.js';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** What a body is checked against. */
export interface BodyRules {
  readonly bodyName: string;
  readonly shape: WireShape;
}

/**
 * The one error a client gets for a body that violates its schema. Go decodes before it validates: a wrong JSON type is
 * found first, in the order of the document; then members are checked alphabetically.
 */
export function firstViolation(issues: readonly Issue[], body: unknown, rules: BodyRules): FrameworkError {
  const located = issues.map((issue) => ({
    issue,
    value: valueAt(body, issue.path),
    step: stepAt(rules.shape, issue.path),
  }));
  const mistyped = located
    .filter(({ issue, value, step }) => isTypeError(issue, value, step.shape))
    .sort((a, b) => compareInDocument(body, a.issue.path, b.issue.path))[0];
  if (mistyped) return unparsable(rules.bodyName, unmarshalText(mistyped.value, mistyped.step));
  const first = [...located].sort((a, b) => compareAlphabetically(a.issue.path, b.issue.path))[0];
  if (!first) throw new Error('a violation without an issue');
  return schemaError(first.issue, first.value, first.step.name || rules.bodyName);
}

/** Where a path leads in the shape, and what go-openapi and Go's decoder call that place. */
interface Step {
  readonly shape: WireShape | undefined;
  /** Dotted, with array indices, inline objects named twice. */
  readonly name: string;
  /** Dotted, without array indices. */
  readonly field: string;
  /** Type that holds the member. */
  readonly owner: string;
}

function stepAt(root: WireShape, path: Path): Step {
  let shape: WireShape | undefined = root;
  const name: string[] = [];
  const field: string[] = [];
  let owner = '';
  path.forEach((part, index) => {
    const key = String(part);
    name.push(key);
    if (shape?.kind === 'object') {
      owner = shape.typeName;
      field.push(key);
      shape = shape.members.get(key.toLowerCase())?.shape;
      if (shape?.kind === 'object' && shape.inline && index < path.length - 1) name.push(key);
    } else {
      shape = shape?.kind === 'array' ? shape.element : shape?.kind === 'record' ? shape.value : undefined;
    }
  });
  return { shape, name: name.join('.'), field: field.join('.'), owner };
}

const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int64: [-(2 ** 63), 2 ** 63],
  uint64: [0, 2 ** 64],
};

function isTypeError(issue: Issue, value: unknown, shape: WireShape | undefined): boolean {
  if (value === undefined || value === null) return false;
  if (issue.code === 'invalid_type') return true;
  if (issue.code === 'invalid_value') return issue.values.every((choice) => typeof choice !== typeof value);
  const range = shape?.kind === 'scalar' ? RANGES[shape.goType] : undefined;
  return typeof value === 'number' && range !== undefined && (value < range[0] || value > range[1]);
}

function unmarshalText(value: unknown, step: Step): string {
  const type = goTypeName(step.shape);
  // Numbers are named when a number is what the field takes, only not this one.
  const numeric = typeof value === 'number' && /^u?int|^float/.test(type);
  const given = numeric ? `number ${value}` : jsonTypeName(value);
  if (step.field === '') return `json: cannot unmarshal ${given} into Go value of type ${type}`;
  return `json: cannot unmarshal ${given} into Go struct field ${step.owner}.${step.field} of type ${type}`;
}

function goTypeName(shape: WireShape | undefined): string {
  if (shape?.kind === 'scalar') return shape.goType;
  if (shape?.kind === 'object') return `models.${shape.typeName}`;
  if (shape?.kind === 'array') return `[]${shape.element.kind === 'object' ? '*' : ''}${goTypeName(shape.element)}`;
  if (shape?.kind === 'record') return `map[string]${goTypeName(shape.value)}`;
  return 'interface {}';
}

function jsonTypeName(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

function schemaError(issue: Issue, value: unknown, path: string): FrameworkError {
  if (value === undefined || value === null) return required(path);
  const violation = (code: number, text: string) => new FrameworkError(code, `${path} in body ${text}`);
  switch (issue.code) {
    case 'invalid_value':
      return violation(VIOLATION.enum, `should be one of [${issue.values.map(String).join(' ')}]`);
    case 'too_big':
      return tooBig(issue, violation);
    case 'too_small':
      return tooSmall(issue, violation);
    case 'invalid_format':
      return violation(VIOLATION.pattern, `${formatText(issue)}: ${JSON.stringify(value)}`);
    case 'not_multiple_of':
      return violation(VIOLATION.multipleOf, `should be a multiple of ${issue.divisor}`);
    case 'unrecognized_keys':
      return new FrameworkError(VIOLATION.forbidden, `${path}.${issue.keys[0]} in body is a forbidden property`);
    default:
      return violation(422, issue.message === '' ? 'is not valid' : `is not valid: ${issue.message}`);
  }
}

type Violation = (code: number, text: string) => FrameworkError;

function tooBig(issue: Extract<Issue, { code: 'too_big' }>, violation: Violation): FrameworkError {
  const limit = issue.maximum;
  if (issue.origin === 'string') return violation(VIOLATION.tooLong, `should be at most ${limit} chars long`);
  if (issue.origin === 'array') return violation(VIOLATION.maxItems, `should have at most ${limit} items`);
  const relation = issue.inclusive === false ? 'less than' : 'less than or equal to';
  return violation(VIOLATION.maximum, `should be ${relation} ${limit}`);
}

function tooSmall(issue: Extract<Issue, { code: 'too_small' }>, violation: Violation): FrameworkError {
  const limit = issue.minimum;
  if (issue.origin === 'string') return violation(VIOLATION.tooShort, `should be at least ${limit} chars long`);
  if (issue.origin === 'array') return violation(VIOLATION.minItems, `should have at least ${limit} items`);
  const relation = issue.inclusive === false ? 'greater than' : 'greater than or equal to';
  return violation(VIOLATION.minimum, `should be ${relation} ${limit}`);
}

function formatText(issue: Extract<Issue, { code: 'invalid_format' }>): string {
  return issue.format === 'regex' ? `should match '${issue.pattern ?? ''}'` : `must be of type ${issue.format}`;
}

function valueAt(body: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, part) => (isContainer(value) ? value[String(part)] : undefined), body);
}

function isContainer(value: unknown): value is Record<string, unknown> {
  return isObject(value) || Array.isArray(value);
}

function compareInDocument(body: unknown, a: Path, b: Path): number {
  let value = body;
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    if (a[index] !== b[index]) {
      const keys = isContainer(value) ? Object.keys(value) : [];
      return keys.indexOf(String(a[index])) - keys.indexOf(String(b[index]));
    }
    value = valueAt(value, [a[index] as PropertyKey]);
  }
  return a.length - b.length;
}

function compareAlphabetically(a: Path, b: Path): number {
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const [left, right] = [a[index], b[index]];
    if (left === right) continue;
    if (typeof left === 'number' && typeof right === 'number') return left - right;
    return String(left) < String(right) ? -1 : 1;
  }
  return a.length - b.length;
}
