/** kube-proxy and Switchyard take over from each other under steady traffic, and what is left afterwards. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Question } from '../../src/cli/demo/actor.ts';
import { nodeObject, service, slices } from '../kernel/contract-objects.ts';
import type { ServiceOptions } from '../kernel/contract-objects.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { dumpNode } from '../support/node-dump.ts';
import type { NodeDump } from '../support/node-dump.ts';
import { eventually, lab4, NodeLab } from '../support/node-lab.ts';
import { RequestStream } from '../support/request-stream.ts';
import { SteadyTraffic } from '../support/steady-traffic.ts';
import type { Conversation } from '../support/steady-traffic.ts';
import { createObject } from './api-objects.ts';
import { ControlPlane } from './control-plane.ts';
import { bothFamilies, planeFor } from './lab-plane.ts';
import { controlPlaneBinary } from './controlplane/build.ts';
import { upstreamCommand } from './upstream-proxy.ts';

const blocked = ControlPlane.blocked();
type Writer = 'kube-proxy' | 'Switchyard';

/** Addresses of a load balancer, and who may use them: everybody who asks, but for the outsider. */
const guarded = {
  ingress: ['203.0.113.15', '2001:db8:113::15'],
  sourceRanges: ['192.0.2.0/24', '10.244.0.0/16', '2001:db8::/64', 'fd00:10:244::/48'],
} as const;
const outsider = '198.18.0.7';

/** Few pods and many (over 8 endpoints they have a chain of their own), with affinity, with guarded addresses. */
const services: readonly { readonly name: string; readonly options: ServiceOptions }[] = [
  { name: 'web', options: { host: 10, type: 'NodePort', nodePort: 30010 } },
  {
    name: 'sticky',
    options: { host: 11, type: 'NodePort', nodePort: 30011, affinitySeconds: 300 },
  },
  { name: 'many', options: { host: 12, type: 'NodePort', nodePort: 30012 } },
  {
    name: 'local',
    options: { host: 13, type: 'NodePort', nodePort: 30013, externalPolicy: 'Local' },
  },
  { name: 'guarded', options: { host: 15, type: 'LoadBalancer', nodePort: 30015, ...guarded } },
];

const targets: readonly Question[] = services.flatMap(
  ({ options: { host, nodePort = 0, ingress = [] } }) =>
    (['tcp', 'udp'] as const).flatMap((proto) => [
      { to: `10.96.0.${host}`, port: 80, proto },
      { to: `fd00:10:96::${host}`, port: 80, proto },
      { to: lab4.node, port: nodePort, proto },
      ...ingress.map((to) => ({ to, port: 80, proto })),
    ]),
);

const conversations: readonly Conversation[] = (['client', 'pod-a', 'node'] as const).flatMap(
  (actor) => targets.map((question) => ({ actor, question })),
);

describe.skipIf(blocked !== undefined).each(['nft', 'legacy'] as const)(
  `taking over and going back, %s tools${blocked ? ` (${blocked})` : ''}`,
  (variant) => {
    let lab: NodeLab;
    let plane: ControlPlane;
    let kubeconfig = '';
    let running: AgentProcess | undefined;

    beforeAll(async () => {
      lab = await NodeLab.create(variant);
      plane = planeFor(lab, { serviceCidrs: bothFamilies });
      await plane.start();
      kubeconfig = plane.kubeconfig();
      await createObject(plane, nodeObject());
      for (const { name, options } of services) {
        await createObject(plane, service(name, options));
        const isMany = name === 'many';
        const pods = isMany
          ? (['pod-a', 'pod-b', 'pod-c', 'remote'] as const)
          : (['pod-a', 'pod-b', 'remote'] as const);
        const ports = isMany ? [8080, 8081, 8082] : [8080];
        for (const slice of slices(name, pods, ports)) await createObject(plane, slice);
      }
      await createObject(plane, service('idle', { host: 14, type: 'NodePort', nodePort: 30014 }));
    });

    afterAll(async () => {
      await plane?.stop();
      await lab?.close();
    });

    /** The node without any service proxy, and what kube-proxy’s own clean-up leaves of it. */
    let before: NodeDump;
    let afterKubeProxy: NodeDump;

    beforeEach(async () => {
      before = await dumpNode(lab);
      await start('kube-proxy');
      await running?.stop();
      await lab.onNode(controlPlaneBinary(), 'kube-proxy', '--cleanup');
      afterKubeProxy = await dumpNode(lab);
      await lab.onNode('sh', '-c', removeGuard);
      expect(await dumpNode(lab)).toEqual(before);
    });

    afterEach(async () => {
      await running?.stop();
      running = undefined;
      await cleanup();
      await lab.onNode('sh', '-c', removeGuard);
    });

    it('loses no request, and switchyard cleanup leaves nothing of either but kube-proxy’s guard', async () => {
      await start('kube-proxy');
      const traffic = new SteadyTraffic(lab, conversations);
      const closed = askAsOutsider();
      for (const writer of ['Switchyard', 'kube-proxy', 'Switchyard', 'kube-proxy'] as const) {
        await running?.stop();
        await start(writer);
      }
      const report = await traffic.stop();
      expect(report.failures).toEqual([]);
      expect(report.answered).toBeGreaterThan(conversations.length * 10);
      expect(await closed.stop()).toEqual({ timeout: expect.any(Number) });
      await running?.stop();
      expect(await cleanup()).toMatchObject({ status: 0, stderr: '' });
      expect(await dumpNode(lab)).toEqual(afterKubeProxy);
    });

    it('goes back as the manual says: nothing fails, and kube-proxy’s own clean-up is complete', async () => {
      await start('Switchyard');
      const traffic = new SteadyTraffic(lab, conversations);
      const closed = askAsOutsider();
      await running?.stop();
      await start('kube-proxy');
      const { sets } = await dumpNode(lab);
      const run = await cleanup('--leftovers');
      const report = await traffic.stop();
      expect(await closed.stop()).toEqual({ timeout: expect.any(Number) });
      expect(sets).toContain('KUBE-AFF-');
      expect(run).toMatchObject({ status: 0, stderr: '' });
      expect(run.stdout).toMatch(/filter \(IPv4, \w+\): 1 jump, \d+ chains? of services/);
      expect(report.failures).toEqual([]);
      expect(report.answered).toBeGreaterThan(conversations.length * 10);
      await running?.stop();
      await lab.onNode(controlPlaneBinary(), 'kube-proxy', '--cleanup');
      expect(await dumpNode(lab)).toEqual(afterKubeProxy);
      // IPv4's guard was Switchyard's in this case, as was the setting.
      expect(await cleanup()).toMatchObject({ status: 0, stderr: '' });
      const { rules, ...rest } = await dumpNode(lab);
      const ipv6 = Object.entries(afterKubeProxy.rules).filter(([tool]) => tool.startsWith('ip6'));
      expect(rules).toEqual({ ...before.rules, ...Object.fromEntries(ipv6) });
      expect({ ...before, ...rest }).toEqual(before);
    });

    async function start(writer: Writer): Promise<void> {
      const flags = [
        `--kubeconfig=${kubeconfig}`,
        '--hostname-override=node-a',
        '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
        '--conntrack-max-per-core=0',
        '--conntrack-tcp-timeout-established=0s',
        '--conntrack-tcp-timeout-close-wait=0s',
      ];
      running =
        writer === 'Switchyard'
          ? lab.startClusterAgent([...flags, `--state-file=${lab.stateFile}`])
          : lab.startClusterAgent(flags, upstreamCommand());
      const agent = running;
      await eventually(
        async () => ({ writers: await writers(), said: agent.log.slice(-2000) }),
        (seen) => seen.writers.every((each) => each === writer),
        60_000,
      );
    }

    /** Whom the source ranges leave out, at the guarded address the whole time. */
    function askAsOutsider(): RequestStream {
      const [to] = guarded.ingress;
      const question = { to, port: 80, from: outsider, timeoutMs: 200 };
      return new RequestStream(lab, 'client', [question, { ...question, proto: 'udp' }]);
    }

    /** Who wrote each table last. */
    async function writers(): Promise<readonly (Writer | 'nobody')[]> {
      const tables = ['iptables-save', 'ip6tables-save'].flatMap((tool) =>
        (['filter', 'nat'] as const).map((table) => ({ tool, table })),
      );
      return Promise.all(
        tables.map(async ({ tool, table }) => {
          const dump = await lab.onNode(tool, '-t', table);
          if (!written[table].every((text) => dump.includes(text))) return 'nobody';
          return dump.includes('switchyard generation') ? 'Switchyard' : 'kube-proxy';
        }),
      );
    }

    async function cleanup(...flags: readonly string[]) {
      return lab.command('cleanup', `--state-file=${lab.stateFile}`, ...flags);
    }
  },
);

/** Chains and jumps come first in a table: what stands last in it tells that all of it is in. */
const written = {
  filter: [':KUBE-SERVICES', 'default/guarded', 'default/idle'],
  nat: ['MASQUERADE', 'default/many'],
} as const;

/** What kube-proxy leaves when it has cleaned up: KUBE-FIREWALL in both families, and route_localnet. */
const removeGuard = `
for tool in iptables ip6tables; do
  $tool -w -F
  $tool -w -X
done
sysctl -q -w net.ipv4.conf.all.route_localnet=0
`;
