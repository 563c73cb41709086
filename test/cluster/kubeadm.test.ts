/** kubeadm's DaemonSet of kube-proxy with another image and nothing else: its command line, its ConfigMap, its ServiceAccount. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isKnownGate } from '../../src/config/feature-gates.ts';
import { nodeObject, service, slices } from '../kernel/contract-objects.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually, lab4, NodeLab } from '../support/node-lab.ts';
import { createObject } from './api-objects.ts';
import { ControlPlane } from './control-plane.ts';
import { bothFamilies, planeFor } from './lab-plane.ts';
import { controlPlaneBinary } from './controlplane/build.ts';

const blocked = ControlPlane.blocked();

/** What the DaemonSet of kubeadm runs, `$(NODE_NAME)` filled in by the kubelet. */
const commandLine = [
  '/usr/local/bin/kube-proxy',
  '--config=/var/lib/kube-proxy/config.conf',
  '--hostname-override=node-a',
] as const;

/** The key `config.conf` of the ConfigMap kube-proxy, as kubeadm writes it for --pod-network-cidr=10.244.0.0/16. */
const configConf = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
`;

/** Some of the configuration in effect. */
const inEffect = {
  clientConnection: { kubeconfig: '/var/lib/kube-proxy/kubeconfig.conf', qps: 5 },
  clusterCIDR: '10.244.0.0/16',
  hostnameOverride: 'node-a',
  iptables: { masqueradeBit: 14, syncPeriod: '30s', minSyncPeriod: '1s' },
  mode: 'iptables',
};

/** The key `kubeconfig.conf` beside it. */
const kubeconfigConf = `apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    server: https://${lab4.client}:6443
  name: default
contexts:
- context:
    cluster: default
    namespace: default
    user: default
  name: default
current-context: default
users:
- name: default
  user:
    tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
`;

/**
 * What the container sees, in a mount namespace of its own: the volumes of the pod at their places, nothing of the machine's /run,
 * and settings of the machine as a whole (the hash size of connection tracking) read-only.
 */
const container = `set -e
pod=$1 program=$2; shift 2
mount -t tmpfs none /run
mount -t tmpfs none /var/lib
mount -t tmpfs none /usr/local/bin
mkdir -p /var/lib/kube-proxy /var/run/secrets/kubernetes.io/serviceaccount
mount --bind "$pod/kube-proxy" /var/lib/kube-proxy
mount --bind "$pod/serviceaccount" /var/run/secrets/kubernetes.io/serviceaccount
ln -s "$program" /usr/local/bin/kube-proxy
mount --bind /sys /sys
mount -o remount,bind,ro /sys
exec "$@"`;

/** A program as an image could have it at /usr/local/bin/kube-proxy. */
interface Image {
  readonly name: string;
  readonly isOurs: boolean;
  /** Makes the program in a folder; answers its path. */
  readonly make: (folder: string) => string;
  /** What has to stand before the command line, for a program that the kernel cannot start itself. */
  readonly interpreter: readonly string[];
}

const images: readonly Image[] = [
  {
    // Shows that the place is as kube-proxy expects it.
    name: 'kube-proxy itself',
    isOurs: false,
    make: (folder) => {
      const script = join(folder, 'upstream');
      writeFileSync(script, `#!/bin/sh\nexec ${controlPlaneBinary()} kube-proxy "$@"\n`);
      chmodSync(script, 0o755);
      return script;
    },
    interpreter: [],
  },
  {
    name: 'the sources',
    isOurs: true,
    make: () => join(import.meta.dirname, '../../src/cli/main.ts'),
    interpreter: [process.execPath],
  },
  {
    name: 'the bundle',
    isOurs: true,
    make: (folder) => {
      const bundle = join(folder, 'switchyard.mjs');
      execFileSync(process.execPath, ['scripts/build.ts', bundle]);
      chmodSync(bundle, 0o755);
      return bundle;
    },
    interpreter: [],
  },
];

describe.skipIf(blocked !== undefined)(
  `kubeadm's DaemonSet of kube-proxy${blocked ? ` (${blocked})` : ''}`,
  () => {
    let lab: NodeLab;
    let plane: ControlPlane;
    let pod = '';

    beforeAll(async () => {
      lab = await NodeLab.create('nft');
      plane = planeFor(lab, { serviceCidrs: bothFamilies });
      await plane.start();
      pod = join(plane.folder, 'pod');
      configMapVolume(join(pod, 'kube-proxy'), {
        'config.conf': configConf,
        'kubeconfig.conf': kubeconfigConf,
      });
      configMapVolume(join(pod, 'serviceaccount'), {
        token: await serviceAccountToken(plane),
        'ca.crt': readFileSync(join(plane.folder, 'certs/apiserver.crt'), 'utf8'),
      });
      await createObject(plane, nodeObject());
      await createObject(plane, service('web', { host: 10, type: 'NodePort', nodePort: 30010 }));
      for (const slice of slices('web', ['pod-a', 'pod-b'])) await createObject(plane, slice);
    });

    afterAll(async () => {
      await plane?.stop();
      await lab?.close();
    });

    it('may name every feature gate of this Kubernetes, those that are final among them', async () => {
      const { text } = await plane.request('GET', '/metrics');
      const names = [...text.matchAll(/^kubernetes_feature_enabled\{name="(\w+)"/gm)].map(
        ([, name = '']) => name,
      );
      expect(names).toContain('NFTablesProxyMode');
      expect(names.filter((name) => !isKnownGate(name))).toEqual([]);
    });

    async function fetched(url: string): Promise<string> {
      const script = `const answer = await fetch('${url}').catch(() => undefined);
        console.log(answer?.status, await answer?.text());`;
      return lab.onNode(process.execPath, '--input-type=module', '-e', script);
    }

    describe.each(images)('with $name', ({ isOurs, make, interpreter }) => {
      let program = '';
      let agent: AgentProcess | undefined;

      beforeAll(() => {
        program = make(plane.folder);
      });

      afterEach(async () => {
        await agent?.stop();
        agent = undefined;
      });

      const inside = (...argv: readonly string[]): readonly string[] => [
        'unshare',
        '--mount',
        'sh',
        '-c',
        container,
        'sh',
        pod,
        program,
        ...interpreter,
        ...argv,
      ];

      const once = async (...argv: readonly string[]): Promise<string> => {
        const [tool = '', ...args] = inside('/usr/local/bin/kube-proxy', ...argv);
        const path = `PATH=${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`;
        return lab.onNode('env', path, tool, ...args);
      };

      it('serves what the API server has, from nothing but the ConfigMap and the ServiceAccount', async () => {
        agent = lab.startClusterAgent([], inside(...commandLine), dirname(process.execPath));
        for (const to of ['10.96.0.10', 'fd00:10:96::10', lab4.node]) {
          const port = to === lab4.node ? 30010 : 80;
          const seen = await eventually(
            async () =>
              Object.keys(await lab.tally('client', { to, port, timeoutMs: 500 }, 20, 'probe')),
            (names) => names.includes('pod-a') && names.includes('pod-b'),
            30_000,
          );
          expect(seen.toSorted(), agent.log).toEqual(['pod-a', 'pod-b']);
        }
        expect(await fetched(`http://${lab4.node}:10256/healthz`)).toMatch(/^200 /);
        expect(await fetched('http://127.0.0.1:10249/proxyMode')).toBe('200 iptables\n');
        const configz = (await fetched('http://127.0.0.1:10249/configz')).replace(/^200 /, '');
        const told = (JSON.parse(configz) as Record<string, object>)['kubeproxy.config.k8s.io'];
        expect(told).toMatchObject(inEffect);
        const metrics = await fetched('http://127.0.0.1:10249/metrics');
        expect(metrics).toContain('kubernetes_feature_enabled{name="KubeProxyIPVS",');
        expect(await lab.onNode('iptables-save', '-t', 'nat')).toContain('0x4000');
        expect(agent.log).not.toMatch(/forbidden|"status":403/i);
        expect(agent.log).toMatch(isOurs ? /^\{"level":"info"/m : /^I\d{4} /m);
        expect(agent.log.split('\n').filter(isComplaint)).toEqual([]);
      });

      it('says on its command line what it is', async () => {
        expect(await once('--version')).toMatch(
          isOurs ? /^Switchyard \d+\.\d+\.\d+\n$/ : /^Kubernetes v/,
        );
      });

      it('makes the privileged settings and ends, with --init-only', async () => {
        const established = '/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established';
        await lab.onNode('sh', '-c', `echo 432000 > ${established}`);
        await once(...commandLine.slice(1), '--init-only');
        expect(await lab.onNode('cat', established)).toBe('86400\n');
      });

      it('leaves no chain of services with --cleanup', async () => {
        expect(await lab.onNode('iptables-save')).toContain('KUBE-SERVICES');
        await once('--cleanup');
        expect(await lab.onNode('iptables-save')).not.toMatch(/KUBE-(?:SERVICES|SVC|NODEPORTS)/);
      });
    });
  },
);

/** A line by which our proxy, whose log is JSON here, finds fault with its configuration. */
function isComplaint(line: string): boolean {
  return /^\{"level":"(?:warn|error)/.test(line) && line.includes('config.conf');
}

/** A volume as the kubelet mounts a ConfigMap: each key is a link to a folder that is swapped as a whole. */
function configMapVolume(folder: string, keys: Readonly<Record<string, string>>): void {
  const data = '..2026_01_01_00_00_00.1';
  mkdirSync(join(folder, data), { recursive: true });
  symlinkSync(data, join(folder, '..data'));
  for (const [key, text] of Object.entries(keys)) {
    writeFileSync(join(folder, data, key), text);
    symlinkSync(join('..data', key), join(folder, key));
  }
}

/** The ServiceAccount kube-proxy as kubeadm makes it, and a token of it as the kubelet gets it. */
async function serviceAccountToken(plane: ControlPlane): Promise<string> {
  const namespace = 'kube-system';
  const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
  const metadata = { name: 'kube-proxy', namespace };
  await plane.until(
    'kube-system is there',
    async () => (await plane.request('GET', `/api/v1/namespaces/${namespace}`)).status === 200,
  );
  await plane.must('POST', accounts, { apiVersion: 'v1', kind: 'ServiceAccount', metadata });
  const group = 'rbac.authorization.k8s.io';
  await plane.must('POST', `/apis/${group}/v1/clusterrolebindings`, {
    apiVersion: `${group}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: { name: 'kubeadm:node-proxier' },
    roleRef: { apiGroup: group, kind: 'ClusterRole', name: 'system:node-proxier' },
    subjects: [{ kind: 'ServiceAccount', ...metadata }],
  });
  const answer = (await plane.must('POST', `${accounts}/kube-proxy/token`, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: 3600 },
  })) as { status: { token: string } };
  return answer.status.token;
}
