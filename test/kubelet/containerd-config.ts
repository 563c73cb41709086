/** How a node's containerd, of whichever release, and its pod network are set up. */
import { chosenContainerd } from './containerd/build.ts';

export interface NodePaths {
  readonly name: string;
  /** Everything of the node lies in here; short, for the socket's path. */
  readonly folder: string;
  /** `10.244.1.0/24`. */
  readonly podCidr: string;
}

const noise = ['snapshotter.v1.aufs', 'snapshotter.v1.btrfs', 'snapshotter.v1.devmapper']
  .concat(['snapshotter.v1.zfs', 'internal.v1.opt', 'tracing.processor.v1.otlp'])
  .concat(['internal.v1.tracing'])
  .map((plugin) => `"io.containerd.${plugin}"`)
  .join(', ');

export function containerdConfig(node: NodePaths): string {
  const isSecond = chosenContainerd().release === '2';
  return `version = ${isSecond ? 3 : 2}
root = "${node.folder}/root"
state = "${node.folder}/state"
disabled_plugins = [${noise}]
[grpc]
  address = "${node.folder}/containerd.sock"
${isSecond ? pluginsOfSecond(node) : pluginsOfFirst(node)}`;
}

/** Of 1.6 and 1.7: CRI is one plug-in. */
function pluginsOfFirst({ folder }: NodePaths): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `[${cri}]
  sandbox_image = "docker.io/local/pause:1"
${ofRuntime}
${ofStreams}
[${cri}.cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "${folder}/cni"
[${cri}.registry]
  config_path = "${folder}/certs.d"
[${cri}.containerd]
  snapshotter = "overlayfs"
${runc(cri)}`;
}

/** Of 2.x: containers and images have plug-ins of their own. */
function pluginsOfSecond({ folder }: NodePaths): string {
  const cri = 'plugins."io.containerd.cri.v1.runtime"';
  const images = 'plugins."io.containerd.cri.v1.images"';
  return `[plugins."io.containerd.grpc.v1.cri"]
${ofStreams}
# Nodes share the folder that its socket is in.
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[${images}]
  snapshotter = "overlayfs"
[${images}.pinned_images]
  sandbox = "docker.io/local/pause:1"
[${images}.registry]
  config_path = "${folder}/certs.d"
[${cri}]
${ofRuntime}
[${cri}.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "${folder}/cni"
[${cri}.containerd]
${runc(cri)}`;
}

const ofRuntime = `  # Without CAP_SYS_RESOURCE nothing may be lowered.
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true`;

const ofStreams = `  # It authenticates nobody.
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"`;

const runc = (cri: string): string => `  default_runtime_name = "runc"
[${cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[${cri}.containerd.runtimes.runc.options]
  SystemdCgroup = false
`;

export function cniConfig({ folder, podCidr }: NodePaths): string {
  const ipam = {
    type: 'host-local',
    ranges: [[{ subnet: podCidr }]],
    routes: [{ dst: '0.0.0.0/0' }],
    dataDir: `${folder}/cni-data`,
  };
  return JSON.stringify({
    cniVersion: '0.4.0',
    name: 'pods',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        ipMasq: false,
        hairpinMode: true,
        mtu: 1500,
        ipam,
      },
      { type: 'portmap', capabilities: { portMappings: true }, snat: true },
    ],
  });
}
