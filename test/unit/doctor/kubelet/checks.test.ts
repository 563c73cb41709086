/** Each check of `switchyard doctor --kubelet`: what it says of a node without ailments, and of one with a single ailment. */
import { describe, expect, it } from 'vitest';
import { kubeletFlags } from '../../../../src/config/kubelet-flags.ts';
import { readKubeletFiles } from '../../../../src/config/kubelet-file.ts';
import { parseFlags } from '../../../../src/config/parse-flags.ts';
import { kubeletConfig } from '../../../../src/config/read-kubelet-config.ts';
import { runChecks } from '../../../../src/doctor/check.ts';
import type { Finding } from '../../../../src/doctor/finding.ts';
import type {
  KubeletReadings,
  KubeletSubject,
  RuntimeReading,
} from '../../../../src/doctor/kubelet/readings.ts';
import { kubeletChecks } from '../../../../src/doctor/kubelet/registry.ts';

type Values = { readonly [K in keyof KubeletReadings]: Awaited<ReturnType<KubeletReadings[K]>> };

const dayMs = 86_400_000;
const nowMs = Date.UTC(2026, 5, 1);
const certificate = {
  kind: 'good',
  path: '/etc/kubernetes/kubelet.conf',
  notBeforeMs: nowMs - dayMs,
  notAfterMs: nowMs + 300 * dayMs,
  subject: 'O=system:nodes, CN=system:node:n1',
} as const;
const containerd: Extract<RuntimeReading, { kind: 'answered' }> = {
  kind: 'answered',
  name: 'containerd',
  version: '1.6.20',
  runtimeProblem: undefined,
  networkProblem: undefined,
  cgroupDriver: { name: 'cgroupfs', isTaken: false },
  cniFolder: '/etc/cni/net.d',
};
const answered = {
  kind: 'answered',
  server: 'https://192.0.2.1:6443',
  version: 'v1.37.2',
  aheadMs: 200,
  nodeStatus: 200,
  reason: '',
} as const;

const healthy: Values = {
  privileges: {
    isRoot: true,
    mayChangeNetwork: true,
    mayMakeNamespaces: true,
    sharesNetworkOfInit: true,
    mayWriteSysctls: true,
  },
  tools: ['mount', 'umount', 'iptables'].map((tool) => ({ tool, found: true })),
  runtime: containerd,
  cgroups: { version: 2, controllers: ['cpu', 'cpuset', 'io', 'memory', 'pids'] },
  network: { folder: '/etc/cni/net.d', files: ['10-pods.conflist'] },
  mounts: { path: '/', isShared: true, free: { bytes: 0.5, files: 0.9 } },
  swap: [],
  ports: [],
  certificates: {
    nowMs,
    client: certificate,
    bootstrap: { path: '/etc/kubernetes/bootstrap-kubelet.conf', problem: undefined },
    serving: { ...certificate, path: '/var/lib/kubelet/pki/kubelet-server-current.pem' },
    clientCa: { path: '/etc/kubernetes/pki/ca.crt', problem: undefined },
  },
  api: answered,
};

function subjectOf(...argv: readonly string[]): KubeletSubject {
  const { flags } = parseFlags(kubeletFlags, [
    '--kubeconfig=/etc/kubernetes/kubelet.conf',
    ...argv,
  ]);
  const { flags: all } = readKubeletFiles([], kubeletFlags, flags);
  return { config: kubeletConfig(all), nodeName: 'n1' };
}

type Changes = { readonly [K in keyof Values]?: Values[K] | Error };

async function findings(changes: Changes = {}, subject = subjectOf()): Promise<readonly Finding[]> {
  const values: Readonly<Record<string, unknown>> = { ...healthy, ...changes };
  const readings = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      async () => {
        if (value instanceof Error) throw value;
        return value;
      },
    ]),
  ) as unknown as KubeletReadings;
  return runChecks(kubeletChecks, readings, subject, async () => new Promise(() => {}));
}

function isNotable({ status }: Finding): boolean {
  return status === 'failure' || status === 'warning';
}

describe('a node without ailments', () => {
  it('has nothing to mend, and each finding has an id of its own', async () => {
    const found = await findings();
    expect(found.filter(isNotable)).toEqual([]);
    const ids = found.map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)]);
    expect(ids.length).toBeGreaterThan(20);
  });

  it('needs no API server to run static pods', async () => {
    const { config } = subjectOf();
    const alone = { config: { ...config, kubeconfig: '' }, nodeName: 'n1' };
    const certificates = { ...healthy.certificates, client: undefined, bootstrap: undefined };
    const api = { kind: 'unused', why: 'no API server is wanted' } as const;
    expect((await findings({ certificates, api }, alone)).filter(isNotable)).toEqual([]);
  });

  it('is as well when a kubelet of ours runs on it', async () => {
    const owner = { pid: 7, name: 'node' };
    const ports = [10_250, 10_248].map((port) => ({ address: '0.0.0.0' as never, port, owner }));
    expect((await findings({ ports })).filter(isNotable)).toEqual([]);
  });

  it('gets its first certificate, and is no worse for it', async () => {
    const client = { kind: 'absent', path: '/etc/kubernetes/kubelet.conf' } as const;
    const serving = {
      kind: 'absent',
      path: '/var/lib/kubelet/pki/kubelet-server-current.pem',
    } as const;
    const certificates = { ...healthy.certificates, client, serving };
    const api = { kind: 'unused', why: 'the kubeconfig cannot be used yet' } as const;
    expect((await findings({ certificates, api })).filter(isNotable)).toEqual([]);
  });
});

const runtime = (changes: Partial<typeof containerd>): Changes => ({
  runtime: { ...containerd, ...changes },
});
const certificates = (changes: Partial<Values['certificates']>): Changes => ({
  certificates: { ...healthy.certificates, ...changes },
});
const api = (
  changes: Partial<Omit<typeof answered, 'kind'> & { nodeStatus: number; aheadMs: number }>,
): Changes => ({
  api: { ...answered, ...changes },
});
const bootstrapSpoilt = { path: '/b', problem: 'kubeconfig /b: ENOENT' };

describe('of a node with one ailment, it is told with its cure:', () => {
  it.each<[string, Changes, Finding['status'], string, RegExp]>([
    [
      'runtime.answer',
      { runtime: { kind: 'silent', problem: 'nobody', cure: undefined } },
      'failure',
      'nobody',
      /containerRuntimeEndpoint/,
    ],
    ['runtime.ready', runtime({ runtimeProblem: 'no shim' }), 'failure', 'no shim', /journalctl/],
    [
      'cni.network',
      runtime({ networkProblem: 'cni plugin not initialized' }),
      'warning',
      'cni plugin',
      /journalctl/,
    ],
    [
      'cni.config',
      { network: { folder: '/etc/cni/net.d', files: undefined } },
      'warning',
      '/etc/cni/net.d',
      /plug-in/,
    ],
    [
      'cni.config',
      { network: { folder: '/etc/cni/net.d', files: ['README'] } },
      'warning',
      '/etc/cni/net.d',
      /plug-in/,
    ],
    [
      'cgroup.driver',
      runtime({ cgroupDriver: { name: 'systemd', isTaken: false } }),
      'failure',
      'the runtime uses systemd, and cgroupDriver is cgroupfs',
      /cgroupDriver: systemd, or SystemdCgroup = false/,
    ],
    [
      'cgroup.controllers',
      { cgroups: { version: 2, controllers: ['cpu', 'cpuset', 'pids'] } },
      'failure',
      'missing: memory',
      /cgroup_enable/,
    ],
    [
      'mount.shared',
      { mounts: { ...healthy.mounts, isShared: false } },
      'warning',
      'private',
      /make-rshared/,
    ],
    [
      'mount.root-dir',
      { mounts: { ...healthy.mounts, free: { bytes: 0.05, files: 0.9 } } },
      'warning',
      '5 % of the bytes',
      /make room/,
    ],
    [
      'mount.root-dir',
      { mounts: { ...healthy.mounts, free: { bytes: 0.5, files: 0.01 } } },
      'warning',
      '1 % of the files',
      /make room/,
    ],
    [
      'tool.mount',
      { tools: [{ tool: 'mount', found: false }] },
      'failure',
      'not installed',
      /util-linux/,
    ],
    [
      'tool.iptables',
      { tools: [{ tool: 'iptables', found: false }] },
      'warning',
      'not installed',
      /makeIPTablesUtilChains/,
    ],
    ['swap', { swap: ['/dev/sda2'] }, 'warning', '/dev/sda2', /swapoff/],
    [
      'port.server',
      { ports: [{ address: '0.0.0.0' as never, port: 10_250, owner: { pid: 4, name: 'nginx' } }] },
      'failure',
      'taken by nginx (process 4)',
      /another port/,
    ],
    [
      'privileges.rights',
      { privileges: { ...healthy.privileges, isRoot: false } },
      'warning',
      'not root',
      /root/,
    ],
    [
      'credentials.client-certificate',
      certificates({ client: { kind: 'absent', path: '/k' }, bootstrap: undefined }),
      'failure',
      '/k is not there',
      /--bootstrap-kubeconfig/,
    ],
    [
      'credentials.client-certificate',
      certificates({ client: { kind: 'absent', path: '/k' }, bootstrap: bootstrapSpoilt }),
      'failure',
      '/k is not there',
      /token/,
    ],
    [
      'credentials.client-certificate',
      certificates({ client: { kind: 'unusable', path: '/k', problem: 'is torn' } }),
      'failure',
      '/k: is torn',
      /token/,
    ],
    [
      'credentials.client-certificate',
      certificates({ client: { ...certificate, notAfterMs: nowMs - 1 }, bootstrap: undefined }),
      'failure',
      'ended',
      /renew/,
    ],
    [
      'credentials.client-certificate',
      certificates({ client: { ...certificate, notAfterMs: nowMs - 1 } }),
      'warning',
      'ended',
      /asks for another one/,
    ],
    [
      'credentials.node-name',
      certificates({ client: { ...certificate, subject: 'O=system:nodes, CN=system:node:n2' } }),
      'warning',
      'n2',
      /--hostname-override/,
    ],
    [
      'credentials.bootstrap',
      certificates({ bootstrap: bootstrapSpoilt }),
      'warning',
      'ENOENT',
      /kubeadm token create/,
    ],
    [
      'credentials.serving-certificate',
      certificates({ serving: { kind: 'absent', path: '/tls.crt' } }),
      'failure',
      '/tls.crt is not there',
      /tlsCertFile/,
    ],
    [
      'credentials.serving-certificate',
      certificates({ serving: { kind: 'unusable', path: '/tls.crt', problem: 'no key of it' } }),
      'failure',
      'no key of it',
      /belong together/,
    ],
    [
      'credentials.client-ca',
      certificates({ clientCa: { path: '/ca', problem: 'is not there' } }),
      'failure',
      '/ca: is not there',
      /clientCAFile/,
    ],
    [
      'api.server',
      { api: { kind: 'silent', server: 'https://192.0.2.1:6443', problem: 'ECONNREFUSED' } },
      'failure',
      'ECONNREFUSED',
      /curl/,
    ],
    [
      'api.node',
      api({ nodeStatus: 401 as never, reason: 'answered 401' as never }),
      'failure',
      'answered 401',
      /credentials/,
    ],
    [
      'api.node',
      api({ nodeStatus: 403 as never, reason: 'answered 403' as never }),
      'failure',
      'answered 403',
      /Node,RBAC/,
    ],
    ['clock.api', api({ aheadMs: 400_000 as never }), 'failure', '400 s ahead', /timedatectl/],
  ])('%s', async (id, changes, status, text, cure) => {
    const found = (await findings(changes)).filter(isNotable);
    const own = found.find((each) => each.id === id);
    expect([own?.status, own?.text]).toEqual([status, expect.stringContaining(text)]);
    expect(own?.cure).toMatch(cure);
    const others = found.filter(
      (each) =>
        each.id !== id &&
        !(id === 'credentials.client-certificate' && each.id === 'credentials.bootstrap'),
    );
    expect(others).toEqual([]);
  });

  it('says which client certificate it is, where it is not the kubeconfig’s own', async () => {
    const path = '/var/lib/kubelet/pki/kubelet-client-current.pem';
    const found = await findings(certificates({ client: { ...certificate, path } }));
    const texts = found.filter(({ id }) => id === 'credentials.client-certificate');
    expect(texts.map(({ text }) => text)).toEqual([
      expect.stringContaining(
        `(${path}, which counts more than that of /etc/kubernetes/kubelet.conf)`,
      ),
    ]);
  });

  it('what cannot be read is a warning of its own, and stops nothing else', async () => {
    const found = (await findings({ cgroups: new Error('no /sys') })).filter(isNotable);
    expect(found.map(({ id, status }) => [id, status])).toEqual([['cgroup', 'warning']]);
  });

  it('a driver that the runtime tells a kubelet that asks is taken, whatever is configured', async () => {
    const found = await findings(runtime({ cgroupDriver: { name: 'systemd', isTaken: true } }));
    expect(found.filter(isNotable)).toEqual([]);
  });
});
