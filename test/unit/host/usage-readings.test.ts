/** What is read of use: cgroups of both versions, networks of processes, folders on a disk. */
import { link, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CgroupReader } from '../../../src/host/cgroup-usage.ts';
import { diskUse, mountUse } from '../../../src/host/disk-use.ts';
import { readNetworkUse } from '../../../src/host/network-usage.ts';

let root = '';

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'switchyard-usage-'));
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function put(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
}

const never = new AbortController().signal;

describe('cgroups', () => {
  it('of version 1 say it by a tree a controller', async () => {
    await put({
      'cpuacct/a/cpuacct.usage': '1500000000\n',
      'cpuacct/a/cpuacct.stat': 'user 100\nsystem 50\n',
      'cpu/a/cpu.stat': 'nr_periods 10\nnr_throttled 4\nthrottled_time 250000000\n',
      'cpu/a/cpu.shares': '512\n',
      'cpu/a/cpu.cfs_quota_us': '20000\n',
      'cpu/a/cpu.cfs_period_us': '100000\n',
      'memory/a/memory.usage_in_bytes': '1000\n',
      'memory/a/memory.max_usage_in_bytes': '2000\n',
      'memory/a/memory.limit_in_bytes': '9223372036854771712\n',
      'memory/a/memory.failcnt': '7\n',
      'memory/a/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
      'memory/a/memory.stat':
        'cache 1\ntotal_cache 300\ntotal_rss 600\ntotal_inactive_file 200\ntotal_pgfault 9\ntotal_pgmajfault 2\ntotal_swap 0\ntotal_mapped_file 5\n',
      'memory/a/cgroup.procs': '0\n42\n43\n',
      'pids/a/pids.current': '3\n',
      'blkio/a/blkio.throttle.io_service_bytes_recursive':
        '8:0 Read 4096\n8:0 Write 512\n8:0 Total 4608\nTotal 4608\n',
      'blkio/a/blkio.throttle.io_serviced_recursive': '8:0 Read 2\n8:0 Write 1\nTotal 3\n',
    });
    const reader = new CgroupReader({ version: 1, mount: root });
    expect(reader.read('/a')).toEqual({
      cpu: {
        seconds: 1.5,
        userSeconds: 1,
        systemSeconds: 0.5,
        periods: 10,
        throttledPeriods: 4,
        throttledSeconds: 0.25,
        shares: 512,
        periodUs: 100_000,
        quotaUs: 20_000,
      },
      memory: {
        usageBytes: 1000,
        workingSetBytes: 800,
        rssBytes: 600,
        cacheBytes: 300,
        mappedFileBytes: 5,
        swapBytes: 0,
        maxUsageBytes: 2000,
        failures: 7,
        oomKills: 2,
        pageFaults: 9,
        majorPageFaults: 2,
        limitBytes: undefined,
      },
      io: [{ device: '8:0', readBytes: 4096, writtenBytes: 512, reads: 2, writes: 1 }],
      tasks: 3,
    });
    expect([reader.has('/a'), reader.has('/b')]).toEqual([true, false]);
    expect([reader.member('/a'), reader.member('/b')]).toEqual([42, undefined]);
    expect(reader.read('/b')).toBeUndefined();
  });

  it('of version 2 say it in one tree', async () => {
    await put({
      'a/cpu.stat':
        'usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 250000\n',
      'a/cpu.max': 'max 100000\n',
      'a/cpu.weight': '20\n',
      'a/memory.current': '1000\n',
      'a/memory.peak': '2000\n',
      'a/memory.max': '4096\n',
      'a/memory.events': 'low 0\nmax 7\noom 3\noom_kill 2\n',
      'a/memory.swap.current': '0\n',
      'a/memory.stat':
        'anon 600\nfile 300\nfile_mapped 5\ninactive_file 200\npgfault 9\npgmajfault 2\n',
      'a/cgroup.procs': '42\n',
      'a/pids.current': '3\n',
      'a/io.stat': '8:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n',
    });
    const usage = new CgroupReader({ version: 2, mount: root }).read('/a');
    expect(usage?.cpu).toEqual({
      seconds: 1.5,
      userSeconds: 1,
      systemSeconds: 0.5,
      periods: 10,
      throttledPeriods: 4,
      throttledSeconds: 0.25,
      shares: 500,
      periodUs: 100_000,
      quotaUs: undefined,
    });
    expect(usage?.memory).toMatchObject({
      usageBytes: 1000,
      workingSetBytes: 800,
      rssBytes: 600,
      cacheBytes: 300,
      maxUsageBytes: 2000,
      failures: 7,
      oomKills: 2,
      limitBytes: 4096,
    });
    expect(usage?.io).toEqual([
      { device: '8:0', readBytes: 4096, writtenBytes: 512, reads: 2, writes: 1 },
    ]);
    expect(usage?.tasks).toBe(3);
  });

  it('without a controller say what is left', async () => {
    await put({ 'a/cpu.stat': 'usage_usec 5\n', 'a/memory.stat': 'anon 1\n' });
    expect(new CgroupReader({ version: 2, mount: root }).read('/a')).toMatchObject({
      cpu: { seconds: 0.000005, periods: undefined, shares: undefined },
      memory: undefined,
      io: [],
      tasks: undefined,
    });
  });
});

describe('the network of a process', () => {
  it('is all its interfaces but the loopback', async () => {
    await put({
      'proc/7/net/dev': `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 4564 22    0    0    0     0          0         0 4564 22    0    0    0     0       0          0
  eth0:11874 30    1    2    0     0          0         0 23388 20    3    4    0     0       0          0
`,
    });
    expect(await readNetworkUse(7, join(root, 'proc'))).toEqual([
      {
        name: 'eth0',
        receivedBytes: 11_874,
        receivedPackets: 30,
        receiveErrors: 1,
        receiveDrops: 2,
        sentBytes: 23_388,
        sentPackets: 20,
        sendErrors: 3,
        sendDrops: 4,
      },
    ]);
    expect(await readNetworkUse(8, join(root, 'proc'))).toBeUndefined();
  });
});

describe('a folder', () => {
  it('is all that is in it: links not followed, a file of two names once', async () => {
    await put({ 'in/one': 'x'.repeat(50_000), 'in/deep/two': 'y', 'out/big': 'z'.repeat(500_000) });
    await link(join(root, 'in/one'), join(root, 'in/deep/again'));
    await symlink(join(root, 'out'), join(root, 'in/away'));
    await symlink(join(root, 'out/big'), join(root, 'in/deep/big'));
    const { bytes, inodes } = await diskUse(join(root, 'in'), never);
    // in, one, deep, two and the two links
    expect(inodes).toBe(6);
    expect(bytes).toBeGreaterThanOrEqual(50_000);
    expect(bytes).toBeLessThan(150_000);
  });

  it('that is a link is refused', async () => {
    await put({ 'out/big': 'z' });
    await symlink(join(root, 'out'), join(root, 'in'));
    await expect(diskUse(join(root, 'in'), never)).rejects.toThrow('ENOTDIR');
  });

  it('with very many levels, and more files than are looked at at once, is counted', async () => {
    const files = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`in/${i}`, 'x']));
    await put({ ...files, [`in/${'d/'.repeat(60)}last`]: 'x' });
    expect((await diskUse(join(root, 'in'), never)).inodes).toBe(1 + 100 + 60 + 1);
  });

  it('of a file system of its own is measured at once', async () => {
    await put({ 'in/one': 'x' });
    expect(await mountUse(join(root, 'in'))).toBeUndefined();
    expect(await mountUse('/proc')).toMatchObject({ bytes: expect.any(Number) as number });
    await expect(mountUse(join(root, 'none'))).rejects.toThrow('ENOENT');
  });
});
