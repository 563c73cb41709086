// The kubelet with the capabilities that its unit leaves it, and no others, does what pods ask of it; a stop leaves them alone; doctor finds nothing amiss on its node.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletProcess } from './kubelet-process.ts';
import { NodeMachine, makeFabric, until } from './node-machine.ts';

const root = join(import.meta.dirname, '../..');
const node = new NodeMachine('n1', 1);
const shared = join(node.folder, 'shared');
let kubelet: KubeletProcess;

/** The bounding set of the unit, as setpriv takes it. */
function asTheUnit(): readonly string[] {
  const unit = readFileSync(join(root, 'install/switchyard-kubelet.service'), 'utf8');
  const [, names = ''] = /^CapabilityBoundingSet=(.+)$/m.exec(unit) ?? [];
  const kept = names.split(' ').map((name) => `+${name.replace('CAP_', '').toLowerCase()}`);
  expect(kept.length).toBeGreaterThan(5);
  expect(unit).toMatch(/^NoNewPrivileges=yes$/m);
  return ['setpriv', `--bounding-set=${['-all', ...kept].join(',')}`, '--no-new-privs'];
}

/** A container that the tests run in may have no CAP_SYS_RESOURCE itself; the unit's set cannot add it. */
const ownCapabilities = /^CapEff:\s+(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
const maySpareItself = (BigInt(`0x${ownCapabilities}`) >> 24n) % 2n === 1n;
const isForLackOf = maySpareItself ? /^$/ : /oom_score_adj/;

beforeAll(async () => {
  makeFabric();
  await node.start();
  node.importImages(pauseImage(), busyboxImage());
  mkdirSync(shared);
  kubelet = new KubeletProcess(node, { under: asTheUnit() });
  kubelet.start();
});

afterAll(async () => {
  await kubelet.stop();
  await node.crash();
  node.remove();
});

const said = (): string => {
  try {
    return readFileSync(join(shared, 'said'), 'utf8');
  } catch {
    return '';
  }
};

async function running(): Promise<readonly string[]> {
  const { containers } = await node.connect().runtime.listContainers({
    filter: { state: { state: 1 } },
  });
  return containers.map(({ id }) => id);
}

const script = `
  grep " /memory tmpfs" /proc/mounts | cut -d" " -f2,3 >/shared/new
  echo mine >/memory/file
  stat -c "%g %a" /memory >>/shared/new
  ls /part >>/shared/new
  mv /shared/new /shared/said
  trap "exit 0" TERM; sleep 100000 & wait`;

it('mounts, gives to groups, limits, probes and makes its chains', async () => {
  kubelet.writeManifest(
    'pod.json',
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'all', labels: { a: 'b' } },
      spec: {
        securityContext: { fsGroup: 4711 },
        volumes: [
          { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
          { name: 'shared', hostPath: { path: shared } },
          {
            name: 'about',
            downwardAPI: {
              items: [{ path: 'sub/labels', fieldRef: { fieldPath: 'metadata.labels' } }],
            },
          },
        ],
        containers: [
          {
            name: 'main',
            image: 'local/busybox:1',
            imagePullPolicy: 'Never',
            command: ['sh', '-c', script],
            resources: { limits: { memory: '32Mi', cpu: '500m' } },
            readinessProbe: { exec: { command: ['cat', '/memory/file'] }, periodSeconds: 1 },
            volumeMounts: [
              { name: 'memory', mountPath: '/memory' },
              { name: 'shared', mountPath: '/shared' },
              { name: 'about', mountPath: '/part', subPath: 'sub' },
            ],
          },
        ],
      },
    }),
  );
  await until('the pod has said what it found', () => {
    if (kubelet.ended !== undefined) throw new Error(kubelet.ended);
    return said() !== '';
  });
  expect(said()).toBe('/memory tmpfs\n4711 2777\nlabels\n');
  await until('the chains are there', () =>
    node.run('iptables-save', '-t', 'mangle').includes(':KUBE-KUBELET-CANARY'),
  );
  const refused = kubelet.log.split('\n').filter((line) => /EPERM|EACCES|not permitted/.test(line));
  expect(refused.filter((line) => !isForLackOf.test(line))).toEqual([]);
});

it('has a node with which doctor finds nothing amiss but what is missing on purpose', () => {
  const flags = [
    '--kubelet',
    '--output=json',
    `--config=${join(node.folder, 'kubelet.json')}`,
    `--root-dir=${join(node.folder, 'kubelet')}`,
    '--hostname-override=n1',
  ];
  const main = join(root, 'src/cli/main.ts');
  // A failure is told by its status, too; which one it is says the report.
  const doctor = ['sh', '-c', '"$@" || test $? = 1', '', process.execPath, main, 'doctor'];
  const report = JSON.parse(node.run(...doctor, ...flags)) as {
    readonly status: string;
    readonly checks: readonly { id: string; status: string; text: string }[];
  };
  const of = (id: string): string => {
    const found = report.checks.find((each) => each.id === id);
    return `${found?.status}: ${found?.text}`;
  };
  expect(of('runtime.answer')).toMatch(/^ok: containerd v?\d+\.\d+/);
  expect(of('runtime.ready')).toBe('ok: it says that it is ready');
  expect(of('cgroup.driver')).toMatch(/^ok: cgroupfs, as the runtime(?: says)?$/);
  expect(of('cni.config')).toMatch(/^ok: 10-pods\.conflist in .*\/cni$/);
  expect(of('cni.network')).toBe('ok: the runtime says that it is ready');
  expect(of('mount.shared')).toMatch(/^ok: /);
  expect(of('port.server')).toMatch(/^ok: 10250 is taken by /);
  expect(report.checks.filter(({ status }) => status === 'failure')).toEqual([]);
});

it('leaves the containers running when the service is stopped', async () => {
  const before = await running();
  expect(before).toHaveLength(1);
  await kubelet.stop();
  expect(await running()).toEqual(before);
  kubelet.start();
  await until('it is there again', () => kubelet.log.split('"started"').length > 2);
  expect(await running()).toEqual(before);
});
