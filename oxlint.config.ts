import { defineConfig } from 'oxlint';
import type { OxlintOverride } from 'oxlint';

const processes = ['node:child_process', 'node:cluster', 'execa'];
const machine = [
  ...processes,
  ...['dns', 'fs', 'readline', 'stream'].flatMap((name) => [`node:${name}`, `node:${name}/*`]),
  ...['dgram', 'http', 'http2', 'https', 'os', 'process', 'tls', 'worker_threads'].map(
    (name) => `node:${name}`,
  ),
  'undici',
];
const net = 'node:net';
const threads = new Set(['dgram', 'os', 'process', 'worker_threads'].map((name) => `node:${name}`));

/** What a room that gets everything as an argument may not import. */
const refused = {
  all: [...machine, net],
  net: machine,
  sockets: machine.filter((name) => !threads.has(name)),
} as const;

/** A folder of src/, and what it may import of the others: docs/adr/0001-rooms-and-arrows.md. */
interface Room {
  readonly imports: readonly string[];
  /**
   * Nothing of a machine: everything comes in as an argument. `net`: but for node:net's address arithmetic. `sockets`: but for
   * sockets and threads.
   */
  readonly pure?: keyof typeof refused;
}

/** Files of src/ that belong to no room: all may import them, and they import no room. */
const leaves = ['src/clock.ts', 'src/compact.ts', 'src/error.ts'];

const kubelet: Room = { imports: ['ip', 'telemetry', 'config', 'informer', 'services', 'host'] };

/**
 * The rooms of src/kubelet, the ground floor first: each may import those of the floors below its own, and none beside it
 * (docs/adr/0014-the-kubelet.md). All may import the leaves, and `kubelet.ts` is imported by none.
 */
const kubeletFloors: readonly (readonly string[])[] = [
  ['api', 'cri', 'pod'],
  ['certificates', 'ports'],
  ['events', 'sources'],
  ['environment'],
  ['images', 'probes', 'volumes'],
  ['runtime'],
  ['status'],
  ['node', 'shutdown', 'stats', 'worker'],
  ['dispatch', 'eviction', 'housekeeping', 'server'],
  ['admin'],
  ['base'],
  ['parts'],
];

/** Files of src/kubelet that belong to no room: all may import them, and they import no room. */
const kubeletLeaves = ['at-once.ts', 'back-off.ts'];

/** Data flows downwards, imports point upwards. All may import the leaves. */
const rooms: Readonly<Record<string, Room>> = {
  ip: { imports: [], pure: 'net' },
  walk: { imports: ['ip'], pure: 'all' },
  telemetry: { imports: [] },
  config: { imports: ['ip', 'telemetry'], pure: 'all' },
  informer: { imports: ['ip', 'telemetry'] },
  services: { imports: ['ip', 'telemetry', 'informer'], pure: 'all' },
  graph: { imports: ['ip', 'telemetry', 'services'], pure: 'all' },
  host: { imports: ['ip', 'telemetry'] },
  relay: { imports: ['ip', 'telemetry'], pure: 'sockets' },
  backends: { imports: ['ip', 'telemetry', 'services', 'graph', 'relay', 'host'], pure: 'all' },
  proxy: {
    imports: [
      'ip',
      'telemetry',
      'config',
      'informer',
      'services',
      'graph',
      'relay',
      'backends',
      'host',
    ],
  },
  kubelet,
  doctor: {
    imports: [
      'ip',
      'telemetry',
      'config',
      'informer',
      'services',
      'graph',
      'backends',
      'host',
      'proxy',
      'kubelet',
    ],
    pure: 'all',
  },
};

interface Pattern {
  readonly group: string[];
  readonly message: string;
}

function pattern(group: readonly string[], message: string): Pattern {
  return { group: [...group], message: `${message} (docs/adr/0001-rooms-and-arrows.md)` };
}

function noImports(files: readonly string[], patterns: readonly Pattern[]): OxlintOverride {
  const rules: OxlintOverride['rules'] = {
    'eslint/no-restricted-imports': ['error', { patterns: [...patterns] }],
  };
  return { files: [...files], rules };
}

const names = [...Object.keys(rooms), 'cli'];
const folders = (list: readonly string[]): string[] => list.map((name) => `**/${name}/**`);
const byHostAlone = pattern(processes, 'programs are run by host alone');

const reasons: Readonly<Record<string, string>> = {
  backends: 'a backend reaches the machine through host alone',
  relay: 'relay has sockets and threads, and nothing else of the machine',
  doctor: 'doctor reads the machine through host alone',
};

function usualReason(name: string): string {
  return `${name} is pure: files, sockets, processes and the clock belong to the rooms that own them`;
}

function patternsOf(name: string, { imports, pure }: Room): readonly Pattern[] {
  const others = names.filter((other) => other !== name && !imports.includes(other));
  const what = [...imports, ...leaves].join(', ');
  const own = [pattern(folders(others), `${name} may import only: ${what}`)];
  if (pure !== undefined) {
    own.push(pattern(refused[pure], reasons[name] ?? usualReason(name)));
  } else if (name !== 'host') own.push(byHostAlone);
  return own;
}

function arrows(name: string, room: Room): OxlintOverride {
  return noImports([`src/${name}/**`], patternsOf(name, room));
}

/** For files of the kubelet, beside what all of it may not import. */
function refusing(file: string, others: readonly string[], message: string): OxlintOverride {
  const group = [...folders(others), '**/kubelet.ts'];
  const inner = { group, message: `${message} (docs/adr/0014-the-kubelet.md)` };
  return noImports([file], [...patternsOf('kubelet', kubelet), inner]);
}

/** What the rooms of the kubelet may not import of each other. */
function kubeletArrows(): readonly OxlintOverride[] {
  const all = kubeletFloors.flat();
  const ofRooms = kubeletFloors.flatMap((floor, index) => {
    const below = kubeletFloors.slice(0, index).flat();
    return floor.map((name) => {
      const others = all.filter((other) => other !== name && !below.includes(other));
      const what = [...kubeletLeaves, ...below].join(', ');
      return refusing(`src/kubelet/${name}/**`, others, `${name} may import only: ${what}`);
    });
  });
  const ofLeaves = kubeletLeaves.map((file) =>
    refusing(`src/kubelet/${file}`, all, `${file} imports no room`),
  );
  return [...ofRooms, ...ofLeaves];
}

export default defineConfig({
  plugins: ['eslint', 'typescript', 'unicorn', 'import', 'promise', 'node', 'vitest'],
  categories: { correctness: 'error', suspicious: 'error', perf: 'error' },
  rules: {
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/await-thenable': 'error',
    'typescript/only-throw-error': 'error',
    'typescript/switch-exhaustiveness-check': 'error',
    'typescript/no-explicit-any': 'error',
    'typescript/no-non-null-assertion': 'error',
    'typescript/consistent-type-imports': 'error',
    'typescript/return-await': 'error',
    'typescript/use-unknown-in-catch-callback-variable': 'error',
    'typescript/no-deprecated': 'error',
    'typescript/prefer-readonly': 'error',
    'typescript/no-unsafe-type-assertion': 'off',
    'import/no-cycle': ['error', { ignoreTypes: false }],
    'eslint/eqeqeq': 'error',
    'eslint/no-await-in-loop': 'off',
    'eslint/complexity': ['error', { max: 12 }],
    'eslint/max-depth': ['error', { max: 4 }],
    'eslint/max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
    'vitest/expect-expect': ['error', { assertFunctionNames: ['expect', 'fc.assert'] }],
    'vitest/valid-expect': ['error', { maxArgs: 2 }],
  },
  ignorePatterns: ['dist', 'src/kubelet/cri/gen', 'node_modules'],
  overrides: [
    ...Object.entries(rooms).map(([name, room]) => arrows(name, room)),
    ...kubeletArrows(),
    noImports(leaves, [pattern(folders(names), 'what every room may import imports no room')]),
    noImports(['src/cli/**'], [byHostAlone]),
    noImports(
      ['render', 'explain', 'offline', 'usage'].map((name) => `src/cli/${name}.ts`),
      [
        pattern(
          [...folders(['host']), ...machine, net],
          'render and explain work without a machine: no host, no files or sockets of their own',
        ),
      ],
    ),
    { files: ['test/**', 'scripts/**'], rules: { 'eslint/max-lines': 'off' } },
    {
      // Threads have no origin.
      files: ['src/relay/**'],
      rules: { 'unicorn/require-post-message-target-origin': 'off' },
    },
    {
      // Suites that are declared once and run for each backend look unusual to the linter.
      files: ['test/kernel/**', 'test/cluster/**', 'test/relay/**', 'test/kubelet/**'],
      rules: {
        'vitest/no-conditional-tests': 'off',
        'vitest/no-disabled-tests': 'off',
        'vitest/no-standalone-expect': 'off',
        'vitest/valid-title': 'off',
        'vitest/expect-expect': 'off',
      },
    },
    {
      files: ['src/cli/demo/actor-program.ts'],
      rules: { 'unicorn/consistent-function-scoping': 'off' },
    },
  ],
});
