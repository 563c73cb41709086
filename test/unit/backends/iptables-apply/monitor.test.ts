import { describe, expect, it } from 'vitest';

import { auditTables, tableReason } from '../../../../src/backends/iptables/monitor.ts';
import { jumpKey, parseJump, parseSave } from '../../../../src/backends/iptables/read.ts';
import { PrintedRules } from '../../../../src/backends/iptables/printed-rules.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeToolRunner, legacyTools, noLock } from '../../../support/fake-tool-runner.ts';
import { chain, dnat, nodeState, rule } from '../../../support/iptables-states.ts';

const { signal } = new AbortController();
const ours = { instanceId: 'one', number: 7 };
const applied = nodeState(dnat('web', '10.96.0.1', '10.1.0.1:8080'));
const nat = `*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -m comment --comment "switchyard generation one 7"
-A KUBE-SERVICES -d 10.96.0.0/12 -j KUBE-SVC-AAAAAAAAAAAAAAAA
-A KUBE-SVC-AAAAAAAAAAAAAAAA -d 10.96.0.1/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j DNAT --to-destination 10.1.0.1:8080
COMMIT
`;

describe('the verdict over a table', () => {
  it.each([
    ['untouched', nat, /^ours$/],
    [
      'an earlier generation',
      nat.replace('one 7', 'one 6'),
      /earlier state \(generation 6, expected 7\)/,
    ],
    [
      'another instance',
      nat.replace('one 7', 'two 9'),
      /second writer: another Switchyard \(instance two\)/,
    ],
    ['a kube-proxy', nat.replace(/.*switchyard.*\n/, ''), /second writer: .*kube-proxy/],
    [
      'an empty root',
      nat.replaceAll(/-A KUBE-SERVICES.*\n/g, ''),
      /flushed: KUBE-SERVICES is empty/,
    ],
    ['an empty table', '*nat\nCOMMIT\n', /flushed: KUBE-SERVICES is gone/],
    [
      'a rule too many',
      nat.replace('COMMIT', '-A KUBE-SVC-AAAAAAAAAAAAAAAA -j RETURN\nCOMMIT'),
      /holds 2 rules, expected 1: "-j RETURN" is not ours/,
    ],
    [
      'another rule before ours',
      nat.replace('-A KUBE-SERVICES', '-A KUBE-SERVICES -j RETURN\n-A KUBE-SERVICES'),
      /second writer: the first rule of KUBE-SERVICES in nat is not ours: "-j RETURN"/,
    ],
    [
      'a rule put in the place of ours',
      nat.replace('10.1.0.1:8080', '10.1.0.9:8080'),
      /rule 1 of chain KUBE-SVC-A+ in nat is ".*10\.1\.0\.9:8080", expected ".*10\.1\.0\.1:8080"/,
    ],
    [
      'a jump that is there twice',
      nat.replace(/(-A OUTPUT.*\n)/, '$1$1'),
      /jumps of OUTPUT in nat are in another order, or there twice: "-m comment.*SERVICES", "-m comment/,
    ],
    ['no jump', nat.replace(/-A OUTPUT.*\n/, ''), /jump from OUTPUT to KUBE-SERVICES is gone/],
    ['an empty leaf', nat.replace(/-A KUBE-SVC.*\n/, ''), /AAAA in nat holds 0 rules, expected 1/],
  ] as const)('finds %s', (_what, save, expected) => {
    const printed = new PrintedRules();
    const compared = { applied, generation: ours, printed, whole: true };
    const reason = tableReason('nat', parseSave(save), compared);
    expect(reason ?? 'ours').toMatch(expected);
  });

  it('looks at roots and built-in chains only where there are many rules', async () => {
    const rules = Array.from({ length: 20_001 }, () => rule('-j RETURN'));
    const root = '-A KUBE-SERVICES -m comment --comment "switchyard generation one 7"';
    const tools = new FakeToolRunner(({ tool }) =>
      tool === legacyTools.save ? { stdout: `${root}\nCOMMIT\n` } : undefined,
    );
    const port = { tools, iptables: legacyTools, log: silentLog, lockPaths: noLock };
    const big = nodeState(...rules);
    const natOnly = {
      ...big,
      tables: { ...big.tables, filter: new Map() },
      jumps: big.jumps.filter(({ table }) => table === 'nat'),
    };
    await auditTables(port, natOnly, new Map([['nat', ours]]), new PrintedRules(), signal);
    const listed = tools.runs
      .filter(({ args }) => args.includes('nat'))
      .map(({ args }) => args.at(-1));
    expect(listed).toEqual(['OUTPUT', 'PREROUTING', 'KUBE-SERVICES']);
  });
});

/** What an audit of nat says where this stands before the jump of OUTPUT. */
async function look(foreign: string) {
  const save = nat.replace('-A OUTPUT', `${foreign}\n-A OUTPUT`);
  const tools = new FakeToolRunner(({ args }) => ({
    stdout: args[1] === 'nat' ? save : `*${args[1] ?? ''}\nCOMMIT\n`,
  }));
  const port = { tools, iptables: legacyTools, log: silentLog, lockPaths: noLock };
  const { nat: chains } = applied.tables;
  const natOnly = {
    ...applied,
    tables: { nat: chains, filter: new Map(), mangle: new Map() },
    jumps: applied.jumps.filter(({ table }) => table === 'nat'),
  };
  const generations = new Map([['nat', ours]] as const);
  return auditTables(port, natOnly, generations, new PrintedRules(), signal);
}

describe('rules of others before our jumps', () => {
  it('are told where they leave nothing for ours, which stay where they are', async () => {
    expect(await look('-A OUTPUT -j RETURN')).toEqual({
      reason: undefined,
      inFront: ['"-A OUTPUT -j RETURN" in nat'],
    });
  });

  it.each(['-A OUTPUT -j DOCKER', '-A OUTPUT -d 127.0.0.0/8 -j ACCEPT'])(
    'are left unsaid where they may be about something else: %s',
    async (foreign) => {
      expect(await look(foreign)).toEqual({ reason: undefined, inFront: [] });
    },
  );
});

describe('a look at small tables', () => {
  it.each([
    ['nft', [[]]],
    [
      'legacy',
      [
        ['-t', 'filter'],
        ['-t', 'nat'],
        ['-t', 'mangle'],
      ],
    ],
  ] as const)('by the %s tools', async (variant, runs) => {
    const empty = ['filter', 'nat', 'mangle'].map((table) => `*${table}\nCOMMIT\n`).join('');
    const tools = new FakeToolRunner(({ args }) => ({
      stdout: args.length === 0 ? empty : `*${args[1] ?? ''}\nCOMMIT\n`,
    }));
    const iptables = { ...legacyTools, variant };
    const port = { tools, iptables, log: silentLog, lockPaths: noLock };
    const generations = new Map([['nat', ours]] as const);
    const { reason } = await auditTables(port, applied, generations, new PrintedRules(), signal);
    expect(reason).toMatch(/is gone from/);
    expect(tools.runs.map(({ args }) => args)).toEqual(runs);
  });
});

describe('rules as the tools print them', () => {
  const leaf = chain('KUBE-SVC-AAAAAAAAAAAAAAAA', 'generated');
  const strange = ['-p 6 -j RETURN'];
  const ourRules = ['-p tcp -j RETURN'];

  it.each([
    [
      '-m statistic --mode random --probability 0.3333333333 -j KUBE-X',
      '-m statistic --mode random --probability 0.33333333349 -j KUBE-X',
    ],
    [
      '-m recent --set --name KUBE-SEP-X -j RETURN',
      '-m recent --set --name KUBE-SEP-X --mask 255.255.255.255 --rsource -j RETURN',
    ],
  ])('are ours: %s', (rule_, print) => {
    expect(new PrintedRules().firstOther(leaf, [rule_], [print])).toBeUndefined();
  });

  it('are what was read first after all was written, where the tools print something else', () => {
    const printed = new PrintedRules();
    printed.written();
    expect(printed.firstOther(leaf, ourRules, strange)).toBeUndefined();
    printed.read();
    expect(printed.firstOther(leaf, ourRules, strange)).toBeUndefined();
    expect(printed.firstOther(leaf, ourRules, ['-j DROP'])).toBe(0);
    const later = chain('KUBE-SVC-BBBBBBBBBBBBBBBB', 'generated');
    expect(printed.firstOther(later, ourRules, strange)).toBeUndefined();
    expect(printed.firstOther(later, ourRules, ['-j DROP'])).toBe(0);
  });

  it('are not ours where the tools printed all others as they were written', () => {
    const printed = new PrintedRules();
    printed.written();
    expect(printed.firstOther(leaf, ourRules, ourRules)).toBeUndefined();
    printed.read();
    expect(printed.firstOther(leaf, ourRules, strange)).toBe(0);
  });
});

const key = (match: string): string => jumpKey({ from: 'INPUT', to: 'KUBE-X', match });

describe('reading a jump', () => {
  it.each([
    ['-A INPUT -j KUBE-FIREWALL', { from: 'INPUT', to: 'KUBE-FIREWALL', match: '' }],
    [
      '-A OUTPUT -m mark --mark 0x1 -j KUBE-X',
      { from: 'OUTPUT', to: 'KUBE-X', match: '-m mark --mark 0x1' },
    ],
    ['-A INPUT -j ACCEPT', undefined],
    ['-A KUBE-SERVICES -j KUBE-NODEPORTS', undefined],
  ])('%s', (line, expected) => {
    expect(parseJump(line)).toEqual(expected);
  });

  it('is the same with and without quotes that are not needed', () => {
    expect(key('-m comment --comment one')).toBe(key('-m comment --comment "one"'));
    expect(key('-m comment --comment "one two"')).not.toBe(key('-m comment --comment "two one"'));
  });
});
