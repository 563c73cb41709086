/** What test/kernel/kubelet-volumes.test.ts has done in a mount namespace of its own: one scene a run; what was seen is printed. */
import { mkdir, readdir, readFile, rm, stat, statfs, symlink, writeFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

import { systemClock } from '../../src/clock.ts';
import { errorText } from '../../src/error.ts';
import { SystemMounts } from '../../src/host/mounts.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import type { Pod } from '../../src/kubelet/pod/pod.ts';
import type { Volume } from '../../src/kubelet/pod/volume.ts';
import { quantityOf } from '../../src/kubelet/pod/quantity.ts';
import { PodDirectories } from '../../src/kubelet/volumes/pod-directories.ts';
import { prepareRoot } from '../../src/kubelet/volumes/root-directory.ts';
import { openBelow } from '../../src/kubelet/volumes/sub-path.ts';
import { PodVolumes } from '../../src/kubelet/volumes/volumes.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { ownFolder } from '../support/own-folder.ts';
import { knownObjects } from '../unit/kubelet/support/known-objects.ts';
import type { Known } from '../unit/kubelet/support/known-objects.ts';
import { container, pod } from '../unit/kubelet/support/pods.ts';

const { signal } = new AbortController();
const mounts = new SystemMounts(systemTools);

const exchangeLoop = fileURLToPath(new URL('../support/exchange-loop.py', import.meta.url));

/** A folder that all of a scene lies in. */
const place = ownFolder('swy-kubelet-volumes');

const known: Known = {
  configMaps: { 'shop/settings': { COLOR: 'red' } },
  secrets: { 'shop/keys': { key: 'geheim' } },
};

function agent(root: string): PodVolumes {
  return new PodVolumes({
    directories: new PodDirectories(root),
    mounts,
    sources: {
      objects: knownObjects(known),
      tokens: { token: async () => 'token' },
      allocatable: (resource) => (resource === 'memory' ? quantityOf('1Gi') : undefined),
    },
    claims: undefined,
    tokens: undefined,
    events: { tell: () => undefined },
    clock: systemClock,
    random: Math.random,
    log: silentLog,
  });
}

function podWith(volumes: readonly Volume[], spec: Partial<Pod['spec']> = {}): Pod {
  const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/${name}` }));
  return pod({ volumes, containers: [container({ volumeMounts })], ...spec });
}

const disk: Volume = { name: 'disk', emptyDir: {} };
const fast: Volume = { name: 'fast', emptyDir: { medium: 'Memory', sizeLimit: '4Mi' } };
const keys: Volume = { name: 'keys', secret: { secretName: 'keys', defaultMode: 0o400 } };
const settings: Volume = { name: 'settings', configMap: { name: 'settings', defaultMode: 0o644 } };

async function looks(path: string): Promise<object> {
  const { mode, gid } = await stat(path);
  return { mode: (mode & 0o7777).toString(8), gid };
}

async function typeBelow(path: string): Promise<string> {
  const { type, bsize, blocks } = await statfs(path);
  return type === 0x0102_1994 ? `tmpfs ${bsize * blocks}` : 'disk';
}

async function mountedBelow(path: string): Promise<number> {
  return (await mounts.list()).filter((mount) => mount.path.startsWith(path)).length;
}

async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'done';
  } catch (error) {
    return errorText(error).replaceAll(place, '');
  }
}

const scenes: Readonly<Record<string, () => Promise<object>>> = {
  async setUp() {
    const of = podWith([disk, fast, keys, settings], { securityContext: { fsGroup: 1001 } });
    const found = await agent(place).setUp(of, signal);
    const seen: Record<string, unknown> = {};
    for (const [name, { hostPath }] of found) {
      seen[name] = { ...(await looks(hostPath)), on: await typeBelow(hostPath) };
    }
    const keyFile = join(found.get('keys')?.hostPath ?? '', 'key');
    const settingsFile = join(found.get('settings')?.hostPath ?? '', 'COLOR');
    const files = { key: await looks(keyFile), color: await looks(settingsFile) };
    const text = await readFile(keyFile, 'utf8');
    await writeFile(join(found.get('fast')?.hostPath ?? '', 'kept'), 'yes');
    const before = await mountedBelow(place);
    const again = await agent(place).setUp(of, signal);
    const kept = await readFile(join(again.get('fast')?.hostPath ?? '', 'kept'), 'utf8');
    const after = await mountedBelow(place);
    await agent(place).tearDown('uid-1');
    const left = { mounts: await mountedBelow(place), pods: await readdir(join(place, 'pods')) };
    return { seen, files, text, before, after, kept, left };
  },

  async busy() {
    const found = await agent(place).setUp(podWith([fast, disk]), signal);
    const file = join(found.get('disk')?.hostPath ?? '', 'kept');
    await writeFile(file, 'yes');
    const holder = spawn('sleep', ['60'], { cwd: found.get('fast')?.hostPath });
    await once(holder, 'spawn');
    const refused = await outcome(agent(place).tearDown('uid-1'));
    const kept = await readFile(file, 'utf8');
    const ended = once(holder, 'close');
    holder.kill('SIGKILL');
    await ended;
    return { refused, kept, freed: await outcome(agent(place).tearDown('uid-1')) };
  },

  async foreign() {
    const found = await agent(place).setUp(podWith([disk]), signal);
    const precious = join(place, 'precious');
    await mkdir(precious);
    await writeFile(join(precious, 'file'), 'yes');
    const inner = join(found.get('disk')?.hostPath ?? '', 'inner');
    await mkdir(inner);
    await mounts.bind(precious, inner, signal);
    await agent(place).tearDown('uid-1');
    return {
      kept: await readFile(join(precious, 'file'), 'utf8'),
      pods: await readdir(join(place, 'pods')),
    };
  },

  async root() {
    const given = join(place, 'link');
    await mkdir(join(place, 'real'));
    await symlink('real', given);
    const lines: string[] = [];
    const log = { ...silentLog, warn: (_fields: object, line: string) => lines.push(line) };
    const real = await prepareRoot(given, mounts, log, signal);
    await prepareRoot(given, mounts, log, signal);
    const own = (await mounts.list()).filter(({ path }) => path === real);
    return {
      real: real.slice(place.length),
      own: own.map(({ shared }) => shared),
      pods: await looks(join(real, 'pods')),
      checkpoints: await looks(join(real, 'checkpoints')),
      lines,
    };
  },

  async subPath() {
    const volumes = agent(place);
    const of = podWith([disk, settings]);
    const found = await volumes.setUp(of, signal);
    const at = found.get('disk');
    const map = found.get('settings');
    if (at === undefined || map === undefined) return {};
    const target = async (path: string, index = 0, which = at): Promise<string> =>
      volumes.subPath(of, which === at ? 'disk' : 'settings', which, 'app', index, path);
    await mkdir(join(place, 'outside'));
    await writeFile(join(place, 'outside/secret'), 'x');
    await mkdir(join(at.hostPath, 'real/deep'), { recursive: true });
    await writeFile(join(at.hostPath, 'real/deep/file'), 'inside');
    await symlink('real', join(at.hostPath, 'inner'));
    await symlink(join(at.hostPath, 'real/deep'), join(at.hostPath, 'absolute'));
    await symlink('../real', join(at.hostPath, 'real/back'));
    await symlink(join(place, 'outside'), join(at.hostPath, 'out'));
    await symlink('../../../../../../..', join(at.hostPath, 'up'));
    await symlink('loop', join(at.hostPath, 'loop'));
    const made = await target('new/folder');
    const file = await target('COLOR', 1, map);
    known.configMaps = { 'shop/settings': { COLOR: 'blue' } };
    await volumes.setUp(of, signal);
    const old = await readFile(file, 'utf8');
    const fresh = await readFile(await target('COLOR', 1, map), 'utf8');
    const mounted = await mountedBelow(made);
    await target('new/folder');
    const seen = {
      made: made.slice(place.length),
      mode: await looks(join(at.hostPath, 'new/folder')),
      old,
      fresh,
      mountedOnce: [mounted, await mountedBelow(made)],
      inner: await readFile(await target('inner/deep/file', 2), 'utf8'),
      absolute: await readdir(await target('absolute', 3)),
      back: await readFile(await target('real/back/deep/file', 4), 'utf8'),
      out: await outcome(target('out', 5)),
      outFile: await outcome(target('out/secret', 5)),
      up: await outcome(target('up', 5)),
      loop: await outcome(target('loop', 5)),
      dots: await outcome(target('real/../..', 5)),
      slash: await outcome(target('/etc', 5)),
    };
    const inVolume = (await readdir(join(place, 'outside'))).join();
    await volumes.tearDown('uid-1');
    return { ...seen, outside: inVolume, left: await mountedBelow(place) };
  },

  /** A container swaps a folder and a link out of the volume, again and again. */
  async race() {
    const volumes = agent(place);
    const of = podWith([disk]);
    const at = (await volumes.setUp(of, signal)).get('disk');
    if (at === undefined) return {};
    const outside = join(place, 'outside');
    await mkdir(join(outside, 'sub'), { recursive: true });
    await mkdir(join(at.hostPath, 'folder/sub'), { recursive: true });
    await symlink(outside, join(at.hostPath, 'link'));
    const inodes = new Set([(await stat(outside)).ino, (await stat(join(outside, 'sub'))).ino]);
    const swapper = spawn('python3', [exchangeLoop, at.hostPath, 'folder', 'link']);
    await once(swapper.stdout, 'data');
    const seen = { opened: 0, refused: 0, escaped: 0, bound: 0 };
    for (let i = 0; i < 4000; i++) {
      try {
        const handle = await openBelow(at.hostPath, i % 2 === 0 ? 'folder' : 'folder/sub');
        seen.opened++;
        if (inodes.has((await handle.stat()).ino)) seen.escaped++;
        await handle.close();
      } catch {
        seen.refused++;
      }
    }
    for (let i = 0; i < 60; i++) {
      try {
        const path = await volumes.subPath(of, 'disk', at, 'app', i, 'folder');
        seen.bound++;
        if (inodes.has((await stat(path)).ino)) seen.escaped++;
      } catch {
        seen.refused++;
      }
    }
    const ended = once(swapper, 'close');
    swapper.kill('SIGKILL');
    await ended;
    const outsideHas = await readdir(outside);
    await volumes.tearDown('uid-1');
    return { ...seen, outsideHas, left: await mountedBelow(place) };
  },
};

const scene = scenes[process.argv[2] ?? ''];
if (scene === undefined) throw new Error('no such scene');
try {
  process.stdout.write(JSON.stringify(await scene()));
} finally {
  for (const { path } of (await mounts.list()).toReversed()) {
    if (path.startsWith(place)) await mounts.unmount(path, signal);
  }
  await rm(place, { recursive: true });
}
