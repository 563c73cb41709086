/** A node that comes from kube-proxy's nftables mode, and goes back to it, under steady traffic. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Question } from '../../src/cli/demo/actor.ts';
import { nodeObject, service, slices } from '../kernel/contract-objects.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { dumpNode } from '../support/node-dump.ts';
import type { NodeDump } from '../support/node-dump.ts';
import { eventually, lab4, NodeLab } from '../support/node-lab.ts';
import { SteadyTraffic } from '../support/steady-traffic.ts';
import type { Conversation } from '../support/steady-traffic.ts';
import { createObject } from './api-objects.ts';
import { ControlPlane } from './control-plane.ts';
import { bothFamilies, planeFor } from './lab-plane.ts';
import { upstreamCommand } from './upstream-proxy.ts';

const blocked = ControlPlane.blocked();

const targets: readonly Question[] = (['tcp', 'udp'] as const).flatMap((proto) => [
  { to: '10.96.0.10', port: 80, proto },
  { to: 'fd00:10:96::10', port: 80, proto },
  { to: lab4.node, port: 30010, proto },
]);

const conversations: readonly Conversation[] = (['client', 'pod-a', 'node'] as const).flatMap(
  (actor) => targets.map((question) => ({ actor, question })),
);

describe.skipIf(blocked !== undefined)(
  `from kube-proxy’s nftables mode and back${blocked ? ` (${blocked})` : ''}`,
  () => {
    let lab: NodeLab;
    let plane: ControlPlane;
    let running: AgentProcess | undefined;
    let before: NodeDump;

    beforeAll(async () => {
      lab = await NodeLab.create('nft');
      plane = planeFor(lab, { serviceCidrs: bothFamilies });
      await plane.start();
      await createObject(plane, nodeObject());
      await createObject(plane, service('web', { host: 10, type: 'NodePort', nodePort: 30010 }));
      for (const slice of slices('web', ['pod-a', 'pod-b'])) await createObject(plane, slice);
      before = await dumpNode(lab);
    });

    afterAll(async () => {
      await running?.stop();
      await plane?.stop();
      await lab?.close();
    });

    it('loses no request where Switchyard takes over, and its rules are gone', async () => {
      await startUpstream();
      const traffic = new SteadyTraffic(lab, conversations);
      await running?.stop();
      await startSwitchyard();
      // It starts anew on what it has made itself, and finds nothing more.
      await running?.stop();
      await startSwitchyard();
      const report = await traffic.stop();
      expect(report.failures).toEqual([]);
      expect(report.answered).toBeGreaterThan(conversations.length * 10);
    });

    it('goes back as the manual says: what kube-proxy leaves of ours goes without a failed request', async () => {
      // kube-proxy removes the rules of other modes before it writes its own: there is no way to ask meanwhile.
      await running?.stop();
      await startUpstream();
      const traffic = new SteadyTraffic(lab, conversations);
      const { status, stderr } = await lab.command('cleanup', ...stateFile(), '--leftovers');
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect((await dumpNode(lab)).rules).toEqual(before.rules);
      expect((await traffic.stop()).failures).toEqual([]);
    });

    it('the clean-up removes its table, too', async () => {
      await running?.stop();
      const run = await lab.command('cleanup', ...stateFile());
      expect(run).toMatchObject({ status: 0, stderr: '' });
      for (const family of ['IPv4', 'IPv6']) {
        expect(run.stdout).toContain(`table kube-proxy of nftables (${family})`);
      }
      expect(await tables()).not.toContain('kube-proxy');
      expect((await dumpNode(lab)).rules).toEqual(before.rules);
    });

    function stateFile(): readonly string[] {
      return [`--state-file=${lab.stateFile}`];
    }

    /** Its table stands, and our rules that translate are gone, which it removes itself; the others are left to our clean-up. */
    async function startUpstream(): Promise<void> {
      running = start(upstreamCommand('nftables'));
      await eventually(
        async () => lab.onNode('nft', 'list', 'ruleset'),
        (rules) =>
          ['table ip kube-proxy', 'table ip6 kube-proxy'].every((each) => rules.includes(each)) &&
          (rules.match(/default\/web/g)?.length ?? 0) > 4 &&
          !rules.includes('jump KUBE-SERVICES'),
        60_000,
      );
    }

    /** Our rules are in, and its table is gone. */
    async function startSwitchyard(): Promise<void> {
      running = start();
      await eventually(
        tables,
        (shown) => !shown.includes('kube-proxy') && shown.includes('table ip6 nat'),
        60_000,
      );
    }

    function start(command?: readonly string[]): AgentProcess {
      const flags = [
        `--kubeconfig=${plane.kubeconfig()}`,
        '--hostname-override=node-a',
        '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
        '--conntrack-max-per-core=0',
        '--conntrack-tcp-timeout-established=0s',
        '--conntrack-tcp-timeout-close-wait=0s',
      ];
      return command === undefined
        ? lab.startClusterAgent([...flags, ...stateFile()])
        : lab.startClusterAgent(flags, command);
    }

    async function tables(): Promise<string> {
      return lab.onNode('nft', 'list', 'tables');
    }
  },
);
