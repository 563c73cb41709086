import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { endOrphanedTools } from '../../../src/host/orphaned-tools.ts';

/** What of a process the search looks at. */
interface Seen {
  readonly name?: string;
  readonly owner?: number | undefined;
  readonly net?: string;
  readonly parent?: number;
}

describe('tools that an agent left at work when it was killed', () => {
  let proc = '';
  let tool: ChildProcess;
  let dead = 0;

  beforeEach(async () => {
    proc = await mkdtemp(join(tmpdir(), 'switchyard-proc-'));
    tool = spawn('sleep', ['600'], { stdio: 'ignore' });
    const short = spawn('true', { stdio: 'ignore' });
    dead = short.pid ?? 0;
    await once(short, 'exit');
    await show('self', {});
  });

  afterEach(async () => {
    tool.kill('SIGKILL');
    await rm(proc, { recursive: true });
  });

  /** Shows a process in the folder that stands for /proc. */
  async function show(
    pid: number | string,
    { name = 'sleep', owner, net = 'net:[1]', parent = 1 }: Seen,
  ) {
    const folder = join(proc, String(pid));
    await mkdir(join(folder, 'ns'), { recursive: true });
    const environment = owner === undefined ? '' : `SWITCHYARD_TOOL_OF=${owner}\0`;
    await writeFile(join(folder, 'environ'), `A=b\0${environment}C=d\0`);
    await writeFile(join(folder, 'comm'), `${name}\n`);
    await writeFile(join(folder, 'stat'), `${pid} (a) b) S ${parent} 1 1 0\n`);
    await symlink(net, join(folder, 'ns', 'net'));
    await symlink('pid:[1]', join(folder, 'ns', 'pid'));
  }

  it.each(['iptables-nft-re', 'xtables-legacy-', 'ipset', 'conntrack', 'nft', 'ip'])(
    'are ended and named: %s',
    async (name) => {
      const pid = tool.pid ?? 0;
      await show(pid, { name, owner: dead });
      const ended = once(tool, 'exit');
      expect(await endOrphanedTools(systemClock, proc)).toEqual([{ pid, name }]);
      expect((await ended)[1]).toBe('SIGKILL');
    },
  );

  it('are those of an earlier process with our number, too', async () => {
    const pid = tool.pid ?? 0;
    await show(pid, { name: 'ipset', owner: process.pid });
    expect(await endOrphanedTools(systemClock, proc)).toEqual([{ pid, name: 'ipset' }]);
  });

  it.each<[string, () => Seen]>([
    ['that belong to an agent that lives', () => ({ owner: process.ppid })],
    ['that this process started itself', () => ({ owner: process.pid, parent: process.pid })],
    ['that nobody’s agent started', () => ({ owner: undefined })],
    ['of another network namespace', () => ({ owner: dead, net: 'net:[2]' })],
    ['that are no tools', () => ({ owner: dead, name: 'node' })],
  ])('are left alone: those %s', async (_which, seen) => {
    await show(tool.pid ?? 0, { name: 'ipset', ...seen() });
    expect(await endOrphanedTools(systemClock, proc)).toEqual([]);
    expect(tool.exitCode ?? tool.signalCode).toBeNull();
  });
});
