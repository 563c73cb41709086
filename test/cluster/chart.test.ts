// The chart in a real cluster: helm installs it, an agent runs as its DaemonSet says with the rights of its role, and serves.
import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentProcess } from '../support/agent-process.ts';
import { runtimeMetrics } from '../support/metric-names.ts';
import { ownFolder } from '../support/own-folder.ts';
import { outsideTool } from '../support/outside-tools.ts';
import { eventually, lab4, NodeLab } from '../support/node-lab.ts';
import type { Container, DaemonSet } from '../support/pod-form.ts';
import { containerScript } from '../support/pod-process.ts';
import type { ContainerPlaces } from '../support/pod-process.ts';
import { createObject } from './api-objects.ts';
import { Audit, grantedBy } from './audit.ts';
import type { RoleRule } from './audit.ts';
import { ControlPlane } from './control-plane.ts';
import { HelmCluster } from './helm-cluster.ts';

const [helm, kubectl] = await Promise.all([outsideTool('helm'), outsideTool('kubectl')]);
const blocked =
  ControlPlane.blocked() ??
  ('missing' in helm ? helm.missing : 'missing' in kubectl ? kubectl.missing : undefined);

const merge = 'application/merge-patch+json';
const system = '/api/v1/namespaces/kube-system';
const services = '/api/v1/namespaces/default/services';
const established = 'net/netfilter/nf_conntrack_tcp_timeout_established';
const localnet = 'net/ipv4/conf/all/route_localnet';

/** The limit of connection tracking is the machine's, whatever the namespace; and only a kubelet gives pods their OOM score. */
const values = {
  apiServer: { host: 'auto' },
  clusterCIDR: '10.244.0.0/16',
  config: {
    oomScoreAdj: 0,
    conntrack: { maxPerCore: 0, tcpEstablishedTimeout: '2h', tcpCloseWaitTimeout: '0s' },
  },
};

describe.skipIf(blocked !== undefined)(
  `the chart in a cluster${blocked ? ` (${blocked})` : ''}`,
  () => {
    const folder = ownFolder('switchyard-chart');
    const token = join(folder, 'serviceaccount');
    const config = join(folder, 'config');
    let lab: NodeLab;
    let plane: ControlPlane;
    let audit: Audit;
    let cluster: HelmCluster;
    let daemonSet: DaemonSet;
    let agent: AgentProcess | undefined;

    beforeAll(async () => {
      lab = await NodeLab.create('legacy');
      audit = new Audit(folder);
      plane = new ControlPlane({
        namespace: lab.namespace('client'),
        address: lab4.client,
        apiServerFlags: audit.flags,
      });
      await plane.start();
      cluster = new HelmCluster(plane, {
        helm: 'path' in helm ? helm.path : '',
        kubectl: 'path' in kubectl ? kubectl.path : '',
      });
      await createObject(plane, {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'node-a' },
        status: { addresses: [{ type: 'InternalIP', address: lab4.node }] },
      });
      await publishServer();
      execFileSync(process.execPath, ['scripts/build.ts', join(folder, 'switchyard.mjs')]);
    });

    afterAll(async () => {
      await agent?.stop();
      await plane?.stop();
      await lab?.close();
      await rm(folder, { recursive: true, force: true });
    });

    /** As kubeadm does. */
    async function publishServer(): Promise<void> {
      const server = `https://${lab4.client}:6443`;
      const kubeconfig = { clusters: [{ name: '', cluster: { server } }] };
      const namespace = '/api/v1/namespaces/kube-public';
      await plane.until('there is kube-public', async () => {
        return (await plane.request('GET', namespace)).status === 200;
      });
      await plane.must('POST', `${namespace}/configmaps`, {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'cluster-info' },
        data: { kubeconfig: JSON.stringify(kubeconfig) },
      });
    }

    async function install(more: object = {}): Promise<string> {
      const said = await cluster.install({ ...values, ...more });
      const path = '/apis/apps/v1/namespaces/kube-system/daemonsets/switchyard';
      daemonSet = (await plane.must('GET', path)) as DaemonSet;
      return said;
    }

    /** What a kubelet brings to the node before the containers start. */
    async function mountVolumes(): Promise<ContainerPlaces> {
      const { spec } = daemonSet.spec.template;
      const path = `${system}/serviceaccounts/${spec.serviceAccountName}/token`;
      const form = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} };
      const request = (await plane.must('POST', path, form)) as { status: { token: string } };
      await mkdir(token, { recursive: true });
      await writeFile(join(token, 'token'), request.status.token);
      await writeFile(join(token, 'ca.crt'), plane.certificate);
      await updateConfig();
      await mkdir(join(folder, 'run'), { recursive: true });
      await appendFile(join(lab.folder, 'xtables.lock'), '', { mode: 0o600 });
      return hostPlaces();
    }

    /** What of the node containers see. */
    function hostPlaces(): ContainerPlaces {
      return {
        volumes: {
          config,
          run: join(folder, 'run'),
          'xtables-lock': join(lab.folder, 'xtables.lock'),
        },
        serviceAccount: token,
        fields: { 'spec.nodeName': 'node-a' },
        entryPoint: [process.execPath, join(folder, 'switchyard.mjs')],
      };
    }

    let version = 0;

    /** Brings the ConfigMap into its folder in one step, as the kubelet does: by a link that is renamed. */
    async function updateConfig(): Promise<void> {
      const volume = daemonSet.spec.template.spec.volumes.find(({ name }) => name === 'config');
      const path = `${system}/configmaps/${volume?.configMap?.name ?? ''}`;
      const { data } = (await plane.must('GET', path)) as { data: Record<string, string> };
      const name = `..${++version}`;
      await mkdir(join(config, name), { recursive: true });
      for (const [key, text] of Object.entries(data)) {
        await writeFile(join(config, name, key), text);
        await symlink(join('..data', key), join(config, key)).catch(() => {}); // it is there
      }
      await symlink(name, join(config, '..new'));
      await rename(join(config, '..new'), join(config, '..data'));
    }

    function start(container: Container | undefined, places: ContainerPlaces): AgentProcess {
      if (container === undefined) throw new Error('there is no such container');
      const script = containerScript(container, places);
      return lab.startClusterAgent([], ['unshare', '--mount', 'sh', '-ec', script]);
    }

    /** Starts the agent as the DaemonSet's pod would, without the container that prepares. */
    async function startAgent(): Promise<AgentProcess> {
      return start(daemonSet.spec.template.spec.containers[0], await mountVolumes());
    }

    async function served(): Promise<string> {
      const made = (await plane.must('GET', `${services}/web`)) as { spec: { clusterIP: string } };
      const to = { to: made.spec.clusterIP, port: 80, timeoutMs: 500 };
      const seen = await eventually(
        async () => lab.probe('client', to),
        (answer) => typeof answer !== 'string',
        40_000,
      );
      return typeof seen === 'string' ? seen : seen.answeredBy;
    }

    async function annotate(value: string | null): Promise<void> {
      const change = { metadata: { annotations: { 'switchyard.io/scheduler': value } } };
      await plane.must('PATCH', `${services}/web`, change, merge);
    }

    /** How often each Event on an annotation was seen. */
    async function eventCounts(): Promise<readonly number[]> {
      const path = '/apis/events.k8s.io/v1/namespaces/default/events';
      const { items } = (await plane.must('GET', path)) as {
        items: { readonly reason: string; readonly series?: { readonly count: number } }[];
      };

      const own = items.filter(({ reason }) => reason === 'AnnotationNotUnderstood');
      return own.map(({ series }) => series?.count ?? 1);
    }

    it('is installed by helm, which finds the API server by itself and says what is there', async () => {
      expect(await install()).toContain('Switchyard 0.1.0 makes Services work in iptables mode');
      const { env } = daemonSet.spec.template.spec.containers[0] ?? {};
      expect(env).toContainEqual({ name: 'KUBERNETES_SERVICE_HOST', value: lab4.client });
      expect(env).toContainEqual({ name: 'KUBERNETES_SERVICE_PORT', value: '6443' });
    });

    it('prepares the node: with privileges, and to its end', async () => {
      expect(await lab.setting(localnet)).toBe('0');
      const { initContainers } = daemonSet.spec.template.spec;
      const init = start(initContainers[0], await mountVolumes());
      expect(await init.ended(), init.log).toBe(0);
      expect(init.log).not.toMatch(/"level":"?(?:40|50|60|warn|error)/);
      expect(await lab.setting(established)).toBe('7200');
      expect(await lab.setting(localnet)).toBe('1');
    });

    it('serves, without privileges and without a complaint', async () => {
      const object = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' } };
      const ports = [{ name: 'http', port: 80, targetPort: 8080 }];
      await plane.must('POST', services, { ...object, spec: { type: 'NodePort', ports } });
      await createObject(plane, {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } },
        addressType: 'IPv4',
        ports: [{ name: 'http', port: 8080 }],
        endpoints: [{ addresses: [lab4['pod-a']], nodeName: 'node-a' }],
      });
      agent = await startAgent();
      expect(await served()).toBe('pod-a');
      const rights = await lab.onNode(
        'grep',
        '-E',
        'Cap(Prm|Eff|Bnd)|NoNewPrivs',
        `/proc/${agent.pid}/status`,
      );
      // CAP_NET_ADMIN is bit 12, CAP_NET_RAW 13.
      expect(rights.match(/0000000000003000/g)).toHaveLength(3);
      expect(rights).toMatch(/NoNewPrivs:\s*1/);
      expect(agent.log).not.toMatch(/"level":"?(?:50|60|error)/);
    });

    it('is ready and alive where its probes ask', async () => {
      const { containers } = daemonSet.spec.template.spec;
      for (const probe of [containers[0]?.readinessProbe, containers[0]?.livenessProbe]) {
        const { path = '', port } = probe?.httpGet ?? {};
        const number = containers[0]?.ports?.find(({ name }) => name === port)?.containerPort;
        const url = `http://${lab4.node}:${number}${path}`;
        const answer = await eventually(
          async () => lab.get('client', url),
          ({ status }) => status === 200,
        );
        expect(answer.status, path).toBe(200);
      }
    });

    it('has the metrics of its runtime that alerts and dashboard ask for', async () => {
      const { body } = await eventually(
        async () => lab.get('node', 'http://127.0.0.1:10249/metrics'),
        ({ status }) => status === 200,
      );
      for (const name of runtimeMetrics) expect(body).toMatch(new RegExp(`^${name} \\d`, 'm'));
    });

    it('writes an Event, and its repeat, for an annotation that cannot be used', async () => {
      await annotate('fast');
      await eventually(eventCounts, (seen) => seen.join() === '1', 40_000);
      await annotate(null);
      await annotate('fast');
      expect(await eventually(eventCounts, (seen) => seen.join() === '2', 40_000)).toEqual([2]);
      await annotate(null);
    });

    it('grants what the agent asks for and nothing more, and is asked for nothing else', async () => {
      const path = '/apis/rbac.authorization.k8s.io/v1/clusterroles/switchyard';
      const { rules } = (await plane.must('GET', path)) as { rules: RoleRule[] };
      const asked = audit.askedBy('system:serviceaccount:kube-system:switchyard');
      expect(asked.filter(({ status }) => status === 401 || status === 403)).toEqual([]);
      const used = new Set(asked.map(({ right }) => right));
      expect([...used].toSorted()).toEqual(grantedBy(rules).toSorted());
    });

    it('follows its configuration while it runs', async () => {
      const before = daemonSet.spec.template.spec;
      await install({ clusterCIDR: '10.244.0.0/17' });
      expect(daemonSet.spec.template.spec).toEqual(before); // no pod starts anew
      await updateConfig();
      const log = await eventually(
        async () => agent?.log ?? '',
        (text) => text.includes('the new configuration is in force'),
        40_000,
      );
      expect(log).toContain('clusterCIDR: 10.244.0.0/16 → 10.244.0.0/17 (live)');
      expect(await served()).toBe('pod-a');
    });

    it('names a setting that is not as the configuration has it, with its cure, and serves', async () => {
      expect(await agent?.stop()).toBe(0);
      await lab.onNode('sh', '-c', `echo 3600 > /proc/sys/${established}`);
      agent = await startAgent();
      await eventually(
        async () => agent?.log ?? '',
        (log) => log.includes('connection tracking setting not made'),
        40_000,
      );
      expect(agent.log).toMatch(/tcp_timeout_established is 3600 and cannot be set to 7200/);
      expect(agent.log).toContain('set it on the host, run privileged');
      expect(await lab.setting(established)).toBe('3600');
      expect(await served()).toBe('pod-a');
    });

    it('serves in userspace mode with the same rights', async () => {
      const before = daemonSet.spec.template.spec.volumes;
      await lab.onNode('sh', '-c', `echo 7200 > /proc/sys/${established}`);
      await install({ mode: 'userspace' });
      expect(daemonSet.spec.template.spec.volumes).not.toEqual(before);
      expect(await agent?.stop()).toBe(0);
      const init = start(daemonSet.spec.template.spec.initContainers[0], await mountVolumes());
      expect(await init.ended(), init.log).toBe(0);
      agent = await startAgent();
      await eventually(
        async () => agent?.log ?? '',
        (log) => log.includes('"mode":"userspace"'),
        40_000,
      );
      expect(await served()).toBe('pod-a');
      expect(agent.log).not.toMatch(/"level":"(?:warn|error)/);
    });

    it('leaves its rules when it is removed: the Service goes on', async () => {
      await install();
      expect(await agent?.stop()).toBe(0);
      agent = await startAgent();
      expect(await served()).toBe('pod-a');
      await cluster.uninstall();
      expect(await agent.stop()).toBe(0);
      agent = undefined;
      expect(await served()).toBe('pod-a');
      const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/switchyard';
      expect((await plane.request('GET', role)).status).toBe(404);
    });

    it('has the node cleaned up where that is asked for', async () => {
      await install({ cleanup: 'all' });
      const { initContainers } = daemonSet.spec.template.spec;
      const cleaner = start(initContainers[0], hostPlaces());
      expect(await cleaner.ended(), cleaner.log).toBe(0);
      expect(await lab.onNode('iptables-save')).not.toMatch(/KUBE-SERVICES|KUBE-FIREWALL/);
      expect(await lab.setting(localnet)).toBe('0');
    });
  },
);
