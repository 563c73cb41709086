// What a real API server makes of the agent's Events, and that an agent that may write none does all else.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WireEvent } from '../../src/telemetry/events.ts';
import { proxyCommand } from '../support/agent-process.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { FaultyTools } from '../support/faulty-tools.ts';
import { eventually, lab4, NodeLab } from '../support/node-lab.ts';
import { createObject } from './api-objects.ts';
import { ControlPlane, tokens } from './control-plane.ts';
import { planeFor } from './lab-plane.ts';

const blocked = ControlPlane.blocked();
const services = '/api/v1/namespaces/default/services';
const events = '/apis/events.k8s.io/v1/namespaces/default/events';
const merge = 'application/merge-patch+json';
const scheduler = 'switchyard.io/scheduler';

/** What the log says where a right is missing. */
function rule(group: string, resource: string, verbs: string): string {
  return `its ClusterRole needs the rule {apiGroups: [${group}], resources: [${resource}], verbs: [${verbs}]}`;
}

describe.skipIf(blocked !== undefined)(
  `Events beside a real API server${blocked ? ` (${blocked})` : ''}`,
  () => {
    let lab: NodeLab;
    let plane: ControlPlane;
    let agent: AgentProcess;
    let tools: FaultyTools;

    beforeAll(async () => {
      lab = await NodeLab.create('legacy');
      plane = planeFor(lab);
      await plane.start();
      await createObject(plane, {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'node-a' },
        status: { addresses: [{ type: 'InternalIP', address: lab4.node }] },
      });
      tools = await FaultyTools.install(lab);
      agent = start(tokens.proxy);
    });

    afterAll(async () => {
      await agent?.stop();
      await plane?.stop();
      await lab?.close();
    });

    function start(token: string): AgentProcess {
      const flags = [
        `--kubeconfig=${plane.kubeconfig({ token })}`,
        '--hostname-override=node-a',
        '--conntrack-max-per-core=0',
        '--conntrack-tcp-timeout-established=0s',
        '--conntrack-tcp-timeout-close-wait=0s',
      ];
      return lab.startClusterAgent(flags, proxyCommand(), tools.folder);
    }

    /** Makes a Service with an annotation that is not understood; gives its uid. */
    async function misspelt(name: string, value: string): Promise<string> {
      const made = (await plane.must('POST', services, {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, annotations: { [scheduler]: value } },
        spec: { ports: [{ name: 'http', port: 80 }] },
      })) as { metadata: { uid: string } };
      return made.metadata.uid;
    }

    async function annotate(name: string, value: string | null): Promise<void> {
      const change = { metadata: { annotations: { [scheduler]: value } } };
      await plane.must('PATCH', `${services}/${name}`, change, merge);
    }

    async function eventsOn(uid: string): Promise<readonly WireEvent[]> {
      const { items } = (await plane.must('GET', events)) as { items: WireEvent[] };
      return items.filter(({ regarding }) => regarding.uid === uid);
    }

    let web = '';

    it('appear on a Service whose annotation is not understood', async () => {
      web = await misspelt('web', 'fast');
      const [event, ...more] = await eventually(
        async () => eventsOn(web),
        (seen) => seen.length > 0,
        40_000,
      );
      expect(more).toEqual([]);
      expect(event).toMatchObject({
        metadata: { namespace: 'default', name: expect.stringMatching(/^web\.[0-9a-f]{16}$/) },
        regarding: { apiVersion: 'v1', kind: 'Service', namespace: 'default', name: 'web' },
        reportingController: 'switchyard.io/proxy',
        reportingInstance: 'node-a',
        reason: 'AnnotationNotUnderstood',
        action: 'ReadAnnotations',
        type: 'Warning',
        note: expect.stringContaining(`${scheduler}]: expected one of rr, wrr,`),
      });
      expect(event?.series).toBeUndefined();
    });

    it('are what `kubectl describe service` looks for', async () => {
      const query = `fieldSelector=${encodeURIComponent(`involvedObject.uid=${web}`)}`;
      const { items } = (await plane.must('GET', `/api/v1/namespaces/default/events?${query}`)) as {
        items: readonly object[];
      };
      expect(items).toMatchObject([{ reason: 'AnnotationNotUnderstood', type: 'Warning' }]);
    });

    it('count repeats in a series', async () => {
      for (let count = 2; count <= 3; count++) {
        await annotate('web', 'rr');
        await annotate('web', 'fast');
        await eventually(
          async () => (await eventsOn(web)).map(({ series }) => series?.count),
          (counts) => counts.length === 1 && counts[0] === count,
        );
      }
    });

    it('appear on a Service that cannot be programmed, from the node where that is so', async () => {
      await tools.meet('ipset: make sets', {
        before: 'echo "ipset v7.17: Error in line 1: Out of memory" >&2; exit 1',
      });
      const made = (await plane.must('POST', services, {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'sticky' },
        spec: { sessionAffinity: 'ClientIP', ports: [{ name: 'http', port: 80 }] },
      })) as { metadata: { uid: string } };
      await createObject(plane, {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 'sticky-1', labels: { 'kubernetes.io/service-name': 'sticky' } },
        addressType: 'IPv4',
        ports: [{ name: 'http', port: 8080 }],
        endpoints: [{ addresses: [lab4['pod-a']] }],
      });
      const [event] = await eventually(
        async () => eventsOn(made.metadata.uid),
        (seen) => seen.length > 0,
        40_000,
      );
      await tools.heal();
      expect(event).toMatchObject({
        reason: 'NotProgrammed',
        reportingInstance: 'node-a',
        note: expect.stringMatching(
          /^default\/sticky:http is not served by node node-a: Set KUBE-AFF-/,
        ),
      });
    });

    it('are not told again by an agent that starts anew', async () => {
      expect(await agent.stop()).toBe(0);
      agent = start(tokens.proxy);
      // They are written in the order in which they are told: this one comes after what is told of `web`.
      const fence = await misspelt('zebra', 'fast');
      await eventually(
        async () => eventsOn(fence),
        (seen) => seen.length === 1,
        40_000,
      );
      expect((await eventsOn(web)).map(({ series }) => series?.count)).toEqual([3]);
      expect(agent.log).not.toContain('Events are not written');
    });

    it('that it may not write, nor ServiceCIDRs that it may not read, keep an agent from nothing', async () => {
      expect(await agent.stop(), agent.log.slice(-3000)).toBe(0);
      const verbs = ['list', 'watch'];
      await plane.allowGuest([
        { apiGroups: [''], resources: ['services', 'nodes'], verbs },
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs },
      ]);
      agent = start(tokens.guest);
      const uids = [await misspelt('mute', 'slow'), await misspelt('muter', 'slow')];
      await eventually(
        async () => lab.onNode('iptables-save'),
        (rules) => rules.includes('default/muter:http'),
        40_000,
      );
      await eventually(
        async () => agent.log,
        (log) => log.includes('Events are not written'),
      );
      expect(agent.log).toContain(rule('events.k8s.io', 'events', 'create, patch'));
      expect(agent.log).toContain(rule('networking.k8s.io', 'servicecidrs', 'list, watch'));
      expect(agent.log.split('Events are not written')).toHaveLength(2);
      await annotate('mute', 'rr');
      expect(await Promise.all(uids.map(eventsOn))).toEqual([[], []]);
      expect(agent.log).not.toContain('sync failed');
    });
  },
);
