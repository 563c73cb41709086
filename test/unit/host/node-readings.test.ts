/** What is read of a node without running anything: kernel parts, processes, listeners, memory, links, boot rules, the lock file. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readBootRules } from '../../../src/host/boot-rules.ts';
import { fewAtOnce } from '../../../src/host/few-at-once.ts';
import { readKernelParts } from '../../../src/host/kernel-modules.ts';
import { parseTcpTable, socketOwners, tcpListeners } from '../../../src/host/listeners.ts';
import { readMemory } from '../../../src/host/machine-memory.ts';
import { readNetworkShape } from '../../../src/host/network-shape.ts';
import { listProcesses } from '../../../src/host/node-processes.ts';
import { readLockFile, readPrivileges } from '../../../src/host/privileges.ts';
import { FakeToolRunner } from '../../support/fake-tool-runner.ts';

let root = '';

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'switchyard-node-'));
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function put(path: string, content: string | Buffer): Promise<void> {
  const file = join(root, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
}

const paths = (): { proc: string; boot: string; modules: string } => ({
  proc: join(root, 'proc'),
  boot: join(root, 'boot'),
  modules: join(root, 'modules'),
});

describe('the parts of a kernel', () => {
  it('come from what is loaded, built in, on the disk, and from its configuration', async () => {
    await put('proc/sys/kernel/osrelease', '6.1.0-x\n');
    await put('proc/modules', 'xt_mark 16384 3 - Live 0x0\nnf_nat 1 0 - Live 0x0\n');
    await put('modules/6.1.0-x/modules.builtin', 'kernel/net/netfilter/x_tables.ko\n');
    await put(
      'modules/6.1.0-x/modules.dep',
      'kernel/net/xt_set.ko.xz: kernel/x.ko\nkernel/ip-vs.ko:\n',
    );
    await put('boot/config-6.1.0-x', '# CONFIG_A is not set\nCONFIG_IP_VS=m\nCONFIG_NF_NAT=y\n');
    const found = await readKernelParts(paths());
    expect(found.release).toBe('6.1.0-x');
    expect([...found.loaded]).toEqual(['xt_mark', 'nf_nat']);
    expect([...found.builtIn]).toEqual(['x_tables']);
    expect([...found.available]).toEqual(['xt_set', 'ip_vs']);
    expect([...(found.options ?? [])]).toEqual([
      ['IP_VS', 'm'],
      ['NF_NAT', 'y'],
    ]);
    expect(found.sources).toHaveLength(4);
  });

  it('come from /proc/config.gz first, and are not known where nothing is there', async () => {
    expect(await readKernelParts(paths())).toMatchObject({
      release: '',
      options: undefined,
      sources: [],
    });
    await put('proc/sys/kernel/osrelease', '6.1.0-x\n');
    await put('proc/config.gz', gzipSync('CONFIG_B=y\n'));
    await put('boot/config-6.1.0-x', 'CONFIG_C=y\n');
    expect([...((await readKernelParts(paths())).options ?? [])]).toEqual([['B', 'y']]);
  });
});

describe('processes', () => {
  it('have name and words, and whether they are in our network namespace; those that are gone are left out', async () => {
    for (const [pid, network] of [
      [7, 'net:[1]'],
      [8, 'net:[2]'],
      [9, 'net:[1]'],
    ] as const) {
      await put(`proc/${pid}/comm`, pid === 7 ? 'own\n' : 'python3\n');
      await put(`proc/${pid}/cmdline`, 'python3\0/usr/sbin/firewalld\0');
      await mkdir(join(root, `proc/${pid}/ns`));
      await symlink(network, join(root, `proc/${pid}/ns/net`));
    }
    await mkdir(join(root, 'proc/10'));
    await put('proc/cpuinfo', '');
    expect(await listProcesses(join(root, 'proc'), 7)).toEqual([
      { pid: 8, name: 'python3', argv: ['python3', '/usr/sbin/firewalld'], isInOurNetwork: false },
      { pid: 9, name: 'python3', argv: ['python3', '/usr/sbin/firewalld'], isInOurNetwork: true },
    ]);
  });
});

describe('listeners', () => {
  it('are read with their addresses, and nobody else is', () => {
    const head =
      '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
    const v4 = `${head}   0: 0100007F:2809 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   1: 0100007F:2809 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n`;
    expect(parseTcpTable(v4)).toEqual([{ address: '127.0.0.1', port: 10_249, inode: 4711 }]);
    const v6 = `${head}   0: 00000000000000000000000001000000:2810 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 99 1 0\n`;
    expect(parseTcpTable(v6)).toEqual([{ address: '::1', port: 10_256, inode: 99 }]);
  });

  it('of this machine are found with the process that owns them', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const found = (await tcpListeners()).filter((each) => each.port === port);
      expect(found.map(({ address }) => address)).toContain('127.0.0.1');
      const inode = found[0]?.inode ?? 0;
      expect((await socketOwners(new Set([inode]))).get(inode)).toBe(process.pid);
    } finally {
      server.close();
    }
  });
});

describe('memory', () => {
  it.each([
    ['2', '0::/kubepods/pod1\n', 'kubepods/pod1/memory.max', 'kubepods/memory.max'],
    [
      '1',
      '5:memory:/kubepods/pod1\n3:cpu,cpuacct:/x\n',
      'memory/kubepods/pod1/memory.limit_in_bytes',
      'memory/kubepods/memory.limit_in_bytes',
    ],
  ])(
    'is bounded by the least limit of its control groups (version %s)',
    async (_version, groups, own, parent) => {
      await put('proc/meminfo', 'MemTotal:        1000 kB\nMemAvailable:     600 kB\n');
      await put('proc/self/cgroup', groups);
      const where = { proc: join(root, 'proc'), cgroups: join(root, 'cgroup') };
      await put(`cgroup/${own}`, '9223372036854771712\n');
      const base = { total: 1_024_000, available: 614_400 };
      expect(await readMemory(where)).toEqual({ ...base, limit: undefined });
      await put(`cgroup/${parent}`, '500000\n');
      expect(await readMemory(where)).toEqual({ ...base, limit: 500_000 });
    },
  );
});

describe('links and routes', () => {
  it('tell bridges with ports, and links with a default route', async () => {
    await mkdir(join(root, 'sys/class/net/cni0/brif/veth1'), { recursive: true });
    await mkdir(join(root, 'sys/class/net/docker0/brif'), { recursive: true });
    await mkdir(join(root, 'sys/class/net/eth0'), { recursive: true });
    await put(
      'proc/self/net/route',
      'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\neth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\neth0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n',
    );
    expect(await readNetworkShape(join(root, 'sys'), join(root, 'proc'))).toEqual({
      links: ['cni0', 'docker0', 'eth0'],
      bridges: ['cni0'],
      uplinks: ['eth0'],
    });
  });
});

describe('what writes rules at boot', () => {
  it('is seen by links of systemd and by files', async () => {
    const wants = join(root, 'etc/systemd/system/sysinit.target.wants');
    await mkdir(wants, { recursive: true });
    await symlink('/lib/systemd/system/nftables.service', join(wants, 'nftables.service'));
    await symlink('/lib/systemd/system/cron.service', join(wants, 'cron.service'));
    await put('etc/nftables.conf', '#!/usr/sbin/nft -f\n\nflush ruleset\n');
    await put('etc/ufw/ufw.conf', '# on\nENABLED=yes\n');
    await put('etc/iptables/rules.v4', '*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n');
    await put('etc/iptables/rules.v6', '*nat\nCOMMIT\n');
    expect(await readBootRules(root)).toEqual({
      units: ['nftables'],
      nftablesFlushes: true,
      savedProxyRules: ['/etc/iptables/rules.v4'],
      ufwEnabled: true,
    });
  });

  it('is nothing on a node without any of it', async () => {
    await put('etc/nftables.conf', '# flush ruleset\ntable inet filter {\n}\n');
    expect(await readBootRules(root)).toEqual({
      units: [],
      nftablesFlushes: false,
      savedProxyRules: [],
      ufwEnabled: false,
    });
  });
});

describe('the lock file', () => {
  it('is a container’s own where it lies in the overlay that is its root', async () => {
    await put('xtables.lock', '');
    const lock = join(root, 'xtables.lock');
    await put(
      'proc/self/mountinfo',
      '1 0 0:1 / / rw - overlay overlay rw\n2 1 0:2 / /run rw - tmpfs tmpfs rw\n',
    );
    expect(await readLockFile(lock, join(root, 'proc'), root)).toEqual({
      path: lock,
      exists: true,
      isPrivate: true,
    });
    expect(await readLockFile(lock, join(root, 'proc'), '/proc')).toMatchObject({
      isPrivate: false,
    });
    expect(await readLockFile(join(root, 'none'), join(root, 'proc'), root)).toMatchObject({
      exists: false,
    });
    await put('proc/self/mountinfo', '1 0 8:1 / / rw - ext4 /dev/sda1 rw\n');
    expect(await readLockFile(lock, join(root, 'proc'), root)).toMatchObject({ isPrivate: false });
  });
});

describe('rights', () => {
  it('are those in effect', async () => {
    await put('proc/self/status', 'Name:\tx\nCapEff:\t0000000000001000\n');
    await put('proc/sys/net/ipv4/ip_forward', '1\n');
    const found = await readPrivileges(join(root, 'proc'));
    expect(found).toMatchObject({
      mayChangeNetwork: true,
      mayMakeNamespaces: false,
      sharesNetworkOfInit: undefined,
      mayWriteSysctls: true,
    });
  });
});

describe('tools, a few at a time', () => {
  it('run no more at once, and all in the end, also after a failure', async () => {
    let running = 0;
    let most = 0;
    const inner = new FakeToolRunner(({ args }) => (args[0] === '3' ? 'missing' : undefined));
    const tools = fewAtOnce(
      {
        async run(...given) {
          most = Math.max(most, ++running);
          await new Promise((resolve) => setImmediate(resolve));
          running--;
          return inner.run(...given);
        },
      },
      2,
    );
    const options = { timeoutMs: 1000, signal: new AbortController().signal };
    const all = Array.from({ length: 9 }, async (_, i) => tools.run('x', [String(i)], options));
    const settled = await Promise.allSettled(all);
    expect(most).toBe(2);
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(8);
    expect(inner.runs).toHaveLength(9);
  });
});
