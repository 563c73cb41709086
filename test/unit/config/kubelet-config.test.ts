// KubeletConfiguration and flags → one validated object.
import { describe, expect, test } from 'vitest';
import { kubeletFlags } from '../../../src/config/kubelet-flags.ts';
import { readKubeletFiles } from '../../../src/config/kubelet-file.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import type { KubeletConfig } from '../../../src/config/kubelet-config.ts';
import { kubeletConfig } from '../../../src/config/read-kubelet-config.ts';

const kind = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';

interface Read {
  readonly config: KubeletConfig;
  readonly warnings: readonly string[];
}

function read(argv: readonly string[], ...files: readonly string[]): Read {
  const { flags, warnings } = parseFlags(kubeletFlags, ['--kubeconfig=k', ...argv]);
  const named = files.map((text, index) => ({ path: `/etc/k/${index}.yaml`, text: kind + text }));
  const settings = readKubeletFiles(named, kubeletFlags, flags);
  return {
    config: kubeletConfig(settings.flags),
    warnings: [...warnings, ...settings.warnings],
  };
}

test('defaults are those of upstream', () => {
  const { config, warnings } = read([]);
  expect(warnings).toEqual([]);
  expect(config).toMatchObject({
    kubeconfig: 'k',
    staticPods: undefined,
    rootDir: '/var/lib/kubelet',
    certDir: '/var/lib/kubelet/pki',
    syncMs: 60_000,
    podLogsDir: '/var/log/pods',
    volumeStatsMs: 60_000,
    node: {
      register: true,
      maxPods: 110,
      podsPerCore: 0,
      leaseSeconds: 40,
      statusUpdateMs: 10_000,
      statusReportMs: 300_000,
    },
    runtime: {
      endpoint: 'unix:///run/containerd/containerd.sock',
      imageEndpoint: 'unix:///run/containerd/containerd.sock',
      cgroups: { root: '/', perQos: true, driver: 'cgroupfs' },
      pidsLimit: -1,
    },
    server: {
      bind: { address: '0.0.0.0', port: 10_250 },
      readOnly: undefined,
      healthz: { address: '127.0.0.1', port: 10_248 },
      anonymous: false,
      authorization: 'Webhook',
    },
    dns: { servers: [], domain: '', resolvConf: '/etc/resolv.conf' },
    logFiles: { maxSize: '10Mi', maxFiles: 5 },
    oomScoreAdj: -999,
  });
  expect(config.node.evictionHard).toEqual({
    'memory.available': '100Mi',
    'nodefs.available': '10%',
    'nodefs.inodesFree': '5%',
    'imagefs.available': '15%',
    'imagefs.inodesFree': '5%',
  });
});

test('a file, with paths that count from where it lies', () => {
  const { config, warnings } = read(
    [],
    `
staticPodPath: pods
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
authentication: { x509: { clientCAFile: pki/ca.crt }, anonymous: { enabled: true } }
authorization: { mode: AlwaysAllow }
tlsCertFile: /a/b.crt
tlsPrivateKeyFile: c.key
systemReserved: { cpu: 100m, memory: 1Gi }
evictionHard: { memory.available: 5% }
registerWithTaints: [{ key: a, value: b, effect: NoSchedule }, { key: c, effect: NoExecute }]
cgroupRoot: /node-1/
resolvConf: resolv.conf
maxPods: 0
`,
  );
  expect(warnings).toEqual([]);
  expect(config).toMatchObject({
    staticPods: { path: '/etc/k/pods', pollMs: 20_000 },
    dns: { servers: ['10.96.0.10'], domain: 'cluster.local', resolvConf: '/etc/k/resolv.conf' },
    server: {
      clientCaFile: '/etc/k/pki/ca.crt',
      anonymous: true,
      authorization: 'AlwaysAllow',
      certFile: '/a/b.crt',
      keyFile: '/etc/k/c.key',
    },
    node: {
      maxPods: 110,
      systemReserved: { cpu: '100m', memory: '1Gi' },
      evictionHard: { 'memory.available': '5%' },
      taints: [
        { key: 'a', value: 'b', effect: 'NoSchedule' },
        { key: 'c', value: '', effect: 'NoExecute' },
      ],
    },
    runtime: { cgroups: { root: '/node-1' } },
  });
});

test('no resolv.conf is other than the usual one', () => {
  expect(read([], 'resolvConf: ""').config.dns.resolvConf).toBe('');
  expect(read(['--resolv-conf=']).config.dns.resolvConf).toBe('');
  expect(read([], 'resolvConf: null').config.dns.resolvConf).toBe('/etc/resolv.conf');
  expect(read(['--resolv-conf=/x'], 'resolvConf: ""').config.dns.resolvConf).toBe('/x');
});

test('no limits are other than the usual ones', () => {
  expect(read([], 'evictionHard: {}').config.node.evictionHard).toEqual({});
});

test('flags count more than files, later files more than earlier ones, and maps add up', () => {
  const { config } = read(
    ['--max-pods=5', '--kube-reserved=cpu=3'],
    'maxPods: 1\nregistryBurst: 1\nkubeReserved: { cpu: 1, memory: 1Gi }\nclusterDNS: [10.0.0.1, 10.0.0.2]',
    'registryBurst: 2\nkubeReserved: { cpu: 2 }\nclusterDNS: [10.0.0.3]',
  );
  expect(config.node.maxPods).toBe(5);
  expect(config.runtime.pullBurst).toBe(2);
  expect(config.node.kubeReserved).toEqual({ cpu: '3', memory: '1Gi' });
  expect(config.dns.servers).toEqual(['10.0.0.3']);
});

test('a source that is a file alone runs without an API server', () => {
  expect(read(['--source=file:/etc/pods']).config).toMatchObject({
    kubeconfig: '',
    staticPods: { path: '/etc/pods' },
  });
  expect(read(['--source=kubernetes', '--source=file:/etc/pods']).config.kubeconfig).toBe('k');
});

describe('pods of a URL', () => {
  test('with headers of several values, from a file', () => {
    const text = `staticPodURL: https://pods.example/n1
staticPodURLHeader: { X-Token: [abc], Accept: [a, b] }
httpCheckFrequency: 5s
`;
    const { config, warnings } = read([], text);
    expect(warnings).toEqual([]);
    expect(config.urlPods).toEqual({
      url: 'https://pods.example/n1',
      headers: { 'X-Token': ['abc'], Accept: ['a', 'b'] },
      pollMs: 5000,
    });
  });

  test.for(['--source=url:http://a/b', '--source=http://a/b', '--manifest-url=http://a/b'])(
    '%s',
    (flag) => {
      const { config } = read([flag, '--manifest-url-header=a:b:c,d: e']);
      expect(config.urlPods).toEqual({
        url: 'http://a/b',
        headers: { a: ['b:c'], d: ['e'] },
        pollMs: 20_000,
      });
    },
  );

  test('what is wrong with it is told, and no password and no value of a header with it', () => {
    const bad = [
      ['--source=url:ftp://me:secret@a'],
      ['--manifest-url=ftp://me:secret@a/?token=secret'],
      ['--source=http://me:secret@a', '--manifest-url=http://b'],
      ['--manifest-url=http://a', '--manifest-url-header=a b:secret'],
      ['--manifest-url=http://a', '--manifest-url-header=a:secret\nb'],
      ['--manifest-url=http://a', '--manifest-url-header=Bearer secret'],
    ];
    const told = bad.map((argv) => errorOf(() => read(argv)));
    expect(told).toEqual([
      expect.stringContaining('is not kubernetes, file:PATH or url:URL'),
      expect.stringContaining('"ftp://…@a/?…" is no http or https URL'),
      expect.stringContaining('one URL, not http://…@a and http://b'),
      expect.stringContaining('--manifest-url-header: "a b" is no name of a header'),
      expect.stringContaining('a: its value has characters that no header may have'),
      expect.stringContaining('--manifest-url-header: what is given is not a list of NAME:VALUE'),
    ]);
    expect(told.join('')).not.toContain('secret');
    expect(errorOf(() => read([], 'staticPodURLHeader: [secret]'))).not.toContain('secret');
  });
});

test('without an API server to ask, port 10250 is there where it is meant alone', () => {
  const [unsaid, allowed, named] = [[], ['--authorization-mode=AlwaysAllow'], ['--port=10260']].map(
    (more) => read(['--source=file:/etc/pods', ...more]).config.server.bind,
  );
  expect(unsaid).toBeUndefined();
  expect(allowed).toMatchObject({ port: 10_250 });
  expect(named).toMatchObject({ port: 10_260 });
});

describe('what is not supported is taken, and told once with the reason', () => {
  test.for([
    ['cpuManagerPolicy: static', 'CPUs and memory are not assigned to containers'],
    ['kernelMemcgNotification: true', 'memory is looked at every ten seconds'],
    ['memorySwap: { swapBehavior: LimitedSwap }', 'swap is not given to pods'],
    [
      'reservedMemory: [{ numaNode: 0, limits: { memory: 1Gi } }]',
      'CPUs and memory are not assigned',
    ],
    ['featureGates: { NodeSwap: true }', 'what is built is there, whatever its stage'],
  ] as const)('%s', ([text, reason]) => {
    const { warnings } = read([], text);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(reason);
    expect(warnings[0]).toContain(`/etc/k/0.yaml: ${text.slice(0, text.indexOf(':'))}`);
  });

  test('a flag, too', () => {
    expect(read(['--feature-gates=NodeSwap=true']).warnings).toEqual([
      expect.stringMatching(/^--feature-gates has no effect: what is built is there/),
    ]);
  });

  test('the default is nothing to be warned of', () => {
    const { warnings } = read(
      [],
      'cpuManagerPolicy: none\nenforceNodeAllocatable: [pods]\nfailSwapOn: true\nmemorySwap: {}\nlogging: { flushFrequency: 0, options: { json: { infoBufferSize: "0" } }, verbosity: 0 }',
    );
    expect(warnings).toEqual([]);
  });
});

test.for([
  ['maxPodz: 5', '/etc/k/0.yaml: maxPodz: is not a field of KubeletConfiguration'],
  ['maxPods: 5\nmaxPods: 6', '/etc/k/0.yaml: maxPods: stands there more than once'],
  ['maxPods: "5"', '/etc/k/0.yaml: maxPods: "5" is not a whole number'],
  ['authentication: 5', '/etc/k/0.yaml: authentication: 5 is not a section with fields'],
  ['syncFrequency: 5', 'is not a duration'],
  ['evictionHard: { memory: 1Gi }', '"memory" is not one of memory.available'],
  ['evictionHard: { memory.available: lots }', '"lots" is neither a quantity nor a percentage'],
  ['kubeReserved: { gpu: 1 }', '"gpu" is not one of cpu, memory, ephemeral-storage, pid'],
  ['clusterDNS: [dns]', '"dns" is not an IP address'],
  ['tlsCertFile: a', '--tls-private-key-file: is missing, the other is there'],
  ['cgroupRoot: ../x', 'is not a path below /'],
  [
    'serverTLSBootstrap: true\ntlsCertFile: a\ntlsPrivateKeyFile: b',
    'serverTLSBootstrap: is of no use beside tlsCertFile',
  ],
  ['port: 70000', '70000 is not 0 to 65535'],
  ['containerLogMaxFiles: 1', '1 is below 2'],
] as const)('%s: %s', ([text, problem]) => {
  expect(() => read([], text)).toThrow(problem);
});

function errorOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return String(error);
  }
  return '';
}

test('all problems are told at once', () => {
  expect(() => read(['--port=-1'], 'foo: 1\nmaxOpenFiles: x')).toThrow(
    /foo: is not[^]*maxOpenFiles: "x" is not[^]*--port: -1 is not/,
  );
});

test('another kind of file is refused', () => {
  const { flags } = parseFlags(kubeletFlags, []);
  const text = 'apiVersion: v1\nkind: Pod';
  expect(() => readKubeletFiles([{ path: 'a', text }], kubeletFlags, flags)).toThrow(
    'a: is not a KubeletConfiguration of kubelet.config.k8s.io/v1beta1',
  );
});

test('without an API server and static pods there is nothing to run', () => {
  const { flags } = parseFlags(kubeletFlags, []);
  expect(() => kubeletConfig(flags)).toThrow('--kubeconfig: is missing, and so are static pods');
});
