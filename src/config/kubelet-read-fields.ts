import type { FlagTable } from './flag-table.ts';
import {
  bool,
  duration,
  int,
  intSet,
  kubeletField,
  on,
  oneOf,
  pairs,
  text,
  texts,
} from './kubelet-field.ts';
import { kubeletServerFields } from './kubelet-server-table.ts';

const secondMs = 1000;
const minuteMs = 60 * secondMs;

/** What is read of KubeletConfiguration v1beta1. */
export const kubeletReadFields: FlagTable = [
  kubeletField(
    'staticPodPath',
    { ...text, flag: 'pod-manifest-path', placeholder: 'PATH' },
    'A file with a static pod, or a directory of such.',
  ),
  kubeletField(
    'fileCheckFrequency',
    duration(20 * secondMs),
    'How often static pods are looked for without being told of a change.',
  ),
  kubeletField(
    'staticPodURL',
    { ...text, flag: 'manifest-url', placeholder: 'URL' },
    'Where static pods are asked for: a Pod, or a list of such, as YAML or JSON.',
  ),
  kubeletField(
    'staticPodURLHeader',
    {
      type: 'list',
      item: 'header',
      flag: 'manifest-url-header',
      placeholder: 'NAME:VALUE,…',
    },
    'Headers that are sent there, and nowhere else; never logged. A command line can be read by others: the file is for what is secret.',
  ),
  kubeletField('httpCheckFrequency', duration(20 * secondMs), 'How often it is asked.'),
  kubeletField(
    'syncFrequency',
    duration(minuteMs),
    'How often a pod is compared with what runs, with half of it as jitter.',
  ),
  ...kubeletServerFields,
  kubeletField(
    'containerRuntimeEndpoint',
    {
      ...text,
      default: 'unix:///run/containerd/containerd.sock',
      flag: 'container-runtime-endpoint',
      placeholder: 'unix://PATH',
    },
    'The socket of the container runtime (CRI v1).',
  ),
  kubeletField(
    'imageServiceEndpoint',
    { ...text, flag: 'image-service-endpoint', placeholder: 'unix://PATH' },
    'The socket of its images, where that is another.',
  ),
  kubeletField('runtimeRequestTimeout', duration(2 * minuteMs), 'How long a call to it may take.'),
  kubeletField(
    'volumeStatsAggPeriod',
    duration(minuteMs),
    'How long the size of a volume counts; below 0: volumes are not measured.',
  ),
  kubeletField(
    'podLogsDir',
    { ...text, default: '/var/log/pods' },
    'Where the logs of containers are.',
  ),
  kubeletField(
    'clusterDNS',
    { ...texts, flag: 'cluster-dns', placeholder: 'IP,…' },
    'Name servers of pods with dnsPolicy ClusterFirst.',
  ),
  kubeletField(
    'clusterDomain',
    { ...text, flag: 'cluster-domain', placeholder: 'DOMAIN' },
    'The domain of the cluster, for their search list.',
  ),
  kubeletField(
    'resolvConf',
    {
      ...text,
      default: '/etc/resolv.conf',
      emptyCounts: true,
      flag: 'resolv-conf',
      placeholder: 'FILE',
    },
    'What pods get of the name service of the node; empty: a name server on the loopback address alone.',
  ),
  kubeletField(
    'cgroupRoot',
    { ...text, flag: 'cgroup-root', placeholder: 'CGROUP' },
    'All cgroups of pods are made below this one, and nothing outside of it is touched; one a node. Empty: /.',
  ),
  kubeletField(
    'cgroupsPerQOS',
    on,
    'Whether each pod has a cgroup, below that of its quality of service.',
  ),
  kubeletField(
    'cgroupDriver',
    oneOf('cgroupfs', 'systemd'),
    'Who makes cgroups, and how they are named: this process, or systemd as slices; a runtime that says it itself counts more.',
  ),
  kubeletField('cpuCFSQuota', on, 'Whether limits of CPU are enforced.'),
  kubeletField('cpuCFSQuotaPeriod', duration(100), 'The period by which.'),
  kubeletField('podPidsLimit', int(-1), 'Processes of a pod at most; -1: any number.'),
  kubeletField(
    'singleProcessOOMKill',
    bool,
    'Whether only one process of a container is killed for want of memory (cgroup v2).',
  ),
  kubeletField('maxPods', { ...intSet(110), flag: 'max-pods' }, 'Pods on this node at most.'),
  kubeletField('podsPerCore', int(0), 'Pods a CPU at most; 0: any number.'),
  kubeletField(
    'systemReserved',
    { ...pairs, flag: 'system-reserved' },
    'What of the node is for the system: cpu, memory, ephemeral-storage.',
  ),
  kubeletField(
    'kubeReserved',
    { ...pairs, flag: 'kube-reserved' },
    'What of it is for Kubernetes.',
  ),
  kubeletField('localStorageCapacityIsolation', on, 'Whether ephemeral storage is counted.'),
  kubeletField(
    'allowedUnsafeSysctls',
    { ...texts, flag: 'allowed-unsafe-sysctls' },
    'Sysctls of pods beyond the safe ones; a trailing * stands for any rest.',
  ),
  kubeletField(
    'seccompDefault',
    { ...bool, flag: 'seccomp-default' },
    "Whether containers that name no seccomp profile get the runtime's own.",
  ),
  kubeletField('serializeImagePulls', on, 'Whether images are pulled one after the other.'),
  kubeletField('maxParallelImagePulls', int(0), 'If not: so many at a time; 0: any number.'),
  kubeletField(
    'registryPullQPS',
    int(5),
    'Pulls a second at most, those beyond fail and are tried again; 0: any number.',
  ),
  kubeletField('registryBurst', intSet(10), 'So many at once.'),
  kubeletField('eventRecordQPS', int(50), 'Events a second at most; 0: any number.'),
  kubeletField('eventBurst', intSet(100), 'So many at once.'),
  kubeletField(
    'crashLoopBackOff.maxContainerRestartPeriod',
    { type: 'duration', default: 300 * secondMs },
    'How long a container that keeps ending waits at most.',
  ),
  kubeletField(
    'containerLogMaxSize',
    { type: 'quantity', default: '10Mi' },
    'Logs that are as large are rotated.',
  ),
  kubeletField('containerLogMaxFiles', int(5), 'So many files of a container are kept.'),
  kubeletField(
    'containerLogMonitorInterval',
    duration(10 * secondMs),
    'How often logs are looked at.',
  ),
  kubeletField('containerLogMaxWorkers', int(1), 'So many are rotated at a time.'),
  kubeletField(
    'registerNode',
    { ...on, flag: 'register-node' },
    'Whether the Node object is made.',
  ),
  kubeletField(
    'registerWithTaints',
    {
      type: 'list',
      item: 'taint',
      flag: 'register-with-taints',
      placeholder: 'KEY=VALUE:EFFECT,…',
    },
    'Taints that it gets then.',
  ),
  kubeletField(
    'providerID',
    { ...text, flag: 'provider-id' },
    'What the cloud calls this machine.',
  ),
  kubeletField(
    'nodeStatusUpdateFrequency',
    duration(10 * secondMs),
    'How often the status of the node is worked out.',
  ),
  kubeletField(
    'nodeStatusReportFrequency',
    duration(5 * minuteMs),
    'How often it is written though nothing changed.',
  ),
  kubeletField('nodeLeaseDurationSeconds', intSet(40), 'The lease of the node.'),
  kubeletField('nodeStatusMaxImages', int(50), 'So many images are listed in it; -1: all.'),
  kubeletField(
    'oomScoreAdj',
    { ...int(-999), flag: 'oom-score-adj' },
    'The score of this process itself.',
  ),
  kubeletField(
    'makeIPTablesUtilChains',
    on,
    'Whether KUBE-IPTABLES-HINT and KUBE-KUBELET-CANARY are made.',
  ),
  kubeletField('logging.format', oneOf('', 'text', 'json'), 'As --log-format.'),
  kubeletField('logging.verbosity', int(0), 'As --v.'),
];
