import { describe, expect, it } from 'vitest';

import { deletionBatch, diff } from '../../../../src/backends/iptables/diff.ts';
import { parseSave } from '../../../../src/backends/iptables/read.ts';
import type { Observed } from '../../../../src/backends/iptables/read.ts';
import type { Rule } from '../../../../src/backends/iptables/state.ts';
import {
  chain,
  dnat,
  ipset,
  jump,
  nodeState,
  originOf,
  rule,
  state,
} from '../../../support/iptables-states.ts';

const web = dnat('web', '10.96.0.1', '10.1.0.1:8080');
const api = dnat('api', '10.96.0.2', '10.1.0.2:8080');

function observed(saves: Partial<Record<'filter' | 'nat' | 'mangle', string>>): Observed {
  const { filter = '', nat = '', mangle = '' } = saves;
  return { filter: parseSave(filter), nat: parseSave(nat), mangle: parseSave(mangle) };
}

/** The verdict of a service without pods. */
const refused = (name: string, address: string) =>
  rule(`-d ${address}/32 -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset`, name);

/** The tables of a restore file, in its order. */
const blocks = (restore: string) => restore.match(/^\*\w+/gm);

describe('the transaction from the applied to the desired state', () => {
  it('is empty where nothing differs, by identity or by content', () => {
    const before = nodeState(web);
    for (const after of [before, nodeState(web)]) {
      expect(diff(before, after, 'generation a 2')).toMatchObject({
        restore: '',
        deletions: [],
        rulesWritten: { filter: 0, nat: 0, mangle: 0 },
      });
    }
  });

  it('holds jumps and first contents of everything in one batch at first', () => {
    const { restore } = diff(undefined, nodeState(web), 'generation a 1');
    expect(restore.split('\n')).toEqual([
      '*filter',
      ':KUBE-SERVICES - [0:0]',
      ':KUBE-FORWARD - [0:0]',
      '-I FORWARD -j KUBE-FORWARD',
      '-I OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      '-A KUBE-SERVICES -m comment --comment "switchyard generation a 1"',
      '-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      'COMMIT',
      '*nat',
      ':KUBE-SERVICES - [0:0]',
      ':KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]',
      '-I OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      '-I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      '-A KUBE-SERVICES -m comment --comment "switchyard generation a 1"',
      '-A KUBE-SERVICES -d 10.96.0.0/12 -j KUBE-SVC-AAAAAAAAAAAAAAAA',
      `-A KUBE-SVC-AAAAAAAAAAAAAAAA ${web.args}`,
      'COMMIT',
      '*mangle',
      ':KUBE-PROXY-CANARY - [0:0]',
      'COMMIT',
      '',
    ]);
  });

  it('knows for each line which service port it is for', () => {
    const { restore, origins } = diff(undefined, nodeState(web, api), 'generation a 1');
    const lines = restore.split('\n');
    for (const [name, { args }] of Object.entries({ web, api })) {
      const index = lines.findIndex((line) => line.endsWith(args));
      expect(origins[index]).toEqual(originOf(name));
    }
    expect(origins.filter((origin) => origin !== undefined)).toHaveLength(2);
  });

  it('sends, of the table that changed, roots and the changed chain: no other chain, no jump, no other table', () => {
    const other = chain('KUBE-SVC-BBBBBBBBBBBBBBBB', 'generated', rule('-j RETURN'));
    const withOther = (base: ReturnType<typeof nodeState>) => ({
      ...base,
      tables: { ...base.tables, nat: new Map([...base.tables.nat, [other.name, other]]) },
    });
    const { restore, tables, rulesWritten } = diff(
      withOther(nodeState(web)),
      withOther(nodeState(web, api)),
      'generation a 2',
    );
    expect(restore).toContain(api.args);
    expect(restore).toContain('-A KUBE-SERVICES');
    expect(restore).not.toContain('BBBB');
    expect(restore).not.toContain('*filter');
    expect(tables).toEqual(['nat']);
    expect(restore).not.toContain('-I ');
    expect(rulesWritten).toEqual({ filter: 0, nat: 3, mangle: 0 });
  });

  it('inserts only jumps the kernel lacks', () => {
    const nat =
      '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES\n-A POSTROUTING -j MASQUERADE';
    const { restore } = diff(undefined, nodeState(web), 'generation a 1', observed({ nat }));
    expect(restore).not.toContain('-I PREROUTING');
    expect(restore).toContain('-I OUTPUT -m comment');
  });

  describe('over jumps that are there', () => {
    const [top, middle, bottom] = ['KUBE-PROXY-FIREWALL', 'KUBE-FORWARD', 'KUBE-SERVICES'];
    const jumps = [bottom, middle, top].map((to) => jump('filter', 'FORWARD', to));
    const lines = (...targets: readonly string[]) => {
      const filter = targets.map((to) => `-A FORWARD -j ${to}\n`).join('');
      const desired = state({ jumps });
      const { restore } = diff(undefined, desired, 'generation a 1', observed({ filter }));
      return restore.split('\n').filter((line) => /^-[ID] /.test(line));
    };
    const anew = [bottom, middle, top].map((to) => `-I FORWARD -j ${to}`);

    it.each<[string, readonly string[], readonly string[]]>([
      ['writes none where all are in order', ['DOCKER', top, 'X', middle, bottom, 'ACCEPT'], []],
      ['puts one that belongs at the top there', [middle, bottom], [`-I FORWARD -j ${top}`]],
      [
        'writes all of a chain where one is missing below another',
        [top, bottom],
        [`-D FORWARD -j ${top}`, `-D FORWARD -j ${bottom}`, ...anew],
      ],
      [
        'writes all of a chain whose order is another',
        [middle, top, bottom],
        [middle, top, bottom].map((to) => `-D FORWARD -j ${to}`).concat(anew),
      ],
      [
        'writes all of a chain that has one twice',
        [top, middle, bottom, middle],
        [top, middle, bottom, middle].map((to) => `-D FORWARD -j ${to}`).concat(anew),
      ],
    ])('%s', (_, there, expected) => {
      expect(lines(...there)).toEqual(expected);
    });

    it('leaves the jump to KUBE-FIREWALL where the kubelet has put it', () => {
      const desired = state({
        jumps: [
          jump('filter', 'INPUT', 'KUBE-NODEPORTS'),
          jump('filter', 'INPUT', 'KUBE-FIREWALL'),
        ],
      });
      const filter = '-A INPUT -j KUBE-NODEPORTS\n-A INPUT -j KUBE-FIREWALL\n';
      expect(diff(undefined, desired, 'generation a 1', observed({ filter })).restore).toBe('');
    });
  });

  describe('over what an agent before wrote', () => {
    const leaf = 'KUBE-SVC-AAAAAAAAAAAAAAAA';
    const after = (nat: string) =>
      diff(undefined, nodeState(web, api), 'generation b 1', observed({ nat }));
    const whole = [
      ':KUBE-SERVICES - [0:0]',
      `:${leaf} - [0:0]`,
      '-A KUBE-SERVICES -m comment --comment "switchyard generation a 7"',
      `-A KUBE-SERVICES -d 10.96.0.0/12 -j ${leaf}`,
      `-A ${leaf} ${web.args}`,
    ].join('\n');

    it('leaves chains alone that are as they should be, and writes the roots with its generation', () => {
      const { restore, deletions, rulesWritten } = after(`${whole}\n-A ${leaf} ${api.args}`);
      const [, nat = ''] = restore.split('COMMIT\n');
      expect(nat.split('\n').filter((line) => !line.startsWith('-I'))).toEqual([
        '*nat',
        ':KUBE-SERVICES - [0:0]',
        '-A KUBE-SERVICES -m comment --comment "switchyard generation b 1"',
        `-A KUBE-SERVICES -d 10.96.0.0/12 -j ${leaf}`,
        '',
      ]);
      expect(deletions).toEqual([]);
      expect(rulesWritten.nat).toBe(1);
    });

    it.each([
      ['a rule is missing', whole],
      ['a rule is another', `${whole}\n-A ${leaf} ${api.args.replace('10.1.0.2', '10.1.0.9')}`],
      ['a rule is too many', `${whole}\n-A ${leaf} ${api.args}\n-A ${leaf} -j RETURN`],
      [
        'the order is another',
        whole.replace(web.args, api.args).concat(`\n-A ${leaf} ${web.args}`),
      ],
    ])('writes a chain in which %s', (_what, nat) => {
      expect(after(nat).restore).toContain(`:${leaf} - [0:0]`);
      expect(after(nat).restore).toContain(`-A ${leaf} ${web.args}\n-A ${leaf} ${api.args}\n`);
    });
  });

  it('makes the target of a jump that nobody fills, and leaves it alone where it exists', () => {
    const desired = state({ jumps: [jump('filter', 'INPUT', 'KUBE-FIREWALL')] });
    const fresh = diff(undefined, desired, 'generation a 1', observed({}));
    expect(fresh.restore).toContain(':KUBE-FIREWALL - [0:0]');
    const kubelet = observed({ filter: ':KUBE-FIREWALL - [0:0]\n-A KUBE-FIREWALL -j DROP' });
    const beside = diff(undefined, desired, 'generation a 1', kubelet);
    expect(beside.restore).not.toContain(':KUBE-FIREWALL');
    expect(beside.restore).toContain('-I INPUT -j KUBE-FIREWALL');
  });

  it('deletes generated chains that are gone, or were left by an earlier run, and nothing else', () => {
    const nat =
      ':KUBE-SEP-OLD - [0:0]\n:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\n:KUBE-EXTERNAL-SERVICES - [0:0]\n:CALI-SVC-X - [0:0]';
    const start = diff(undefined, nodeState(web), 'generation a 1', observed({ nat }));
    expect(start.deletions).toEqual([{ table: 'nat', chain: 'KUBE-SEP-OLD' }]);
    const empty = { ...nodeState(), tables: { ...nodeState().tables, nat: new Map() } };
    const { deletions } = diff(nodeState(web), empty, 'generation a 2');
    expect(deletions).toEqual([{ table: 'nat', chain: 'KUBE-SVC-AAAAAAAAAAAAAAAA' }]);
    expect(deletionBatch(deletions)).toBe(
      '*nat\n:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]\n-X KUBE-SVC-AAAAAAAAAAAAAAAA\nCOMMIT\n',
    );
  });

  describe('orders the tables so that no packet is neither translated nor refused', () => {
    const verdicts = 'KUBE-SVC-VVVVVVVVVVVVVVVV';
    const guard = rule('-m conntrack --ctstate DNAT -j RETURN');
    /** Services with pods in nat, and those without in filter. */
    const withVerdicts = (nat: readonly Rule[], filter: readonly Rule[]) => {
      const base = nodeState(...nat);
      const root = chain('KUBE-SERVICES', 'root', guard, rule(`-d 10.96.0.0/12 -g ${verdicts}`));
      const chains = [root, chain(verdicts, 'generated', ...filter)];
      const added = chains.map((each) => [each.name, each] as const);
      const kept = [...base.tables.filter].filter(([name]) => name !== 'KUBE-SERVICES');
      return { ...base, tables: { ...base.tables, filter: new Map([...kept, ...added]) } };
    };
    const noWeb = refused('web', '10.96.0.1');
    const noApi = refused('api', '10.96.0.2');
    const other = refused('other', '10.96.0.3');

    it('refuses first what loses its pods', () => {
      const [before, after] = [withVerdicts([web], [other]), withVerdicts([], [other, noWeb])];
      expect(blocks(diff(before, after, 'g').restore)).toEqual(['*filter', '*nat']);
    });

    it('translates first what gets its first pods', () => {
      const [before, after] = [withVerdicts([], [other, noWeb]), withVerdicts([web], [other])];
      expect(blocks(diff(before, after, 'g').restore)).toEqual(['*nat', '*filter']);
    });

    it('puts new verdicts on top of the old ones where there are both, and then only the new', () => {
      const [before, after] = [withVerdicts([web], [noApi]), withVerdicts([api], [noWeb])];
      const { restore, rulesWritten } = diff(before, after, 'g');
      expect(blocks(restore)).toEqual(['*filter', '*nat', '*filter']);
      const [ahead = '', last = ''] = restore
        .split('COMMIT\n')
        .filter((block) => block.startsWith('*filter'));
      expect(ahead).toBe(`*filter\n-I ${verdicts} ${noWeb.args}\n`);
      expect(last).toContain(`-A ${verdicts} ${noWeb.args}`);
      expect(last).not.toContain(noApi.args);
      expect(rulesWritten).toMatchObject({ filter: 4 });
    });

    it('lets a miss of a new tree node come back to the older rules below', () => {
      const deeper = 'KUBE-SVC-WWWWWWWWWWWWWWWW';
      const before = withVerdicts([web], [noApi]);
      const split = withVerdicts([api], [rule(`-d 10.96.0.0/16 -g ${deeper}`)]);
      const leaf = chain(deeper, 'generated', noWeb);
      const filter = new Map([...split.tables.filter, [leaf.name, leaf] as const]);
      const after = { ...split, tables: { ...split.tables, filter } };
      const [ahead = ''] = diff(before, after, 'g').restore.split('COMMIT\n');
      expect(ahead.split('\n')).toEqual([
        '*filter',
        `:${deeper} - [0:0]`,
        `-I ${verdicts} -d 10.96.0.0/16 -j ${deeper}`,
        `-I ${deeper} ${noWeb.args}`,
        '',
      ]);
    });

    it('does the same over whatever an earlier program left, each jump once', () => {
      const kernel = observed({ filter: '-A KUBE-SERVICES -d 10.96.0.1/32 -j REJECT' });
      const { restore } = diff(undefined, withVerdicts([web], [noApi]), 'g', kernel);
      expect(blocks(restore)).toEqual(['*filter', '*nat', '*filter', '*mangle']);
      const [ahead = ''] = restore.split('COMMIT\n');
      expect(ahead).not.toContain(':KUBE-SERVICES');
      expect(ahead.indexOf(guard.args)).toBeGreaterThan(ahead.indexOf(`-j ${verdicts}`));
      expect(restore.match(/-I FORWARD/g)).toHaveLength(1);
    });

    it('leaves verdicts alone where only endpoints change', () => {
      const [before, after] = [withVerdicts([web], [noApi]), withVerdicts([api], [noApi])];
      expect(blocks(diff(before, after, 'g').restore)).toEqual(['*nat']);
    });
  });

  it('creates, replaces, fills and destroys sets', () => {
    const before = state({
      sets: [
        ipset('A', 'hash:ip', ['1', '2']),
        ipset('B', 'hash:ip timeout 1'),
        ipset('C', 'hash:ip'),
      ],
    });
    const after = state({
      sets: [
        ipset('A', 'hash:ip', ['2', '3']),
        ipset('B', 'hash:ip timeout 2'),
        ipset('D', 'hash:ip'),
      ],
    });
    const { sets, restore } = diff(before, after, 'generation a 2');
    expect(restore).toBe('');
    expect(sets.create.map(({ name }) => name)).toEqual(['D']);
    expect(sets.replace.map(({ name }) => name)).toEqual(['B']);
    expect(sets.add).toEqual([{ set: 'A', member: '3' }]);
    expect(sets.remove).toEqual([{ set: 'A', member: '1' }]);
    expect(sets.destroy).toEqual(['C']);
  });
});
