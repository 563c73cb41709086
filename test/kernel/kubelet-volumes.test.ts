/** Volumes of pods with a kernel's mounts: what lies in memory, what is left afterwards, and that no subPath leads out of its volume. */
import { fileURLToPath } from 'node:url';
import process from 'node:process';
import { describe, expect, it } from 'vitest';

import { inMountNamespace } from '../support/mount-namespace.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
const program = fileURLToPath(new URL('kubelet-volumes-scenes.ts', import.meta.url));

async function scene(name: string): Promise<unknown> {
  return inMountNamespace(program, [name]);
}

describe.skipIf(!able)('volumes on a kernel (needs root: they are mounted)', () => {
  it('lie on disk or in memory as they should, belong to the fsGroup, survive their agent and leave nothing', async () => {
    expect(await scene('setUp')).toEqual({
      seen: {
        disk: { mode: '2777', gid: 1001, on: 'disk' },
        fast: { mode: '2777', gid: 1001, on: `tmpfs ${4 << 20}` },
        keys: { mode: '2777', gid: 1001, on: `tmpfs ${1 << 30}` },
        settings: { mode: '2777', gid: 1001, on: 'disk' },
      },
      files: { key: { mode: '440', gid: 1001 }, color: { mode: '644', gid: 1001 } },
      text: 'geheim',
      // the second agent took the mounts of the first over
      before: 2,
      after: 2,
      kept: 'yes',
      left: { mounts: 0, pods: [] },
    });
  });

  it('stay whole while one of them is in use, and go when it is not', async () => {
    expect(await scene('busy')).toEqual({
      refused: expect.stringContaining('target is busy') as unknown,
      kept: 'yes',
      freed: 'done',
    });
  });

  it('take nothing with them that somebody else mounted inside', async () => {
    expect(await scene('foreign')).toEqual({ kept: 'yes', pods: [] });
  });

  it('lie below a root directory that is a shared mount, once', async () => {
    expect(await scene('root')).toEqual({
      real: '/real',
      own: [true],
      pods: { mode: '750', gid: 0 },
      checkpoints: { mode: '700', gid: 0 },
      lines: [],
    });
  });
});

describe.skipIf(!able)('a subPath (needs root: it is bound)', () => {
  it('names what is inside of its volume, through links too, and is refused where it leads out', async () => {
    const refused = 'failed to prepare subPath for volumeMount "disk" of container "app"';
    expect(await scene('subPath')).toEqual({
      made: '/pods/uid-1/volume-subpaths/disk/app/0',
      mode: { mode: '777', gid: 0 },
      // a file that was bound is never updated, and the next container gets the new one
      old: 'red',
      fresh: 'blue',
      mountedOnce: [1, 1],
      inner: 'inside',
      absolute: ['file'],
      back: 'inside',
      out: refused,
      outFile: refused,
      up: refused,
      loop: refused,
      dots: refused,
      slash: refused,
      outside: 'secret',
      left: 0,
    });
  });

  it('holds against a container that swaps a folder and a link all the while', async () => {
    const seen = await scene('race');
    expect(seen).toMatchObject({ escaped: 0, outsideHas: ['sub'], left: 0 });
    const { opened, refused } = seen as Readonly<Record<string, number>>;
    // both were met: without this nothing would have been tried
    expect(opened).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
  });
});
