import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CleanupScope } from '../../../src/backends/cleanup.ts';
import { NodeRecordFile } from '../../../src/host/node-record.ts';
import type { Sysctls } from '../../../src/host/sysctl.ts';
import { NodeCleanup } from '../../../src/proxy/cleanup.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { FakeToolRunner } from '../../support/fake-tool-runner.ts';

const { signal } = new AbortController();
const localnet = 'net/ipv4/conf/all/route_localnet';
const max = 'net/netfilter/nf_conntrack_max';
const count = 'net/netfilter/nf_conntrack_count';
const firewall =
  '*filter\n:INPUT ACCEPT [0:0]\n:KUBE-FIREWALL - [0:0]\n-A INPUT -j KUBE-FIREWALL\nCOMMIT\n';

const ipvsTable = async (): Promise<undefined> => undefined;

describe('the clean-up of the node', () => {
  let folder = '';
  let record: NodeRecordFile;
  let values: Map<string, string>;
  let readOnly = false;
  let restores: string[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'switchyard-cleanup-'));
    const identity = { boot: 'b', network: 'n' };
    record = new NodeRecordFile({ path: join(folder, 'node.json'), identity, log: silentLog });
    values = new Map([[localnet, '1']]);
    readOnly = false;
    restores = [];
    await record.noteSysctl(localnet, '0', '1');
    await record.noteFirewall('nft');
  });

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  function cleanup(scope: CleanupScope = 'all', foreign = ''): NodeCleanup {
    let rules = firewall.replace('COMMIT', `${foreign}COMMIT`);
    const tools = new FakeToolRunner(({ tool, args, input }) => {
      if (tool.startsWith('ip6') || tool.includes('legacy')) return 'missing';
      if (args.includes('--version')) return { stdout: 'iptables v1.8.9 (nf_tables)' };
      if (tool === 'iptables-nft-save') return { stdout: rules };
      if (!tool.endsWith('tables-nft-restore')) return undefined;
      restores.push(`localnet is ${values.get(localnet)}: ${input}`);
      rules = foreign === '' ? '' : `*filter\n:KUBE-FIREWALL - [0:0]\n${foreign}COMMIT\n`;
      return undefined;
    });
    const sysctls: Sysctls = {
      read: async (key) => values.get(key),
      write: async (key, value) => {
        if (readOnly) throw new Error(`${key} is read-only`);
        values.set(key, value);
        return true;
      },
    };
    const options = {
      tools,
      sysctls,
      record,
      env: {},
      log: silentLog,
      scope,
      excludeCidrs: [],
      ipvsTable,
    };
    return new NodeCleanup(options);
  }

  it('puts settings back, then removes their guard, then the record', async () => {
    expect(await cleanup().plan(signal)).toEqual({
      removes: ['filter (IPv4, nft): 1 jump, KUBE-FIREWALL'],
      restores: [`${localnet}: 1 → 0`],
      keeps: [],
    });
    expect(await cleanup().run(signal)).toEqual([]);
    expect(restores).toEqual([expect.stringMatching(/^localnet is 0: .*-X KUBE-FIREWALL\n/s)]);
    expect(await readdir(folder).catch(() => [])).toEqual([]);
  });

  it('keeps the guard and the record where the setting cannot be put back', async () => {
    readOnly = true;
    expect(await cleanup().run(signal)).toEqual([`${localnet} is read-only`]);
    expect(restores).toEqual([]);
    expect(await readdir(folder)).toEqual(['node.json']);
  });

  it('keeps the record while something has to stay, for the clean-up that can remove it', async () => {
    const foreign = ':MINE - [0:0]\n-A MINE -s 10.0.0.1 -j KUBE-FIREWALL\n';
    const { keeps } = await cleanup('all', foreign).plan(signal);
    expect(keeps).toMatchObject([{ isObstacle: true }]);
    expect(await cleanup('all', foreign).run(signal)).toEqual([]);
    expect(await readdir(folder)).toEqual(['node.json']);
  });

  it('leaves a setting that somebody has changed since', async () => {
    await record.noteSysctl(max, '1000', '2000');
    values.set(max, '3000');
    const { restores: planned, keeps } = await cleanup().plan(signal);
    expect(planned).toEqual([`${localnet}: 1 → 0`]);
    expect(keeps).toEqual([
      { what: `${max} = 3000`, why: expect.stringContaining('set it to 2000'), isObstacle: false },
    ]);
  });

  it.each([
    ['999', true],
    ['1000', false],
  ])('puts the limit of connections back while %s are tracked: %s', async (entries, goes) => {
    await record.noteSysctl(max, '1000', '2000');
    values.set(max, '2000').set(count, entries);
    await cleanup().run(signal);
    expect(values.get(max)).toBe(goes ? '1000' : '2000');
  });

  it('of leftovers alone touches no setting and no guard, and keeps the record for the clean-up to come', async () => {
    expect((await cleanup('leftovers').plan(signal)).restores).toEqual([]);
    await cleanup('leftovers').run(signal);
    expect(restores).toEqual([]);
    expect(values.get(localnet)).toBe('1');
    expect(await readdir(folder)).toEqual(['node.json']);
  });
});
