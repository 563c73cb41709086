import type { FlagSpec, FlagTable } from './flag-table.ts';
import { kubeletIdleFields } from './kubelet-idle-fields.ts';
import { kubeletReadFields } from './kubelet-read-fields.ts';
import { kubeletUpkeepFields } from './kubelet-upkeep-table.ts';

/** Also of the commands that ask the kubelet. */
export const kubeletSocketFlag: FlagSpec = {
  name: 'admin-socket',
  type: 'string',
  placeholder: 'FILE',
  help: 'The unix socket at which the kubelet answers ps, logs, exec and status; empty: nowhere. Default: /run/switchyard/kubelet.sock.',
};

/** Flags that no field of the file says. */
const ownFlags: FlagTable = [
  {
    name: 'config',
    type: 'string',
    placeholder: 'FILE',
    help: 'A KubeletConfiguration file. Flags count more than what it says.',
  },
  {
    name: 'config-dir',
    type: 'string',
    placeholder: 'DIRECTORY',
    help: 'Files *.conf of it are read after --config, sorted by name; later ones count more.',
  },
  {
    name: 'kubeconfig',
    type: 'string',
    placeholder: 'FILE',
    help: 'Kubeconfig with the API server and credentials. Without it only static pods are run, and port 10250 is there only where --authorization-mode, --port or enableServer ask for it.',
  },
  {
    name: 'source',
    type: 'list',
    whole: true,
    placeholder: 'SOURCE',
    help: 'Where pods come from: kubernetes (with --kubeconfig), file:PATH, which is the same as --pod-manifest-path, and url:URL, the same as --manifest-url. May be repeated. Default: all that is configured.',
  },
  {
    name: 'hostname-override',
    type: 'string',
    placeholder: 'NAME',
    help: "Name of this node; default: the machine's host name in lower case.",
  },
  {
    name: 'node-ip',
    type: 'list',
    placeholder: 'IP,…',
    help: 'Addresses of this node, at most one of a family. Default: found out.',
  },
  {
    name: 'node-labels',
    type: 'list',
    item: 'pair',
    placeholder: 'NAME=VALUE,…',
    help: 'Labels that the node gets when it is registered.',
  },
  {
    name: 'root-dir',
    type: 'string',
    default: '/var/lib/kubelet',
    placeholder: 'DIRECTORY',
    help: 'Where the files of pods are kept.',
  },
  {
    name: 'cert-dir',
    type: 'string',
    default: '',
    placeholder: 'DIRECTORY',
    help: 'Where certificates are kept that nobody has given. Default: pki below --root-dir.',
  },
  kubeletSocketFlag,
  {
    name: 'cloud-provider',
    type: 'enum',
    values: ['', 'external'],
    default: '',
    help: 'external: a cloud controller says what the addresses of the node are.',
  },
  {
    name: 'v',
    short: 'v',
    type: 'int',
    default: 0,
    field: 'verbosity',
    placeholder: 'N',
    help: 'How much is logged: 0 to 10.',
  },
  {
    name: 'log-format',
    type: 'enum',
    values: ['', 'auto', 'json', 'text'],
    default: '',
    help: 'auto: text on a terminal, else JSON.',
  },
  {
    name: 'bootstrap-kubeconfig',
    type: 'string',
    default: '',
    placeholder: 'FILE',
    help: 'By this one, of a bootstrap token say, a first client certificate is asked for where --kubeconfig is not there or has expired; that file is written then.',
  },
  {
    name: 'image-credential-provider-config',
    type: 'string',
    default: '',
    placeholder: 'FILE',
    help: 'A CredentialProviderConfig: programs that give credentials for registries. With --image-credential-provider-bin-dir.',
  },
  {
    name: 'image-credential-provider-bin-dir',
    type: 'string',
    default: '',
    placeholder: 'DIRECTORY',
    help: 'Where these programs lie.',
  },
  {
    name: 'pod-infra-container-image',
    type: 'string',
    default: '',
    help: 'The image of sandboxes.',
    noEffect: 'the container runtime chooses the image of sandboxes',
  },
  {
    name: 'runtime-cgroups',
    type: 'string',
    default: '',
    help: 'The cgroup of the runtime.',
    noEffect: 'the container runtime is not moved between cgroups, nor measured',
  },
];

/** All that `switchyard kubelet` takes: flags, and fields of KubeletConfiguration v1beta1. */
export const kubeletFlags: FlagTable = [
  ...ownFlags,
  ...kubeletReadFields,
  ...kubeletUpkeepFields,
  ...kubeletIdleFields,
];
