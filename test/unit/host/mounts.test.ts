/** The kernel's table of mounts, and what mount(8) and umount(8) are asked. */
import { describe, expect, it } from 'vitest';

import { parseMountInfo, SystemMounts } from '../../../src/host/mounts.ts';
import type { ToolRunner } from '../../../src/host/run-tool.ts';

const { signal } = new AbortController();

/** Tools that fail where `fails` says so, with the words of the real ones. */
function tools(fails: (line: string) => boolean = () => false): {
  readonly runner: ToolRunner;
  readonly lines: string[];
} {
  const lines: string[] = [];
  const runner: ToolRunner = {
    run: async (tool, args) => {
      const line = [tool, ...args].join(' ');
      lines.push(line);
      const isWrong = fails(line);
      const stderr = isWrong ? `${tool}: bad option.\n` : '';
      return { exitCode: isWrong ? 32 : 0, stdout: '', stderr, durationMs: 1 };
    },
  };
  return { runner, lines };
}

describe('mounts', () => {
  it('are read with odd names, optional fields of any number, and in their order', () => {
    const text = [
      '22 1 0:21 / /proc rw,nosuid - proc proc rw',
      '36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue',
      String.raw`40 36 0:40 / /var/with\040space\011tab\134 rw master:7 - tmpfs tmpfs rw`,
      'not a line',
      '',
    ].join('\n');
    expect(parseMountInfo(text)).toEqual([
      { path: '/proc', type: 'proc', shared: false },
      { path: '/mnt2', type: 'ext3', shared: true },
      { path: '/var/with space\ttab\\', type: 'tmpfs', shared: false },
    ]);
  });

  it('are made and ended without resolving a path again', async () => {
    const { runner, lines } = tools();
    const mounts = new SystemMounts(runner);
    await mounts.bind('/proc/7/fd/3', '/target', signal);
    await mounts.unmount('/target', signal);
    await mounts.share('/target', signal);
    await mounts.tmpfs('/fast', { mode: '0777', sizeBytes: 4096n }, signal);
    await mounts.tmpfs('/any', { mode: '0700' }, signal);
    expect(lines).toEqual([
      'mount -n -c --bind /proc/7/fd/3 /target',
      'umount -n -c /target',
      'mount -n --make-rshared /target',
      'mount -n -t tmpfs -o mode=0777,size=4096,noswap tmpfs /fast',
      'mount -n -t tmpfs -o mode=0700,noswap tmpfs /any',
    ]);
  });

  it('are swapped out only where the kernel cannot do without, which it is asked once', async () => {
    const { runner, lines } = tools((line) => line.includes('noswap'));
    const mounts = new SystemMounts(runner);
    for (const target of ['/a', '/b']) await mounts.tmpfs(target, { mode: '0777' }, signal);
    expect(lines.map((line) => line.split(' ')[5])).toEqual([
      'mode=0777,noswap',
      'mode=0777',
      'mode=0777',
    ]);
  });

  it('say what mount said', async () => {
    const { runner } = tools(() => true);
    await expect(new SystemMounts(runner).unmount('/a', signal)).rejects.toThrow(
      'umount -n -c /a: umount: bad option.',
    );
  });

  it('begin where the device is another than above', async () => {
    const mounts = new SystemMounts({ run: async () => Promise.reject(new Error('not run')) });
    expect(await mounts.begins('/proc')).toBe(true);
    expect(await mounts.begins('/proc/self')).toBe(false);
    await expect(mounts.begins('/proc/nothing')).rejects.toThrow('ENOENT');
  });
});
