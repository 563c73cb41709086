import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { systemClock } from '../../../src/clock.ts';
import { localAddresses, ownAddresses, parseInterfaces } from '../../../src/host/interfaces.ts';
import { systemTools, toolCure } from '../../../src/host/run-tool.ts';
import { toolPath } from '../../../src/host/tool-path.ts';
import { lockHolderPid } from '../../../src/host/xtables-lock.ts';

const { signal } = new AbortController();
const bounds = { timeoutMs: 20_000, signal };

describe('running a tool', () => {
  it('feeds it, and gives exit code and both outputs as they are', async () => {
    const script = 'cat; echo no >&2; exit 3';
    const result = await systemTools.run('sh', ['-c', script], { ...bounds, input: 'a b\n' });
    expect(result).toMatchObject({ exitCode: 3, stdout: 'a b\n', stderr: 'no\n' });
  });

  it('never lets a shell see the arguments', async () => {
    const { stdout } = await systemTools.run('printf', ['%s', '$(id); *'], bounds);
    expect(stdout).toBe('$(id); *');
  });

  it('runs it in English, with the variables asked for', async () => {
    const script = 'echo "$LC_ALL $EXTRA"';
    const { stdout } = await systemTools.run('sh', ['-c', script], {
      ...bounds,
      env: { EXTRA: 'x' },
    });
    expect(stdout).toBe('C x\n');
  });

  it('finds the system tools with the PATH of a plain su', async () => {
    const { stdout } = await systemTools.run('sh', ['-c', 'echo "$PATH"'], bounds);
    expect(stdout.trim().split(':')).toEqual(expect.arrayContaining(['/usr/sbin', '/sbin']));
    expect(toolPath('/usr/local/bin:/usr/bin')).toBe('/usr/local/bin:/usr/bin:/usr/sbin:/sbin');
    expect(toolPath('/sbin:/usr/sbin:/bin')).toBe('/sbin:/usr/sbin:/bin');
  });

  it('kills it when its time is up', async () => {
    const run = systemTools.run('sleep', ['600'], { timeoutMs: 20, signal });
    await expect(run).rejects.toMatchObject({ code: 'timeout', retryable: true });
  });

  it('kills what it has started, too, and does not wait for its pipes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'switchyard-tool-'));
    try {
      const script = `sleep 600 & echo $! >${folder}/pid; wait`;
      const run = systemTools.run('sh', ['-c', script], { timeoutMs: 300, signal });
      await expect(run).rejects.toMatchObject({
        message: 'sh did not end within 300 ms',
        hint: expect.stringContaining('ended, with what it had started'),
      });
      const child = Number(await readFile(join(folder, 'pid'), 'utf8'));
      await goneProcess(child);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('kills it when the caller stops', async () => {
    const stop = new AbortController();
    const run = systemTools.run('sleep', ['600'], { ...bounds, signal: stop.signal });
    stop.abort();
    await expect(run).rejects.toThrow(/its caller stopped/);
  });

  it('names the signal that ended it', async () => {
    const run = systemTools.run('sh', ['-c', 'kill -SEGV $$'], bounds);
    await expect(run).rejects.toThrow(/sh was ended by SIGSEGV/);
  });

  it('tells what SIGKILL may mean', async () => {
    const run = systemTools.run('sh', ['-c', 'kill -KILL $$'], bounds);
    await expect(run).rejects.toMatchObject({ hint: expect.stringContaining('memory ran out') });
  });

  it('says how to get one that is missing', async () => {
    const run = systemTools.run('switchyard-no-such-tool', [], bounds);
    await expect(run).rejects.toMatchObject({ code: 'missing', message: /not on this machine/ });
    expect(toolCure('ip6tables-nft-restore')).toBe(
      'install it: apt-get install iptables, or dnf install iptables',
    );
    expect(toolCure('conntrack')).toContain('dnf install conntrack-tools');
  });
});

/** Resolves when a process has ended, which takes a moment after it was killed; a zombie counts as ended. */
async function goneProcess(pid: number): Promise<void> {
  const endMs = Date.now() + 10_000;
  for (;;) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State:\tX');
    if (/^State:\t[XZ]/m.test(status)) return;
    if (Date.now() > endMs) throw new Error(`process ${pid} is still there: ${status}`);
    await systemClock.sleep(5);
  }
}

describe('the addresses of the machine', () => {
  const json = JSON.stringify([
    {
      ifname: 'lo',
      flags: ['LOOPBACK', 'UP'],
      addr_info: [{ local: '127.0.0.1' }, { local: '::1' }],
    },
    { ifname: 'eth1', flags: [], addr_info: [{ local: '10.0.0.9', prefixlen: 24 }] },
    {},
    { ifname: 'eth0', flags: ['UP'], addr_info: [{ local: 'fe80::1' }, { local: '10.0.0.9' }, {}] },
  ]);

  it('are those of all links, also of those that are down', () => {
    const links = parseInterfaces(json);
    expect(links.map(({ name, up }) => [name, up])).toEqual([
      ['eth0', true],
      ['eth1', false],
      ['lo', true],
    ]);
    expect(localAddresses(links, 'ipv4')).toEqual(['10.0.0.9', '127.0.0.1']);
    expect(localAddresses(links, 'ipv6')).toEqual(['::1', 'fe80::1']);
  });

  it('are not those of Services, which ipvs mode binds to a link', () => {
    const services = { ifname: 'kube-ipvs0', flags: [], addr_info: [{ local: '10.96.0.10' }] };
    const links = parseInterfaces(JSON.stringify([...(JSON.parse(json) as object[]), services]));
    expect(links.map(({ name }) => name)).toContain('kube-ipvs0');
    expect(ownAddresses(links).toSorted()).toEqual([
      '10.0.0.9',
      '10.0.0.9',
      '127.0.0.1',
      '::1',
      'fe80::1',
    ]);
  });

  it('are none where ip prints nothing', () => {
    expect(parseInterfaces('')).toEqual([]);
  });
});

describe('the holder of the xtables lock', () => {
  const locks = `1: POSIX  ADVISORY  WRITE 11 fe:00:42 0 EOF
2: FLOCK  ADVISORY  WRITE 17733 fe:00:9773057 0 EOF
2: -> FLOCK  ADVISORY  WRITE 99 fe:00:77 0 EOF
`;
  it.each([
    [9_773_057, 17_733],
    [77, undefined],
    [1, undefined],
  ])('of inode %i is process %s', (inode, pid) => {
    expect(lockHolderPid(locks, inode)).toBe(pid);
  });
});
