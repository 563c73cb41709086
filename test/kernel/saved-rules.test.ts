/** Rules that somebody saves with ours among them, and restores after a reboot: docs/operating.md says how. */
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NodeLab, eventually } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
const own = '-A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE';

describe.skipIf(!able).each(['nft', 'legacy'] as const)(
  'rules saved while Switchyard served, %s tools (needs root: it makes network namespaces)',
  (variant) => {
    let lab: NodeLab;
    let rules = '';
    let sets = '';

    beforeEach(async () => {
      lab = await NodeLab.create(variant);
      rules = join(lab.folder, 'rules.v4');
      sets = join(lab.folder, 'ipsets');
      await onNode(`iptables -w -t nat ${own}`);
      await lab.write('node', nodeObject());
      await lab.write(
        'sticky',
        service('sticky', { host: 11, affinitySeconds: 300 }),
        ...slices('sticky', ['pod-a', 'pod-b']),
      );
      const agent = lab.startAgent([
        '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
        `--state-file=${lab.stateFile}`,
      ]);
      await eventually(
        async () => lab.probe('client', { to: '10.96.0.11', port: 80, timeoutMs: 200 }),
        (seen) => typeof seen !== 'string',
      );
      await agent.stop();
    });

    afterEach(async () => {
      await lab.close();
    });

    async function onNode(script: string): Promise<string> {
      return lab.onNode('sh', '-c', script);
    }

    /** What a reboot leaves: no rules and no sets. */
    async function reboot(): Promise<void> {
      const tables = 'iptables -w -t $t -F; iptables -w -t $t -X';
      const tables6 = 'ip6tables -w -t $t -F; ip6tables -w -t $t -X';
      await onNode(`for t in filter nat mangle; do ${tables}; ${tables6}; done; ipset destroy`);
      expect(await onNode('iptables-save')).not.toContain('KUBE-');
    }

    test('without the sets nothing of nat comes back, the administrator’s own rules neither', async () => {
      await onNode(`iptables-save > ${rules}`);
      await reboot();
      const said = await onNode(`iptables-restore < ${rules} 2>&1; echo status $?`);
      expect(said).toMatch(/KUBE-AFF-\S+ doesn't exist/);
      expect(said).not.toContain('status 0');
      expect(await onNode('iptables-save -t nat')).not.toContain(own);
    });

    test('without the lines of KUBE- chains one’s own rules come back', async () => {
      await onNode(`iptables-save | grep -v KUBE- > ${rules}`);
      await reboot();
      await onNode(`iptables-restore < ${rules}`);
      expect(await onNode('iptables-save -t nat')).toContain(own);
      expect(await onNode('iptables-save')).not.toContain('KUBE-');
    });

    test('with the sets restored before them all rules come back', async () => {
      await onNode(`iptables-save > ${rules}; ipset save > ${sets}`);
      await reboot();
      await onNode(`ipset restore < ${sets}; iptables-restore < ${rules}`);
      const restored = await onNode('iptables-save -t nat');
      expect(restored).toContain(own);
      expect(restored).toContain('--match-set KUBE-AFF-');
    });
  },
);
