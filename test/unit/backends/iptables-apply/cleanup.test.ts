import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IptablesCleanup } from '../../../../src/backends/iptables/cleanup.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeToolRunner } from '../../../support/fake-tool-runner.ts';
import type { Answer, RecordedRun } from '../../../support/fake-tool-runner.ts';

const { signal } = new AbortController();
const ours = '*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n';
const sets =
  'Name: KUBE-HAIRPIN\nType: hash:ip,port,ip\nHeader: family inet\n\nName: KUBE-AFF-AAAAAAAAAAAAAAAA\nType: bitmap:port\nHeader: range 0-9\n';

/** A node without IPv6 whose tools answer as the test says; rules go when a restore is taken. */
function cleanupOf(
  answer: (run: RecordedRun) => Answer,
  { legacyTables = '', save = ours, modulesPath = '/nowhere' } = {},
): { readonly cleanup: IptablesCleanup; readonly tools: FakeToolRunner } {
  let rules = save;
  let there = sets;
  const tools = new FakeToolRunner((run) => {
    const said = answer(run);
    if (said !== undefined) return said;
    if (run.args.includes('--version')) {
      return {
        stdout: `iptables v1.8.9 (${run.tool.includes('legacy') ? 'legacy' : 'nf_tables'})`,
      };
    }
    if (run.tool === 'ipset' && run.args[0] === 'list') return { stdout: there };
    if (run.tool === 'ipset') there = '';
    if (run.tool.endsWith('-save')) return { stdout: rules };
    if (run.tool.endsWith('tables-nft-restore')) rules = '';
    return undefined;
  });
  const cleanup = new IptablesCleanup({
    tools,
    log: silentLog,
    lockPaths: { lockFile: '/nowhere', proc: '/nowhere' },
    terms: { scope: 'all', ownFirewalls: [] },
    legacyTables: async () => legacyTables,
    procPath: '/nowhere',
    modulesPath,
  });
  return { cleanup, tools };
}

const isRestore = ({ tool }: RecordedRun): boolean => tool === 'iptables-nft-restore';

describe('the clean-up of the iptables mode', () => {
  it('looks without writing, and names rules and sets, but no set of another type', async () => {
    const { cleanup, tools } = cleanupOf(() => undefined);
    expect(await cleanup.look(signal)).toEqual({
      mode: 'iptables',
      removes: ['nat (IPv4, nft): KUBE-SERVICES', 'ipsets: KUBE-HAIRPIN'],
      keeps: [],
    });
    expect(tools.runs.every(({ input }) => input === '')).toBe(true);
  });

  it('never runs the legacy tools where there are no legacy tables: they would make some', async () => {
    const { cleanup, tools } = cleanupOf(() => undefined);
    await cleanup.look(signal);
    expect(tools.runs.some(({ tool }) => tool.includes('legacy'))).toBe(false);
  });

  it('says of legacy tables that no tool can show that it cannot tell', async () => {
    const { cleanup } = cleanupOf(({ tool }) => (tool.includes('legacy') ? 'missing' : undefined), {
      legacyTables: 'nat\n',
    });
    expect((await cleanup.look(signal)).keeps).toEqual([
      {
        what: 'legacy tables of IPv4',
        why: expect.stringMatching(/neither iptables-legacy/),
        isObstacle: true,
      },
    ]);
  });

  it.each([
    [{ exitCode: 1, stderr: 'no permission' }, 'no permission'],
    [{ stdout: `# Table \`nat' is incompatible, use 'nft' tool.\n` }, 'is incompatible'],
  ])('says that tables cannot be read: %j', async (said, words) => {
    const { cleanup } = cleanupOf(({ tool }) => (tool.endsWith('-save') ? said : undefined));
    const { keeps } = await cleanup.look(signal);
    expect(keeps).toMatchObject([{ why: expect.stringContaining(words), isObstacle: true }]);
  });

  it('reads again and tries again when the rules change under its hands', async () => {
    let refusals = 1;
    const { cleanup, tools } = cleanupOf((run) =>
      isRestore(run) && refusals-- > 0 ? { exitCode: 2, stderr: 'line 3 failed' } : undefined,
    );
    expect(await cleanup.remove(signal)).toEqual([]);
    expect(tools.inputs('iptables-nft-restore')).toHaveLength(2);
    expect(tools.runs.find(isRestore)?.args).toContain('--noflush');
  });

  it('gives up after three refusals, with the tool’s words and what is still there', async () => {
    const { cleanup, tools } = cleanupOf((run) =>
      isRestore(run) ? { exitCode: 4, stderr: 'line 3: CHAIN_DEL failed' } : undefined,
    );
    expect(await cleanup.remove(signal)).toEqual([
      'iptables-nft-restore refused "-X KUBE-SERVICES": line 3: CHAIN_DEL failed',
      'still there: nat (IPv4, nft): KUBE-SERVICES',
    ]);
    expect(tools.inputs('iptables-nft-restore')).toHaveLength(3);
  });

  it('says of a held lock that it is to be run again', async () => {
    const stderr = 'Another app is currently holding the xtables lock.';
    const { cleanup } = cleanupOf((run) => (isRestore(run) ? { exitCode: 4, stderr } : undefined));
    await expect(cleanup.remove(signal)).rejects.toMatchObject({
      message: expect.stringContaining('xtables lock'),
      hint: expect.stringMatching(/^run it again/),
    });
  });

  it('names a set that the kernel does not let go', async () => {
    const { cleanup } = cleanupOf((run) =>
      run.tool === 'ipset' && run.args[0] === 'restore'
        ? { exitCode: 1, stderr: 'Error in line 1: Set cannot be destroyed: it is in use' }
        : undefined,
    );
    expect(await cleanup.remove(signal)).toEqual([
      'ipsets are still used: KUBE-HAIRPIN',
      'still there: ipsets: KUBE-HAIRPIN',
    ]);
  });

  describe('without ipset', () => {
    let modulesPath = '';

    beforeEach(async () => {
      modulesPath = await mkdtemp(join(tmpdir(), 'switchyard-modules-'));
    });

    afterEach(async () => {
      await rm(modulesPath, { recursive: true });
    });

    const builtIn = { 'ip_set/parameters/max_sets': '0' };
    const loaded = { ...builtIn, 'ip_set/initstate': 'live' };

    it.each<[string, Readonly<Record<string, string>>, boolean]>([
      ['without sets', {}, true],
      ['that has loaded them, and has none', { ...loaded, 'ip_set_hash_ip/refcnt': '0' }, true],
      ['with a set of a type of ours', { ...loaded, 'ip_set_hash_ipportip/refcnt': '1' }, false],
      ['that has sets built in', builtIn, false],
    ])('a kernel %s', async (_which, files, isComplete) => {
      for (const [path, text] of Object.entries(files)) {
        await mkdir(join(modulesPath, dirname(path)), { recursive: true });
        await writeFile(join(modulesPath, path), `${text}\n`);
      }
      const { cleanup } = cleanupOf(({ tool }) => (tool === 'ipset' ? 'missing' : undefined), {
        modulesPath,
      });
      const why = expect.stringMatching(/ipset is not on this machine; install it: apt-get/);
      const kept = { what: 'ipsets, if there are any', why, isObstacle: true };
      expect((await cleanup.look(signal)).keeps).toEqual(isComplete ? [] : [kept]);
      expect(await cleanup.remove(signal)).toEqual([]);
    });
  });

  it('needs tools: without any it says which', async () => {
    const { cleanup } = cleanupOf(() => 'missing');
    await expect(cleanup.look(signal)).rejects.toThrow(/iptables is not on this machine/);
  });
});
