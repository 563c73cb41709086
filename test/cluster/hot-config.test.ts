// An agent of a cluster follows its configuration: other credentials, also bad ones, and an API server that is away meanwhile.
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.ts';
import { MountedConfig } from '../support/mounted-config.ts';
import { eventually, lab4, NodeLab } from '../support/node-lab.ts';
import { RequestStream } from '../support/request-stream.ts';
import { ControlPlane } from './control-plane.ts';
import { planeFor } from './lab-plane.ts';

const blocked = ControlPlane.blocked();
const services = '/api/v1/namespaces/default/services';
const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';

/** A configuration that reads its credentials from a file, with more lines. */
function config(kubeconfig: string, ...lines: readonly string[]): string {
  return [
    'apiVersion: kubeproxy.config.k8s.io/v1alpha1',
    'kind: KubeProxyConfiguration',
    `clientConnection: {kubeconfig: ${kubeconfig}}`,
    'hostnameOverride: node-a',
    'clusterCIDR: 10.244.0.0/16',
    'oomScoreAdj: 0',
    'conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}',
    ...lines,
  ].join('\n');
}

function slice(pod: 'pod-a' | 'pod-b'): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    endpoints: [{ addresses: [lab4[pod]], nodeName: 'node-a', conditions: { ready: true } }],
  };
}

describe.skipIf(blocked !== undefined)(
  `a configuration that changes, beside a real API server${blocked ? ` (${blocked})` : ''}`,
  () => {
    let lab: NodeLab;
    let plane: ControlPlane;
    let agent: AgentProcess;
    let file: MountedConfig;
    let clusterIP = '';

    beforeAll(async () => {
      lab = await NodeLab.create('legacy');
      plane = planeFor(lab);
      await plane.start();
      const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-a' } };
      await plane.must('POST', '/api/v1/nodes', node);
      const status = { status: { addresses: [{ type: 'InternalIP', address: lab4.node }] } };
      const patch = 'application/merge-patch+json';
      await plane.must('PATCH', '/api/v1/nodes/node-a/status', status, patch);
      const made = (await plane.must('POST', services, {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'web' },
        spec: { ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
      })) as { spec: { clusterIP: string } };
      clusterIP = made.spec.clusterIP;
      await plane.must('POST', slices, slice('pod-a'));
      file = new MountedConfig(join(lab.folder, 'config'));
      await file.make(config(plane.kubeconfig()));
      agent = lab.startClusterAgent([`--config=${file.path}`]);
      await answeredBy('pod-a');
    });

    afterAll(async () => {
      await agent?.stop();
      await plane?.stop();
      await lab?.close();
    });

    async function answeredBy(pod: string): Promise<void> {
      await eventually(
        async () => lab.probe('client', { to: clusterIP, port: 80, timeoutMs: 500 }),
        (seen) => typeof seen !== 'string' && seen.answeredBy === pod,
        30_000,
      ).catch((error: unknown) => {
        throw new Error(`${String(error)}\n${agent.log}`);
      });
    }

    async function leadTo(pod: 'pod-a' | 'pod-b'): Promise<void> {
      await plane.must('PUT', `${slices}/web-1`, slice(pod));
      await answeredBy(pod);
    }

    async function became(result: string, count: number): Promise<void> {
      const line = `switchyard_config_reloads_total{result="${result}"} ${count}\n`;
      await eventually(
        async () => (await lab.get('node', 'http://127.0.0.1:10249/metrics')).body,
        (body) => body.includes(line),
        60_000,
      ).catch(() => {
        throw new Error(`not ${line}${agent.log}`);
      });
    }

    const lists = (): number => agent.log.split('first list complete').length - 1;

    it('lists nothing anew where it can be followed live', async () => {
      const before = lists();
      await file.publish(config(plane.kubeconfig(), 'iptables: {masqueradeAll: true}'));
      await became('live', 1);
      await leadTo('pod-b');
      expect(lists()).toBe(before);
    });

    it('that names credentials which are not there leaves the agent at work, until they are', async () => {
      const later = join(plane.folder, 'later.kubeconfig');
      await file.publish(config(later));
      await became('failed', 1);
      await leadTo('pod-a');
      await copyFile(plane.kubeconfig(), later);
      process.kill(agent.pid, 'SIGHUP');
      await became('restart', 1);
      await leadTo('pod-b');
    });

    it('waits for an API server that is away, and Services go on', async () => {
      const asked = { to: clusterIP, port: 80, timeoutMs: 1000 };
      const stream = new RequestStream(lab, 'pod-c', [asked], 2, 5);
      await plane.stopApiServer();
      await file.publish(config(plane.kubeconfig(), 'iptables: {masqueradeBit: 15}'));
      await eventually(
        async () => agent.log,
        (log) => log.split('a new agent starts').length === 4,
      );
      expect((await lab.get('node', 'http://127.0.0.1:10256/healthz')).status).toBe(200);
      await plane.startApiServer();
      await became('restart', 2);
      await leadTo('pod-a');
      expect(Object.keys(await stream.stop()).toSorted()).toEqual(['pod-a', 'pod-b']);
      expect(await lab.onNode('iptables-save')).toContain('0x8000/0x8000');
    });
  },
);
