/** Its one job: what DNAT rules have counted is added up by service port, over everything that ends a counter. */
import { beforeEach, describe, expect, it } from 'vitest';
import { parseCounters } from '../../../../src/backends/iptables/counted-rules.ts';
import { RuleCounters } from '../../../../src/backends/iptables/rule-counters.ts';
import type { Chain, ChainName } from '../../../../src/backends/iptables/state.ts';
import { SwitchyardError } from '../../../../src/error.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeToolRunner, legacyTools, noLock } from '../../../support/fake-tool-runner.ts';
import type { Answer } from '../../../support/fake-tool-runner.ts';
import { chain, originOf, rule } from '../../../support/iptables-states.ts';

const { signal } = new AbortController();

describe('counters as the tools print them', () => {
  const dnat = '-j DNAT --to-destination 10.244.0.5:8080';

  it('are read from a save of the table', () => {
    const save = [
      '*nat',
      ':KUBE-SVC-A - [0:0]',
      `[12:720] -A KUBE-SVC-A -d 10.96.0.10/32 -p tcp -m comment --comment "a/b:c cluster IP" -m tcp --dport 80 ${dnat}`,
      '[3:180] -A KUBE-SVC-A -s 10.0.0.0/8 -j KUBE-SVC-B',
      `[0:0] -A KUBE-SVC-A -p tcp ${dnat}`,
      `[4:5] -A FOREIGN -p tcp ${dnat}`,
      `[99:1] -A KUBE-SVC-A -p tcp -j DNAT --to-destination 10.2`, // its end is missing
    ].join('\n');
    expect([...parseCounters(save)]).toEqual([
      [
        'KUBE-SVC-A',
        [
          { target: dnat, packets: 12 },
          { target: dnat, packets: 0 },
        ],
      ],
    ]);
  });

  it('are read from the listing of a chain, whatever a comment says', () => {
    const listing = [
      '-N KUBE-SVC-A',
      `-A KUBE-SVC-A -p tcp -m comment --comment "x -c 9 9 -j DNAT y" -m tcp --dport 80 -c 5 300 ${dnat}`,
      '',
    ].join('\n');
    expect([...parseCounters(listing)]).toEqual([['KUBE-SVC-A', [{ target: dnat, packets: 5 }]]]);
    expect(parseCounters(listing, ['KUBE-SVC-B' as ChainName]).size).toBe(0);
  });
});

/** A kernel with chains whose rules count. */
class CountingKernel {
  readonly chains = new Map<string, { readonly rules: Chain['rules']; packets: number[] }>();
  answer: () => Answer = () => undefined;
  readonly tools = new FakeToolRunner(({ tool, args }) => {
    const told = this.answer();
    if (told !== undefined) return told;
    if (tool.endsWith('-save')) {
      const lines = [...this.chains].flatMap(([name, { rules, packets }]) =>
        rules.map(({ args: rest }, at) => `[${packets[at]}:60] -A ${name} ${rest}`),
      );
      return { stdout: `*nat\n${lines.join('\n')}\nCOMMIT\n` };
    }
    const name = args.at(-1) ?? '';
    const found = this.chains.get(name);
    if (found === undefined) return { exitCode: 1, stderr: 'No chain/target/match by that name.' };
    const lines = found.rules.map(({ args: rest }, at) =>
      `-A ${name} ${rest}`.replace(/-j DNAT/, `-c ${found.packets[at]} 60 -j DNAT`),
    );
    return { stdout: `-N ${name}\n${lines.join('\n')}\n` };
  });

  has({ name, rules }: Chain): void {
    this.chains.set(name, { rules, packets: rules.map(() => 0) });
  }

  count(name: string, ...packets: readonly number[]): void {
    packets.forEach((more, at) => {
      const found = this.chains.get(name);
      if (found !== undefined) found.packets[at] = (found.packets[at] ?? 0) + more;
    });
  }
}

const toPod = (pod: number, service: string) =>
  rule(`-p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.0.${pod}:8080`, service);
const leaf = chain('KUBE-SVC-LEAF', 'generated', toPod(1, 'a'), toPod(2, 'a'), toPod(3, 'b'));
const wider = chain('KUBE-SVC-LEAF', 'generated', toPod(1, 'a'), toPod(3, 'b'), toPod(4, 'b'));
const other = chain(
  'KUBE-SVC-OTHER',
  'generated',
  rule('-d 10.96.0.0/12 -g KUBE-SVC-X'),
  toPod(9, 'c'),
);
const root = chain(
  'KUBE-SERVICES',
  'root',
  rule('-m comment --comment "a -j DNAT b" -j KUBE-SVC-LEAF'),
);
const nat = (...chains: readonly Chain[]) => new Map(chains.map((each) => [each.name, each]));

describe('the counters of rules', () => {
  let kernel: CountingKernel;
  let counters: RuleCounters;
  let counted: Map<string, number>;
  let missed: number;

  /** What an agent does with a change: counters, rules, and what the kernel makes of them. */
  const write = async (
    rewritten: readonly Chain[],
    deleted: readonly Chain[] = [],
  ): Promise<void> => {
    const change = { rewritten, deleted: deleted.map(({ name }) => name) };
    await counters.change(
      change,
      async () => {
        for (const each of rewritten) kernel.has(each);
        return undefined;
      },
      signal,
    );
    for (const each of deleted) kernel.chains.delete(each.name);
  };
  const of = (service: string): number => counted.get(originOf(service).servicePort) ?? 0;

  beforeEach(() => {
    kernel = new CountingKernel();
    counted = new Map();
    missed = 0;
    const port = { tools: kernel.tools, iptables: legacyTools, log: silentLog, lockPaths: noLock };
    counters = new RuleCounters(port, {
      add: (key, { connections = 0 }) => counted.set(key, (counted.get(key) ?? 0) + connections),
      missed: () => void missed++,
    });
  });

  it('are added up by service port, each packet once', async () => {
    await write([leaf, other]);
    counters.applied(nat(leaf, other));
    kernel.count('KUBE-SVC-LEAF', 3, 4, 5);
    kernel.count('KUBE-SVC-OTHER', 1000, 6);
    await counters.read(signal);
    await counters.read(signal);
    expect([of('a'), of('b'), of('c')]).toEqual([7, 5, 6]);
    kernel.count('KUBE-SVC-LEAF', 1, 0, 1);
    await counters.read(signal);
    expect([of('a'), of('b'), of('c')]).toEqual([8, 6, 6]);
  });

  it('are kept where a chain is rewritten or deleted', async () => {
    await write([leaf, other]);
    counters.applied(nat(leaf, other));
    kernel.count('KUBE-SVC-LEAF', 3, 4, 5);
    kernel.count('KUBE-SVC-OTHER', 0, 6);
    await write([wider], [other]);
    counters.applied(nat(wider));
    kernel.count('KUBE-SVC-LEAF', 1, 10, 100);
    await counters.read(signal);
    expect([of('a'), of('b'), of('c')]).toEqual([8, 115, 6]);
  });

  it('are kept where a root is rewritten as it was, and over many changes', async () => {
    const roots = chain('KUBE-SERVICES', 'root', toPod(1, 'a'));
    await write([roots]);
    counters.applied(nat(roots));
    for (let change = 0; change < 5; change++) {
      kernel.count('KUBE-SERVICES', 2);
      await write([roots]);
      counters.applied(nat(roots));
    }
    expect(of('a')).toBe(10);
  });

  it('cost a change nothing but a look at the chains that count and go', async () => {
    await write([leaf, other, root]);
    counters.applied(nat(leaf, other, root));
    kernel.tools.runs.splice(0);
    await write([root, chain('KUBE-SVC-NEW', 'generated', toPod(7, 'd'))]);
    expect(kernel.tools.runs).toEqual([]);
    await write([root, wider]);
    expect(kernel.tools.runs.map(({ tool, args }) => `${tool} ${args.join(' ')}`)).toEqual([
      'iptables-legacy -w 1 -t nat -v -S KUBE-SVC-LEAF',
    ]);
  });

  it('that an earlier run left count from what they were when they were first read', async () => {
    kernel.has(leaf);
    kernel.count('KUBE-SVC-LEAF', 500, 0, 0);
    counters.applied(nat(leaf)); // found as it is wanted, and not rewritten
    await counters.read(signal);
    kernel.count('KUBE-SVC-LEAF', 1, 1, 0);
    await counters.read(signal);
    expect(of('a')).toBe(2);
  });

  it('that somebody has set to nothing go on', async () => {
    await write([leaf]);
    counters.applied(nat(leaf));
    kernel.count('KUBE-SVC-LEAF', 10, 0, 0);
    await counters.read(signal);
    kernel.chains.get('KUBE-SVC-LEAF')?.packets.fill(0);
    kernel.count('KUBE-SVC-LEAF', 4, 0, 0);
    await counters.read(signal);
    expect(of('a')).toBe(14);
  });

  it('of rules that are not ours count for nobody', async () => {
    await write([leaf]);
    counters.applied(nat(leaf));
    kernel.has(chain('KUBE-SVC-LEAF', 'generated', toPod(2, 'a'), toPod(1, 'a'), toPod(3, 'b')));
    kernel.count('KUBE-SVC-LEAF', 5, 5, 5);
    await counters.read(signal);
    expect(counted.size).toBe(0);
  });

  it('that are read while a chain is rewritten are not believed', async () => {
    await write([leaf]);
    counters.applied(nat(leaf));
    kernel.count('KUBE-SVC-LEAF', 10, 0, 0);
    await counters.change(
      { rewritten: [leaf], deleted: [] },
      async () => {
        kernel.has(leaf);
        kernel.count('KUBE-SVC-LEAF', 2, 0, 0);
        await counters.read(signal); // after the kernel took it, and before the tool has ended
        return undefined;
      },
      signal,
    );
    await counters.read(signal);
    expect(of('a')).toBe(12);
  });

  it('that are read before a write and told after it are not believed', async () => {
    await write([leaf]);
    counters.applied(nat(leaf));
    kernel.count('KUBE-SVC-LEAF', 10, 0, 0);
    const early = counters.read(signal); // has seen 10, and is not told yet
    await write([leaf]);
    await early;
    await counters.read(signal);
    expect(of('a')).toBe(10);
  });

  it('keep no write waiting that cannot be read, and a refused write leaves them as they were', async () => {
    await write([leaf]);
    counters.applied(nat(leaf));
    kernel.count('KUBE-SVC-LEAF', 3, 0, 0);
    kernel.answer = () => new SwitchyardError('timeout', 'it hangs', { retryable: true });
    const refusal = await counters.change(
      { rewritten: [wider], deleted: [] },
      async () => 'refused',
      signal,
    );
    expect(refusal).toBe('refused');
    await expect(counters.read(signal)).rejects.toThrow('it hangs');
    kernel.answer = () => undefined;
    await counters.read(signal);
    expect(of('a')).toBe(3);
  });

  it('that end unread are told as missed', async () => {
    await write([leaf]);
    counters.applied(nat(leaf));
    await write([leaf]);
    expect(missed).toBe(0);
    kernel.answer = () => new SwitchyardError('timeout', 'it hangs', { retryable: true });
    await write([leaf]);
    expect(missed).toBe(1);
    kernel.answer = () => ({ exitCode: 4, stderr: 'Another app is currently holding the lock' });
    await write([leaf]);
    expect(missed).toBe(2);
  });
});
