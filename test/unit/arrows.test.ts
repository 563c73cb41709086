import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');

/** Who may import whom: docs/adr/0001-rooms-and-arrows.md. */
const arrows = {
  ip: [],
  walk: ['ip'],
  telemetry: [],
  config: ['ip', 'telemetry'],
  informer: ['ip', 'telemetry'],
  services: ['ip', 'telemetry', 'informer'],
  graph: ['ip', 'telemetry', 'services'],
  host: ['ip', 'telemetry'],
  relay: ['ip', 'telemetry'],
  backends: ['ip', 'telemetry', 'services', 'graph', 'relay', 'host'],
  proxy: [
    'ip',
    'telemetry',
    'config',
    'informer',
    'services',
    'graph',
    'relay',
    'host',
    'backends',
  ],
  kubelet: ['ip', 'telemetry', 'config', 'informer', 'services', 'host'],
  doctor: [
    'ip',
    'telemetry',
    'config',
    'informer',
    'services',
    'graph',
    'host',
    'backends',
    'proxy',
    'kubelet',
  ],
} as const;

/** The rooms of src/kubelet, the ground floor first: docs/adr/0014-the-kubelet.md. */
const kubeletFloors = [
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
] as const;

/** What lies beside the rooms is a leaf: a new file of `src/` has to be one, or has no place. */
const leaves = readdirSync(join(root, 'src')).filter((name) => name.endsWith('.ts'));
const rooms = [...Object.keys(arrows), 'cli'];
const kubeletRooms: readonly string[] = kubeletFloors.flat();
const kubeletDoor = '../kubelet.ts';
const kubeletLeaves = ['at-once.ts', 'back-off.ts'];
const files = ['node:fs', 'node:fs/promises'];
const sockets = ['node:http', 'node:tls', 'undici'];
const programs = ['node:child_process', 'execa'];
const harmless = ['node:util', 'node:crypto', 'node:path'];

const roomImports = rooms.map((room) => `../${room}/probe.ts`);
const kubeletImports = [...kubeletRooms.map((room) => `../${room}/probe.ts`), kubeletDoor];
const modules = [...files, ...sockets, 'node:net', ...programs, ...harmless];
const imports = [...roomImports, ...kubeletImports, ...modules];

/** A file of the checkout, and what of `imports` the linter has to refuse there. */
const probes = new Map<string, readonly string[]>([
  ...Object.entries(arrows).map(([room, may]): [string, readonly string[]] => [
    `src/${room}/probe.ts`,
    [...roomsBut([room, ...may]), ...modulesRefusedIn(room)],
  ]),
  ...kubeletFloors.flatMap((floor, index) =>
    floor.map((room): [string, readonly string[]] => {
      const may: readonly string[] = [room, ...kubeletFloors.slice(0, index).flat()];
      return [`src/kubelet/${room}/probe.ts`, [...refusedInKubelet(), ...kubeletRoomsBut(may)]];
    }),
  ),
  ...kubeletLeaves.map((file): [string, readonly string[]] => [
    `src/kubelet/${file}`,
    [...refusedInKubelet(), ...kubeletRoomsBut([])],
  ]),
  ['src/cli/demo/probe.ts', programs],
  ['src/cli/render.ts', ['../host/probe.ts', ...files, ...sockets, 'node:net', ...programs]],
  ...leaves.map((file): [string, readonly string[]] => [`src/${file}`, roomsBut([])]),
]);

function roomsBut(allowed: readonly string[]): readonly string[] {
  return rooms.filter((room) => !allowed.includes(room)).map((room) => `../${room}/probe.ts`);
}

function kubeletRoomsBut(allowed: readonly string[]): readonly string[] {
  const others = kubeletRooms.filter((room) => !allowed.includes(room));
  return [...others.map((room) => `../${room}/probe.ts`), kubeletDoor];
}

function refusedInKubelet(): readonly string[] {
  return [...roomsBut(['kubelet', ...arrows.kubelet]), ...modulesRefusedIn('kubelet')];
}

function modulesRefusedIn(room: string): readonly string[] {
  if (room === 'host') return [];
  if (room === 'ip' || room === 'relay') return [...files, ...sockets, ...programs];
  const pure = ['walk', 'config', 'services', 'graph', 'backends', 'doctor'].includes(room);
  return pure ? [...files, ...sockets, 'node:net', ...programs] : programs;
}

it('each folder of src/kubelet is a room on one floor, and beside them are a door and leaves', () => {
  const found = readdirSync(join(root, 'src/kubelet'));
  expect(found.toSorted()).toEqual([...kubeletRooms, ...kubeletLeaves, 'kubelet.ts'].toSorted());
});

describe('the linter refuses imports against the arrows, and no others:', () => {
  let folder = '';
  let refused = new Map<string, string[]>();

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'switchyard-arrows-'));
    copyFileSync(join(root, 'oxlint.config.ts'), join(folder, 'oxlint.config.ts'));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    const source = imports.map((name) => `import '${name}';\n`).join('');
    for (const file of probes.keys()) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), source);
    }
    refused = lint(folder);
  });

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it.each([...probes])('%s', (file, expected) => {
    expect((refused.get(file) ?? []).toSorted()).toEqual(expected.toSorted());
  });
});

interface Report {
  readonly diagnostics: readonly {
    readonly code: string;
    readonly filename: string;
    readonly labels: readonly { readonly span: { readonly line: number } }[];
  }[];
}

/** The imports that no-restricted-imports refuses, by file. */
function lint(folder: string): Map<string, string[]> {
  const oxlint = join(root, 'node_modules/.bin/oxlint');
  const options = { cwd: folder, encoding: 'utf8', maxBuffer: 2 ** 26 } as const;
  const { stdout } = spawnSync(oxlint, ['--format=json', 'src'], options);
  const refused = new Map<string, string[]>();
  for (const { code, filename, labels } of (JSON.parse(stdout) as Report).diagnostics) {
    if (!code.includes('no-restricted-imports')) continue;
    const line = labels[0]?.span.line ?? 0;
    refused.set(filename, [...(refused.get(filename) ?? []), imports[line - 1] ?? '']);
  }
  return refused;
}
