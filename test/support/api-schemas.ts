import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A schema of OpenAPI as far as the API server uses it. */
export interface Schema {
  readonly $ref?: string;
  readonly allOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
}

/** Schemas by name; those of kinds are called `apps/v1 DaemonSet`. */
export type Schemas = Readonly<Record<string, Schema>>;

/** The committed schemas of a Kubernetes API server, and of the Prometheus operator's kinds. */
export function apiSchemas(): Schemas {
  const file = join(import.meta.dirname, '../unit/chart/api-schemas.json');
  return JSON.parse(readFileSync(file, 'utf8')) as Schemas;
}

/** What in an object is not as the API has it: fields that are unknown, missing or of another type. */
export function schemaProblems(
  object: { readonly apiVersion: string; readonly kind: string },
  schemas: Schemas,
): readonly string[] {
  const name = `${object.apiVersion} ${object.kind}`;
  const schema = schemas[name];
  return schema === undefined
    ? [`${name}: an unknown kind`]
    : problems(object, schema, '', schemas);
}

function problems(value: unknown, schema: Schema, path: string, all: Schemas): readonly string[] {
  if (schema.$ref !== undefined) {
    const found = all[schema.$ref.slice(schema.$ref.lastIndexOf('/') + 1)];
    return found === undefined
      ? [`${path}: no schema ${schema.$ref}`]
      : problems(value, found, path, all);
  }
  const inherited = (schema.allOf ?? []).flatMap((each) => problems(value, each, path, all));
  return [...inherited, ...ownProblems(value, schema, path, all)];
}

function ownProblems(
  value: unknown,
  schema: Schema,
  path: string,
  all: Schemas,
): readonly string[] {
  const { type = 'any', items = {}, enum: choice } = schema;
  const [isOne, words] = isIntOrString(schema) ? types.either : typeTest(type);
  const wrong = (expected: string): string[] => [
    `${path}: ${JSON.stringify(value)}, expected ${expected}`,
  ];
  if (!isOne(value)) return wrong(words);
  if (choice !== undefined && !choice.includes(value)) return wrong(choice.join(' or '));
  if (Array.isArray(value)) {
    return value.flatMap((each, at) => problems(each, items, `${path}[${at}]`, all));
  }
  if (type === 'object' && isObject(value)) return fieldProblems(value, schema, path, all);
  return fits(value, schema) ? [] : wrong(schema.pattern ?? '');
}

type TypeTest = readonly [isOne: (value: unknown) => boolean, words: string];

const isText = (value: unknown): boolean => typeof value === 'string';

const types = {
  any: [() => true, 'anything'],
  either: [(value) => Number.isInteger(value) || isText(value), 'an integer or a string'],
  object: [(value) => isObject(value), 'an object'],
  array: [(value) => Array.isArray(value), 'a list'],
  integer: [(value) => Number.isInteger(value), 'an integer'],
  number: [(value) => typeof value === 'number', 'a number'],
  boolean: [(value) => typeof value === 'boolean', 'a boolean'],
  string: [isText, 'a string'],
} as const satisfies Readonly<Record<string, TypeTest>>;

function typeTest(name: string): TypeTest {
  return Object.hasOwn(types, name) ? types[name as keyof typeof types] : types.any;
}

function fits(value: unknown, { pattern }: Schema): boolean {
  return pattern === undefined || typeof value !== 'string' || new RegExp(pattern).test(value);
}

function isIntOrString(schema: Schema): boolean {
  return (
    schema.format === 'int-or-string' ||
    schema['x-kubernetes-int-or-string'] === true ||
    schema.oneOf
      ?.map(({ type }) => type)
      .toSorted()
      .join() === 'number,string'
  );
}

function fieldProblems(
  value: Readonly<Record<string, unknown>>,
  schema: Schema,
  path: string,
  all: Schemas,
): readonly string[] {
  const { properties = {}, additionalProperties = false, required = [] } = schema;
  const isOpen = schema['x-kubernetes-preserve-unknown-fields'] === true;
  const missing = required.filter((name) => value[name] === undefined);
  return [
    ...missing.map((name) => `${path}.${name}: is missing`),
    ...Object.entries(value).flatMap(([name, each]) => {
      const at = `${path}.${name}`;
      const known = properties[name] ?? additionalProperties;
      if (typeof known === 'object') return problems(each, known, at, all);
      return known || isOpen ? [] : [`${at}: an unknown field`];
    }),
  ];
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The schemas that these kinds need, of all that a server has. Words for people are left out. */
export function neededSchemas(kinds: Schemas, all: Schemas): Schemas {
  const needed = new Map<string, Schema>();
  const take = (schema: unknown): unknown => {
    if (Array.isArray(schema)) return schema.map(take);
    if (typeof schema !== 'object' || schema === null) return schema;
    const entries = Object.entries(schema).filter(([key, value]) => !isWords(key, value));
    return Object.fromEntries(
      entries.map(([key, value]) => {
        if (key !== '$ref') return [key, take(value)];
        const name = String(value).slice(String(value).lastIndexOf('/') + 1);
        if (!needed.has(name) && all[name] !== undefined) {
          needed.set(name, {}); // it may refer to itself
          needed.set(name, take(all[name]) as Schema);
        }
        return [key, `#/${name}`];
      }),
    );
  };
  const own = Object.entries(kinds).map(([name, schema]) => [name, take(schema)] as const);
  const sorted = [...own, ...needed].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(sorted) as Schemas;
}

/** A description, a default and the like; a field may be called so, too. */
function isWords(key: string, value: unknown): boolean {
  if (key === 'description') return typeof value === 'string';
  if (key === 'default') return !isObject(value) || Object.keys(value).length === 0;
  return /^x-kubernetes-(?!int-or-string|preserve)/.test(key) || key === 'example';
}
