/** What an operator brings to a node, as files of a folder: releases, configurations, images and static pods. */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { bundle } from '../../scripts/bundle.ts';
import { layOut, releaseFiles } from '../../scripts/release.ts';
import { chosenContainerd } from '../kubelet/containerd/build.ts';
import { busyboxImage, pauseImage } from '../kubelet/images.ts';

/** The release that is installed first, and the one after it. */
export const versions = ['1.0.0', '1.1.0'] as const;

/** Where the programs of containerd are, of the release that is chosen. */
const runtime = chosenContainerd().folder;
export const ctr = join(runtime, 'ctr');

/** What Debian's unit runs. It looks for its shim on the PATH. */
const containerdUnit = `[Service]
Environment=PATH=${runtime}:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=
ExecStart=${runtime}/containerd
`;

/** As docs/installing-the-kubelet.md has it for a node without a cluster, and limits of processes and of a shutdown. */
const kubeletYaml = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: systemd
staticPodPath: /etc/kubernetes/manifests
authentication: { webhook: { enabled: false } }
authorization: { mode: AlwaysAllow }
podPidsLimit: 100
shutdownGracePeriod: 45s
shutdownGracePeriodCriticalPods: 20s
`;

const kubeletEnv = `KUBELET_FLAGS="--config=/etc/switchyard/kubelet.yaml"\n`;

const cri = 'plugins."io.containerd.grpc.v1.cri"';
const containerdToml = `version = 2
[${cri}]
  sandbox_image = "docker.io/local/pause:1"
[${cri}.cni]
  bin_dir = "/usr/lib/cni"
[${cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[${cri}.containerd.runtimes.runc.options]
  SystemdCgroup = true
`;

const podNetwork = {
  cniVersion: '0.4.0',
  name: 'pods',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.244.1.0/24' }]] },
    },
  ],
};

/** Writes all of it. `shared`: where pods note what happens to them, and when by the clock of the machine, each in a file of its name. */
export async function writeNodeFiles(folder: string, shared: string): Promise<void> {
  const write = (path: string, text: string | Buffer): void => {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  write('etc/containerd/config.toml', containerdToml);
  write('etc/systemd/system/containerd.service.d/release.conf', containerdUnit);
  write('etc/cni/net.d/10-pods.conflist', JSON.stringify(podNetwork));
  write('etc/switchyard/kubelet.yaml', kubeletYaml);
  write('etc/switchyard/kubelet.env', kubeletEnv);
  for (const pod of pods(shared))
    write(`etc/kubernetes/manifests/${pod.metadata.name}.json`, JSON.stringify(pod));
  write('images/pause.tar', pauseImage().tar);
  write('images/busybox.tar', busyboxImage().tar);
  const program = join(folder, 'switchyard.mjs');
  await bundle('src/cli/main.ts', program);
  for (const version of versions) {
    appendFileSync(program, `\n// ${version}\n`);
    await layOut(releaseFiles(process.execPath, program), version, join(folder, version));
  }
}

function pods(shared: string): readonly StaticPod[] {
  const pod = podOf(shared);
  const resources = { requests: { cpu: '100m' }, limits: { cpu: '500m', memory: '64Mi' } };
  const preStop = { exec: { command: ['sh', '-c', `${noting('web')}; note preStop`] } };
  return [
    pod('brief', 'note TERM; exit 0', { container: { resources } }),
    pod('critical', 'note TERM; sleep 2; note end; exit 0', {
      spec: { priority: 2_000_001_000, priorityClassName: 'system-node-critical' },
    }),
    pod('stubborn', 'note TERM'),
    pod('web', 'note TERM; sleep 3; note end; exit 0', { container: { lifecycle: { preStop } } }),
  ];
}

interface StaticPod {
  readonly apiVersion: 'v1';
  readonly kind: 'Pod';
  readonly metadata: { readonly name: string };
  readonly spec: object;
}

const noting = (name: string): string =>
  `note() { read -r now idle </proc/uptime; echo "$now $1" >>/shared/${name}; }`;

/** `onTerm`: what it does when it is asked to end. */
const podOf =
  (shared: string) =>
  (name: string, onTerm: string, more: { spec?: object; container?: object } = {}): StaticPod => {
    const waits = 'note start; while true; do sleep 100000 & wait $!; done';
    const container = {
      name: 'main',
      image: 'docker.io/local/busybox:1',
      imagePullPolicy: 'Never',
      command: ['sh', '-c', `${noting(name)}; trap '${onTerm}' TERM; ${waits}`],
      volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
      ...more.container,
    };
    const volumes = [{ name: 'shared', hostPath: { path: shared } }];
    const spec = { terminationGracePeriodSeconds: 300, volumes, containers: [container] };
    return { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: { ...spec, ...more.spec } };
  };
