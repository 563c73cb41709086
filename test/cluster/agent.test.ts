import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { proxyCommand } from '../support/agent-process.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually, lab4, NodeLab } from '../support/node-lab.ts';
import { ControlPlane } from './control-plane.ts';
import { planeFor } from './lab-plane.ts';

const blocked = ControlPlane.blocked();
const bundle = 'switchyard.mjs';
const namespace = '/api/v1/namespaces/default';
const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';

/** A Service as a user writes it: the API server assigns what is missing. */
function service(name: string, spec: object): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { ports: [{ name: 'http', port: 80, targetPort: 8080 }], ...spec },
  };
}

function slice(
  name: string,
  addresses: readonly string[],
  protocol = 'TCP',
  port = 'http',
): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: port, protocol, port: 8080 }],
    endpoints: addresses.map((address) => ({
      addresses: [address],
      nodeName: 'node-a',
      conditions: { ready: true },
    })),
  };
}

describe.skipIf(blocked !== undefined)(
  `the agent beside a real API server${blocked ? ` (${blocked})` : ''}`,
  () => {
    let lab: NodeLab;
    let plane: ControlPlane;
    let agent: AgentProcess;
    let clusterIP = '';

    beforeAll(async () => {
      lab = await NodeLab.create('legacy');
      plane = planeFor(lab);
      await plane.start();
      await plane.must('POST', '/api/v1/nodes', {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'node-a' },
      });
      const status = { status: { addresses: [{ type: 'InternalIP', address: lab4.node }] } };
      await plane.must(
        'PATCH',
        '/api/v1/nodes/node-a/status',
        status,
        'application/merge-patch+json',
      );
      // What is shipped is what is tested: the bundle, which holds less than the checkout.
      execFileSync(process.execPath, ['scripts/build.ts', join(plane.folder, bundle)]);
      agent = startAgent();
      await programmed();
    });

    afterAll(async () => {
      await agent?.stop();
      await plane?.stop();
      await lab?.close();
    });

    function startAgent(): AgentProcess {
      const flags = [
        `--kubeconfig=${plane.kubeconfig()}`,
        '--hostname-override=node-a',
        '--cluster-cidr=10.244.0.0/16',
        '--conntrack-max-per-core=0',
        '--conntrack-tcp-timeout-established=0s',
        '--conntrack-tcp-timeout-close-wait=0s',
      ];
      return lab.startClusterAgent(flags, proxyCommand(join(plane.folder, bundle)));
    }

    async function programmed(): Promise<void> {
      await eventually(
        async () => lab.onNode('iptables-save', '-t', 'nat'),
        (rules) => rules.includes('KUBE-SERVICES'),
        30_000,
      );
    }

    async function answers(expected: readonly string[]): Promise<void> {
      const to = { to: clusterIP, port: 80, timeoutMs: 500 } as const;
      await eventually(
        async () => Object.keys(await lab.tally('client', to, 30, 'probe')).toSorted(),
        (seen) => JSON.stringify(seen) === JSON.stringify(expected.toSorted()),
        20_000,
      );
    }

    it('serves a Service once its endpoints exist, and refuses it before', async () => {
      const made = (await plane.must('POST', `${namespace}/services`, service('web', {}))) as {
        spec: { clusterIP: string };
      };
      clusterIP = made.spec.clusterIP;
      // One question alone: the kernel sends few ICMP errors a second to one client.
      const seen = await eventually(
        async () => lab.probe('client', { to: clusterIP, port: 80, timeoutMs: 1500 }),
        (answer) => answer === 'refused',
      );
      expect(seen).toBe('refused');
      await plane.must('POST', slices, slice('web', [lab4['pod-a'], lab4['pod-b']]));
      await answers(['pod-a', 'pod-b']);
    });

    it('follows a change of the endpoints', async () => {
      await plane.must('PUT', `${slices}/web-1`, slice('web', [lab4['pod-c']]));
      await answers(['pod-c']);
    });

    it('serves a node port that the API server assigned', async () => {
      const patch = { spec: { type: 'NodePort' } };
      const made = (await plane.must(
        'PATCH',
        `${namespace}/services/web`,
        patch,
        'application/merge-patch+json',
      )) as {
        spec: { ports: { nodePort: number }[] };
      };
      const port = made.spec.ports[0]?.nodePort ?? 0;
      const seen = await eventually(
        async () => lab.probe('client', { to: lab4.node, port, timeoutMs: 500 }),
        (answer) => typeof answer !== 'string',
      );
      expect(seen).toMatchObject({ answeredBy: 'pod-c' });
    });

    it('takes the ServiceCIDR from the API: the masquerade mark is hoisted', async () => {
      expect(await lab.onNode('iptables-save', '-t', 'nat')).toMatch(
        /-A KUBE-SERVICES ! -s 10\.244\.0\.0\/16 -d 10\.96\.0\.0\/12 /,
      );
    });

    // Before the API server is started again: it answers a moment before it knows its own roles.
    it('needs no more than the rights of the API server’s own role for kube-proxy', () => {
      expect(agent.log).not.toMatch(/"status":403|forbidden/i);
    });

    it('keeps every rule while the API server is away, and catches up when it is back', async () => {
      await plane.stopApiServer();
      await answers(['pod-c']);
      await plane.startApiServer();
      await plane.must('PUT', `${slices}/web-1`, slice('web', [lab4['pod-a']]));
      await answers(['pod-a']);
    });

    it('takes over after a restart of its own while the API server is away', async () => {
      await plane.stopApiServer();
      await agent.crash();
      agent = startAgent();
      await answers(['pod-a']);
      await plane.startApiServer();
      await plane.must('PUT', `${slices}/web-1`, slice('web', [lab4['pod-b']]));
      await answers(['pod-b']);
    });

    it('removes the rules of a deleted Service', async () => {
      await plane.must('DELETE', `${namespace}/services/web`);
      await eventually(
        async () => lab.onNode('iptables-save'),
        (rules) => !rules.includes('default/web'),
      );
      expect(await lab.onNode('iptables-save', '-t', 'nat')).not.toContain(`${clusterIP}/32`);
    });

    it('ends cleanly on SIGTERM and leaves the rules', async () => {
      expect(await agent.stop()).toBe(0);
      expect(await lab.onNode('iptables-save', '-t', 'nat')).toContain('KUBE-SERVICES');
    });
  },
);
