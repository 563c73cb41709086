import * as fc from 'fast-check';

/** Texts that would do harm if they reached a rule, a shell, a terminal or a log as they are. */
const sharp = [
  'a"\n-A INPUT -j ACCEPT\n',
  '" -j DROP --comment "',
  '\r\nCOMMIT\r\n*filter\r\n',
  '$(reboot)',
  '`id`',
  'x\u0000y',
  '\u001B[31mred',
  '\u202Eevil',
  'ünï',
  '日本',
  '\uD800',
  'a\\',
  "it's",
  '-A',
  '--jump',
  '../../etc/passwd',
  '%s%n',
];

/** Texts that look like an address, a number or a word of the API, and are none or are unusual ones. */
const nearly = [
  '',
  ' ',
  'NaN',
  '0',
  '-0',
  '1e3',
  '0x50',
  '65536',
  'none',
  'NONE',
  'ipv4',
  'tcp',
  '10.96.0.256',
  '010.096.000.041',
  '::ffff:203.0.113.77',
  'fe80::1%eth0',
  '::',
  '0.0.0.0',
  '1.2.3',
  '1.2.3.4.5',
  '2001:db8:::1',
  '203.0.113.0/24',
  '203.0.113.0/33',
  '/',
  '203.0.113.7 ',
  'localhost',
  'a'.repeat(64),
  'a.'.repeat(127),
  'x'.repeat(100_000),
];

const numbers = [0, -0, -1, 65_535, 65_536, 80.5, 1e21, -1e308, Number.MAX_SAFE_INTEGER + 1];

/** A JSON object whose keys are those of every object's prototype; own keys, as JSON.parse makes them. */
const trap: unknown = JSON.parse(
  '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"toString":1,"valueOf":null}',
);

/** Stands for what is nested deeper than most programs can go, fast-check's reports among them. */
export const abyss = 'an abyss';

function nested(depth: number): unknown {
  let value: unknown = 'deep';
  for (let at = 0; at < depth; at++) value = at % 2 === 0 ? [value] : { value };
  return value;
}

export const oddTexts: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...sharp),
  fc.constantFrom(...nearly),
  fc.string({ unit: 'binary', maxLength: 20 }),
);

/** Any JSON value, those above all that readers trip over. */
export const oddValues: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: oddTexts },
  { weight: 2, arbitrary: fc.constantFrom<unknown>(...numbers) },
  { weight: 2, arbitrary: fc.constantFrom<unknown>(null, true, false, [], {}, [null], [[]], trap) },
  { weight: 1, arbitrary: fc.constantFrom(nested(50), abyss) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
);

/** A place in a JSON tree. */
export type Path = readonly (string | number)[];

/** Every place in a tree, its root left out. */
export function pathsOf(tree: unknown, prefix: Path = []): readonly Path[] {
  if (typeof tree !== 'object' || tree === null) return prefix.length === 0 ? [] : [prefix];
  const own = prefix.length === 0 ? [] : [prefix];
  const keys = Array.isArray(tree) ? tree.map((_, at) => at) : Object.keys(tree);
  const below = keys.flatMap((key) =>
    pathsOf((tree as Record<string, unknown>)[key], [...prefix, key]),
  );
  return [...own, ...below];
}

/** The same tree with another value at a place that may not exist yet. */
export function withValue(tree: unknown, [key, ...rest]: Path, value: unknown): unknown {
  if (key === undefined) return value === abyss ? nested(20_000) : value;
  const inner = (at: unknown): unknown => withValue(at, rest, value);
  if (typeof key === 'number') {
    const list: readonly unknown[] = Array.isArray(tree) ? tree : [];
    return [...list.slice(0, key), inner(list[key]), ...list.slice(key + 1)];
  }
  const object = typeof tree === 'object' && tree !== null ? (tree as Record<string, unknown>) : {};
  // Own keys of any name, as JSON.parse makes them.
  return Object.fromEntries([
    ...Object.entries(object).filter(([name]) => name !== key),
    [key, inner(object[key])],
  ]);
}
