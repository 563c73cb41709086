import { describe, expect, it } from 'vitest';

import {
  chooseVariant,
  countEvidence,
  detectVariant,
  familySupported,
  iptablesTools,
  parseVersion,
  restoreArgs,
} from '../../../../src/backends/iptables/variant.ts';
import { SwitchyardError } from '../../../../src/error.ts';
import { FakeToolRunner } from '../../../support/fake-tool-runner.ts';
import type { Answer } from '../../../support/fake-tool-runner.ts';

const { signal } = new AbortController();
const legacyTables = (ipv4: readonly string[] = [], ipv6: readonly string[] = []) => {
  return () => Promise.resolve({ ipv4, ipv6 });
};
const none = { hint: undefined, kubeRules: 0, rules: 0, serves: false };

describe('the choice of the tool variant', () => {
  it.each([
    ['a hint in nft', { ...none, hint: 'KUBE-IPTABLES-HINT' }, { ...none, rules: 9 }, 'nft'],
    ['a hint in legacy', { ...none, rules: 9 }, { ...none, hint: 'KUBE-KUBELET-CANARY' }, 'legacy'],
    [
      'more rules of Kubernetes',
      { ...none, kubeRules: 1, rules: 50 },
      { ...none, kubeRules: 2, rules: 2 },
      'legacy',
    ],
    ['more rules at all', { ...none, rules: 3 }, { ...none, rules: 2 }, 'nft'],
    ['nothing', none, none, undefined],
  ] as const)('follows %s', (_what, nft, legacy, variant) => {
    expect(chooseVariant(nft, legacy)?.variant).toBe(variant);
  });

  it('sees a hint in mangle only', () => {
    const rules = ':KUBE-KUBELET-CANARY - [0:0]\n-A KUBE-X -j DROP\n-A INPUT -j ACCEPT\nCOMMIT\n';
    expect(countEvidence(`*nat\n${rules}`)).toEqual({ ...none, kubeRules: 1, rules: 2 });
    expect(countEvidence(`*mangle\n${rules}`).hint).toBe('KUBE-KUBELET-CANARY');
  });

  it('does not ask the legacy tools where the kernel has no legacy table: asking would make one', async () => {
    const tools = new FakeToolRunner(({ args }) =>
      args[0] === '--version' ? { stdout: 'iptables v1.8.9 (nf_tables)\n' } : undefined,
    );
    const choice = await detectVariant(tools, signal, legacyTables());
    expect(choice.variant).toBe('nft');
    expect(tools.runs.filter(({ tool }) => tool.includes('legacy'))).toEqual([]);
  });

  it.each([
    ['rules', '-A KUBE-SERVICES -j KUBE-SVC-A\n-A KUBE-SVC-A -j RETURN\n', { rules: 3 }],
    ['only emptied chains', '', undefined],
  ])(
    'says of the variant that is not chosen whether it serves: %s',
    async (_what, rules, beside) => {
      const services = `*nat\n:KUBE-SERVICES - [0:0]\n${rules}COMMIT\n`;
      const hint = '*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n';
      const tools = new FakeToolRunner(({ tool, args }) => {
        if (tool === 'iptables-nft-save') return { stdout: hint };
        if (tool !== 'iptables-legacy-save') return undefined;
        const filter = '*filter\n-A KUBE-FORWARD -j ACCEPT\nCOMMIT\n';
        return {
          stdout: args.length === 0 ? services + filter : args.includes('filter') ? filter : '',
        };
      });
      const choice = await detectVariant(tools, signal, legacyTables(['nat', 'filter']));
      expect(choice.variant).toBe('nft');
      expect(choice.beside).toEqual(beside && { ...beside, variant: 'legacy' });
    },
  );

  it('takes the rules of both families', async () => {
    const tools = new FakeToolRunner(({ tool }) =>
      tool === 'ip6tables-legacy-save' ? { stdout: '*filter\n-A INPUT -j ACCEPT\n' } : undefined,
    );
    const choice = await detectVariant(tools, signal, legacyTables([], ['filter']));
    expect(choice).toMatchObject({
      variant: 'legacy',
      reason: expect.stringContaining('legacy 1'),
    });
  });

  describe('over the rules of a proxy before us', () => {
    const all = ['nat', 'mangle', 'filter'];
    const both = legacyTables(all, all);

    it('takes no dump where its chain serves and no other variant has tables', async () => {
      const tools = new FakeToolRunner(({ tool, args }) =>
        tool === 'iptables-nft' && args.at(-1) === 'KUBE-SERVICES'
          ? { stdout: '-N KUBE-SERVICES\n-A KUBE-SERVICES -j RETURN\n' }
          : undefined,
      );
      expect(await detectVariant(tools, signal, legacyTables())).toMatchObject({ variant: 'nft' });
      expect(tools.runs.filter(({ tool }) => tool.endsWith('-save'))).toEqual([]);
    });

    it.each([
      ['a hint', '*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n', 'mangle'],
      ['rules of Kubernetes', '*filter\n-A KUBE-FORWARD -j ACCEPT\nCOMMIT\n', 'filter'],
    ])('does not read legacy’s nat where a smaller table has %s', async (_what, save, table) => {
      const tools = new FakeToolRunner(({ tool, args }) =>
        tool === 'iptables-legacy-save' && args.at(-1) === table ? { stdout: save } : undefined,
      );
      expect(await detectVariant(tools, signal, both)).toMatchObject({ variant: 'legacy' });
      const reads = tools.runs.filter(({ tool }) => tool === 'iptables-legacy-save');
      expect(reads.map(({ args }) => args.join(' '))).not.toContain('');
    });

    it('counts all rules where both variants have some of Kubernetes', async () => {
      const tools = new FakeToolRunner(({ tool, args }) => {
        if (tool === 'iptables-nft-save') return { stdout: '*filter\n-A KUBE-X -j DROP\n' };
        if (tool !== 'iptables-legacy-save') return undefined;
        const few = '*filter\n-A KUBE-X -j DROP\n';
        return { stdout: args.length > 0 ? few : `${few}*nat\n-A KUBE-Y -j DROP\n` };
      });
      expect(await detectVariant(tools, signal, both)).toMatchObject({
        variant: 'legacy',
        reason: expect.stringContaining('nft 1, legacy 2'),
      });
    });
  });

  it.each<[string, Answer, boolean?]>([
    ['was killed', new SwitchyardError('tool', 'ended by SIGKILL', { retryable: true })],
    ['has no memory', { exitCode: 4, stderr: 'Could not fetch rule set: Cannot allocate memory' }],
    ['says nothing', { exitCode: 1 }],
    ['may not look', { exitCode: 4, stderr: 'Permission denied (you must be root)' }, false],
  ])(
    'is not made where a tool %s: its rules may be those in force',
    async (_what, answer, retryable = true) => {
      const tools = new FakeToolRunner(({ tool }) =>
        tool === 'iptables-nft-save' ? answer : { stdout: '*nat\n-A KUBE-SERVICES -j RETURN\n' },
      );
      const choice = detectVariant(tools, signal, legacyTables(['nat']));
      await expect(choice).rejects.toMatchObject({ code: 'tool', retryable });
    },
  );

  it.each([
    ['tool', 'missing' as const],
    ['tool behind its script', { exitCode: 127 }],
    [
      'kernel support',
      { exitCode: 1, stderr: 'Could not fetch rule set generation id: Invalid argument' },
    ],
    ['way to print all', { exitCode: 3, stdout: '*nat\n', stderr: 'Parsing nftables rule failed' }],
  ])('goes by the other variant where one has no %s', async (_what, answer) => {
    const tools = new FakeToolRunner(({ tool }) =>
      tool.endsWith('-nft-save') ? answer : { stdout: '*nat\n-A KUBE-SERVICES -j RETURN\n' },
    );
    const choice = await detectVariant(tools, signal, legacyTables(['nat']));
    expect(choice.variant).toBe('legacy');
  });

  describe('on a node without rules, with tools of both variants,', () => {
    const noNft =
      'iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Invalid argument';
    const foreign = 'Parsing nftables rule failed';

    it.each([
      ['those that iptables is of', 'nf_tables', '', 'nft', 'iptables is of this variant'],
      ['those that iptables is of', 'legacy', noNft, 'legacy', 'iptables is of this variant'],
      ['legacy where the kernel has no nft', 'nf_tables', noNft, 'legacy', 'generation id'],
      ['nft that cannot print a rule', 'nf_tables', foreign, 'nft', 'iptables is of this variant'],
    ])('takes %s (%s)', async (_what, plain, stderr, variant, reason) => {
      const kinds = new Map([
        ['iptables', plain],
        ['iptables-nft', 'nf_tables'],
        ['iptables-legacy', 'legacy'],
      ]);
      const tools = new FakeToolRunner(({ tool, args }) => {
        const kind = kinds.get(tool.replace(/^ip6/, 'ip').replace(/-save$/, ''));
        if (args[0] === '--version') return { stdout: `iptables v1.8.9 (${kind})\n` };
        return kind === 'nf_tables' && stderr !== '' ? { exitCode: 4, stderr } : undefined;
      });
      const choice = await detectVariant(tools, signal, legacyTables());
      expect(choice).toMatchObject({ variant, reason: expect.stringContaining(reason) });
    });
  });

  it.each([
    ['iptables v1.8.9 (nf_tables)', { version: [1, 8, 9], variant: 'nft' }],
    ['ip6tables v1.8.11 (legacy)', { version: [1, 8, 11], variant: 'legacy' }],
    ['iptables v1.6.1', { version: [1, 6, 1], variant: 'legacy' }],
    ['bash: not found', undefined],
  ])('reads the version "%s"', (text, expected) => {
    expect(parseVersion(text)).toEqual(expected);
  });

  it('uses the plain names where there are no others, if they are of that variant', async () => {
    const tools = new FakeToolRunner(({ tool }) =>
      tool === 'ip6tables' ? { stdout: 'ip6tables v1.8.4 (nf_tables)' } : 'missing',
    );
    const found = await iptablesTools(tools, 'nft', 'ipv6', signal);
    expect(found).toMatchObject({ restore: 'ip6tables-restore', save: 'ip6tables-save' });
    expect(restoreArgs(found)).toEqual(['-w', '5', '-W', '100000', '--noflush']);
    await expect(iptablesTools(tools, 'legacy', 'ipv6', signal)).rejects.toMatchObject({
      code: 'missing',
    });
  });

  it('says why a family cannot be used', async () => {
    const noTool = new FakeToolRunner(() => 'missing');
    expect(await familySupported('ipv6', noTool, signal, '/nowhere')).toMatchObject({
      supported: false,
      reason: expect.stringContaining('if_inet6'),
    });
    expect(await familySupported('ipv4', noTool, signal)).toMatchObject({
      supported: false,
      reason: expect.stringContaining('iptables-legacy'),
    });
  });
});
