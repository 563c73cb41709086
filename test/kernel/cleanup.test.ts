/** `switchyard cleanup` on real rules: what goes, what stays, and what it says of that. */
import { existsSync } from 'node:fs';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AgentProcess } from '../support/agent-process.ts';
import { dumpNode } from '../support/node-dump.ts';
import { NodeLab, eventually, lab4 } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
const web = { to: '10.96.0.10', port: 80 } as const;

describe.skipIf(!able).each(['nft', 'legacy'] as const)(
  'switchyard cleanup, %s tools (needs root: it makes network namespaces)',
  (variant) => {
    let lab: NodeLab;
    let stateFlag = '';

    beforeEach(async () => {
      lab = await NodeLab.create(variant);
      stateFlag = `--state-file=${lab.stateFile}`;
      const everything = { host: 10, type: 'LoadBalancer', nodePort: 30010 } as const;
      const balanced = { ingress: ['203.0.113.10'], sourceRanges: ['192.0.2.0/24'] };
      await lab.write('node', nodeObject());
      await lab.write(
        'web',
        service('web', { ...everything, ...balanced }),
        ...slices('web', ['pod-a', 'pod-b']),
      );
      await lab.write(
        'sticky',
        service('sticky', { host: 11, affinitySeconds: 300 }),
        ...slices('sticky', ['pod-a', 'pod-b']),
      );
      await lab.write('idle', service('idle', { host: 12 }));
    });

    afterEach(async () => {
      await lab.close();
    });

    /** An agent whose rules are in. */
    async function startAgent(flags: readonly string[] = []): Promise<AgentProcess> {
      const agent = lab.startAgent([
        '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
        '--iptables-min-sync-period=10ms',
        '--conntrack-max-per-core=0',
        '--conntrack-udp-timeout=77s',
        stateFlag,
        ...flags,
      ]);
      for (const to of ['10.96.0.11', 'fd00:10:96::11']) {
        await eventually(
          async () => lab.probe('client', { to, port: 80, timeoutMs: 200 }),
          (seen) => typeof seen !== 'string',
        );
      }
      await eventually(
        async () => lab.setting('net/ipv4/conf/all/route_localnet'),
        (on) => on === '1',
      );
      return agent;
    }

    async function runAgent(): Promise<void> {
      await (await startAgent()).stop();
    }

    test('afterwards the node is as it was before, and only --plan leaves it alone', async () => {
      const before = await dumpNode(lab);
      await runAgent();
      const during = await dumpNode(lab);
      expect(during.sets).toContain('KUBE-AFF-');
      expect(during.rules).not.toEqual(before.rules);
      const plan = await lab.command('cleanup', '--plan', stateFlag);
      expect(plan).toMatchObject({ status: 0, stderr: '' });
      expect(plan.stdout).toMatch(/^would remove:\n {2}filter \(IPv4, .*KUBE-FIREWALL/);
      expect(plan.stdout).toContain('net/ipv4/conf/all/route_localnet: 1 → 0');
      expect(await dumpNode(lab)).toEqual(during);
      const tracked = await lab.tracked('10.96.0.11');
      expect(tracked.length).toBeGreaterThan(0);
      expect(await lab.command('cleanup', stateFlag)).toMatchObject({ status: 0, stderr: '' });
      expect(await dumpNode(lab)).toEqual(before);
      expect(await lab.tracked('10.96.0.11')).toHaveLength(tracked.length);
      expect(existsSync(lab.stateFile)).toBe(false);
      expect(await lab.command('cleanup', stateFlag)).toEqual({
        status: 0,
        stdout: 'nothing to remove\n',
        stderr: '',
      });
    });

    test('kube-proxy’s flag does the same, with a restart and a switch of the variant before it', async () => {
      const before = await dumpNode(lab);
      await runAgent();
      await runAgent();
      const other = variant === 'nft' ? 'legacy' : 'nft';
      await lab.onNode(`iptables-${other}`, '-w', '-t', 'mangle', '-N', 'KUBE-IPTABLES-HINT');
      const agent = await startAgent();
      await eventually(
        async () => lab.onNode(`iptables-${other}-save`),
        (rules) => rules.includes('KUBE-SERVICES') && rules.includes('KUBE-FIREWALL'),
      );
      await agent.stop();
      expect(await lab.onNode(`iptables-${variant}-save`)).toContain('KUBE-SERVICES');
      const run = await lab.command('proxy', '--cleanup', stateFlag);
      expect(run).toMatchObject({ status: 0, stderr: '' });
      await lab.onNode(`iptables-${other}`, '-w', '-t', 'mangle', '-X', 'KUBE-IPTABLES-HINT');
      expect(await dumpNode(lab)).toEqual(before);
    });

    test('rules, chains and sets of others stay as they are', async () => {
      await lab.onNode('sh', '-c', foreignRules);
      const before = await dumpNode(lab);
      await runAgent();
      const run = await lab.command('cleanup', stateFlag);
      expect(run).toMatchObject({ status: 0, stderr: '' });
      expect(run.stdout).toContain('chain KUBE-FIREWALL of filter (IPv4');
      expect(await dumpNode(lab)).toEqual(before);
    });

    test('a chain that somebody else’s rule refers to is named, and the rest goes', async () => {
      await runAgent();
      await lab.onNode(
        'iptables',
        '-w',
        '-I',
        'FORWARD',
        '-s',
        '192.0.2.77/32',
        '-j',
        'KUBE-FORWARD',
      );
      const [set = ''] =
        /KUBE-AFF-\S+(?= hash:ip family inet )/.exec(await lab.onNode('ipset', 'save')) ?? [];
      await lab.onNode(
        'sh',
        '-c',
        `iptables -w -N MINE; iptables -w -A MINE -m set --match-set ${set} src -j DROP`,
      );
      const run = await lab.command('cleanup', stateFlag);
      expect(run.status).toBe(1);
      expect(run.stdout).toMatch(
        /chain KUBE-FORWARD of filter \(IPv4, \w+\): a rule that is not ours refers to it: -A FORWARD -s 192\.0\.2\.77\/32 -j KUBE-FORWARD; it is emptied/,
      );
      expect(run.stdout).toContain(
        `ipset ${set}: a rule that is not ours uses it: filter: -A MINE`,
      );
      expect((await lab.onNode('iptables-save')).match(/KUBE-[A-Z2-7-]+/g)).toEqual([
        'KUBE-FORWARD',
        'KUBE-FORWARD',
        set,
      ]);
      expect((await lab.onNode('ipset', 'list', '-n')).trim()).toBe(set);
      await lab.onNode(
        'sh',
        '-c',
        'iptables -w -F FORWARD; iptables -w -F MINE; iptables -w -X MINE',
      );
      expect(await lab.command('cleanup', stateFlag)).toMatchObject({ status: 0 });
      expect(await lab.onNode('iptables-save')).not.toContain('KUBE-');
      expect(await lab.onNode('ipset', 'list', '-n')).toBe('');
    });

    test('what a kubelet needs stays: the newer one’s guard, the older one’s masquerading', async () => {
      await runAgent();
      await lab.onNode(
        'sh',
        '-c',
        'iptables -w -t mangle -N KUBE-KUBELET-CANARY; iptables -w -t nat -N KUBE-MARK-DROP',
      );
      const run = await lab.command('cleanup', stateFlag);
      expect(run.status).toBe(0);
      expect(run.stdout).toContain('KUBE-FIREWALL of filter (IPv4, ' + variant + '): a kubelet');
      const left = await lab.onNode('iptables-save', '-t', 'nat');
      expect(left.split('\n').filter((line) => line.startsWith('-A'))).toEqual([
        expect.stringMatching(/^-A POSTROUTING .* -j KUBE-POSTROUTING$/),
        expect.stringMatching(/^-A KUBE-MARK-MASQ -j MARK/),
        expect.stringMatching(/^-A KUBE-POSTROUTING -m mark ! --mark .* -j RETURN$/),
        expect.stringMatching(/^-A KUBE-POSTROUTING -j MARK/),
        expect.stringMatching(/^-A KUBE-POSTROUTING .* -j MASQUERADE/),
      ]);
      expect(await lab.onNode('iptables-save', '-t', 'mangle')).toContain(':KUBE-KUBELET-CANARY');
    });

    test('while an agent runs, nothing is done, and its process is named', async () => {
      const agent = await startAgent();
      const before = await dumpNode(lab);
      for (const flags of [[], ['--leftovers']]) {
        const run = await lab.command('cleanup', stateFlag, ...flags);
        expect(run).toMatchObject({ status: 1, stdout: '' });
        expect(run.stderr).toMatch(/^error: Switchyard \(process \d+\) runs on this node/);
      }
      expect(await dumpNode(lab)).toEqual(before);
      expect(await lab.probe('client', web)).toMatchObject({ sourceSeen: lab4.podGateway });
      await agent.stop();
      // Nobody has taken over: without these rules nobody would serve.
      const early = await lab.command('cleanup', stateFlag, '--leftovers');
      expect(early).toMatchObject({ status: 1, stderr: '' });
      expect(early.stdout).toContain('no other service proxy has taken it over yet');
      expect(await dumpNode(lab)).toEqual(before);
    });
  },
);

const foreignRules = `
set -e
iptables -w -t nat -N CNI-HOSTPORT-DNAT
iptables -w -t nat -A PREROUTING -m comment --comment "cni portfwd rules" -j CNI-HOSTPORT-DNAT
iptables -w -t nat -A CNI-HOSTPORT-DNAT -p tcp --dport 8099 -j DNAT --to-destination 10.244.0.5:8080
iptables -w -N KUBE-FIREWALL
iptables -w -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
iptables -w -I INPUT -j KUBE-FIREWALL
iptables -w -I OUTPUT -j KUBE-FIREWALL
iptables -w -N KUBE-MINE
iptables -w -A FORWARD -m comment --comment "kubernetes of mine" -j KUBE-MINE
iptables -w -t mangle -N KUBE-IPTABLES-HINT
iptables -w -t raw -A PREROUTING -d 169.254.20.10/32 -p udp -j NOTRACK
ip6tables -w -A INPUT -s fd00:77::/64 -j DROP
ipset create MINE hash:ip
ipset create KUBE-HAIRPIN-OF-MINE hash:ip
`;
