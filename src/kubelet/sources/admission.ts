import type { Pod, Toleration } from '../pod/pod.ts';
import { qosClassOf } from '../pod/qos.ts';
import { milliUnits, wholeUnits } from '../pod/quantity.ts';
import type { Quantity } from '../pod/quantity.ts';
import { podRequests } from '../pod/resources.ts';
import type { Amounts } from '../pod/resources.ts';
import { matchesNode } from './node-affinity.ts';
import { isCriticalPod, isStaticPod } from './sourced-pod.ts';
import { forbiddenSysctl } from './sysctls.ts';

/** What a node is, as far as pods are let onto it by that. */
export interface AdmissionNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly {
    readonly key: string;
    readonly value?: string;
    readonly effect: string;
  }[];
  /** What pods may ask for together, `pods` among it: as it is published. */
  readonly allocatable: Amounts;
  /** Conditions that are true: `MemoryPressure`, `DiskPressure`, `PIDPressure`. */
  readonly pressures: ReadonlySet<string>;
  readonly isShuttingDown: boolean;
  readonly allowedUnsafeSysctls: readonly string[];
  readonly hasAppArmor: boolean;
  /** Whether the runtime knows supplementalGroupsPolicy. */
  readonly hasGroupsPolicy: boolean;
}

/** Why a pod is not let onto the node: it has failed, for good. */
export interface Rejection {
  readonly reason: string;
  /** As its status has it. */
  readonly message: string;
}

/** A pod that has come, and those that are on the node and have not ended. */
export interface AdmissionInput {
  readonly pod: Pod;
  readonly others: readonly Pod[];
  readonly node: AdmissionNode;
}

type Check = (input: AdmissionInput) => Rejection | undefined;

const checks: readonly Check[] = [
  underPressure,
  sysctls,
  operatingSystem,
  groupsPolicy,
  appArmor,
  shutdown,
  predicates,
  resources,
];

/** undefined: it may run. Asked once, when it comes. */
export function rejection(input: AdmissionInput): Rejection | undefined {
  for (const check of checks) {
    const found = check(input);
    if (found !== undefined)
      return { reason: found.reason, message: `Pod was rejected: ${found.message}` };
  }
  return undefined;
}

function underPressure({ pod, node }: AdmissionInput): Rejection | undefined {
  const { pressures } = node;
  if (pressures.size === 0 || isCriticalPod(pod)) return undefined;
  if (pressures.size === 1 && pressures.has('MemoryPressure')) {
    const taint = { key: 'node.kubernetes.io/memory-pressure', effect: 'NoSchedule' };
    if (qosClassOf(pod) !== 'BestEffort' || tolerates(pod, taint)) return undefined;
  }
  const conditions = [...pressures].toSorted().join(' ');
  return { reason: 'Evicted', message: `The node had condition: [${conditions}]. ` };
}

function shutdown({ node }: AdmissionInput): Rejection | undefined {
  if (!node.isShuttingDown) return undefined;
  const message = 'Pod was rejected as the node is shutting down.';
  return { reason: 'NodeShutdown', message };
}

function sysctls({ pod, node }: AdmissionInput): Rejection | undefined {
  const message = forbiddenSysctl(pod, node.allowedUnsafeSysctls);
  return message === undefined ? undefined : { reason: 'SysctlForbidden', message };
}

function operatingSystem({ pod, node }: AdmissionInput): Rejection | undefined {
  const label = pod.spec.nodeSelector?.['kubernetes.io/os'];
  if (label !== undefined && label !== (node.labels['kubernetes.io/os'] ?? 'linux')) {
    const message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
    return { reason: 'PodOSSelectorNodeLabelDoesNotMatch', message };
  }
  if ((pod.spec.os?.name ?? 'linux') === 'linux') return undefined;
  const message = "Failed to admit pod as the OS field doesn't match node OS";
  return { reason: 'PodOSNotSupported', message };
}

function groupsPolicy({ pod, node }: AdmissionInput): Rejection | undefined {
  if (node.hasGroupsPolicy) return undefined;
  if (pod.spec.securityContext.supplementalGroupsPolicy !== 'Strict') return undefined;
  const message = 'SupplementalGroupsPolicy=Strict is not supported in this node';
  return { reason: 'SupplementalGroupsPolicyNotSupported', message };
}

function appArmor({ pod, node }: AdmissionInput): Rejection | undefined {
  if (node.hasAppArmor) return undefined;
  const { spec } = pod;
  const profiles = [
    spec.securityContext.appArmorProfile,
    ...[...spec.initContainers, ...spec.containers].map(
      ({ securityContext }) => securityContext?.appArmorProfile,
    ),
  ];
  const asks = profiles.some((each) => each !== undefined && each.type !== 'Unconfined');
  if (!asks) return undefined;
  const message = 'Cannot enforce AppArmor: AppArmor is not enabled on the host';
  return { reason: 'AppArmor', message };
}

function predicates({ pod, others, node }: AdmissionInput): Rejection | undefined {
  if (pod.spec.nodeName !== '' && pod.spec.nodeName !== node.name)
    return failed('NodeName', "node(s) didn't match the requested node name");
  if (!matchesNode(pod, node))
    return failed('NodeAffinity', "node(s) didn't match Pod's node affinity/selector");
  if (portsTaken(pod, others))
    return failed('NodePorts', "node(s) didn't have free ports for the requested pod ports");
  const taint = node.taints.find((each) => each.effect === 'NoExecute' && !tolerates(pod, each));
  if (taint === undefined || isStaticPod(pod)) return undefined;
  return failed('TaintToleration', "node(s) had taints that the pod didn't tolerate");
}

function failed(predicate: string, why: string): Rejection {
  return { reason: predicate, message: `Predicate ${predicate} failed: ${why}` };
}

/** A critical pod runs though there is no room: nothing is ended for it. */
function resources({ pod, others, node }: AdmissionInput): Rejection | undefined {
  if (isCriticalPod(pod)) return undefined;
  const wanted = new Map([...podRequests(pod), ['pods', one]]);
  for (const [name, amount] of wanted) {
    const capacity = node.allocatable.get(name);
    if (capacity === undefined || amount === 0n) continue;
    const used = others
      .map((other) => (name === 'pods' ? one : (podRequests(other).get(name) ?? 0n)))
      .reduce((sum, each) => sum + each, 0n);
    if (used + amount <= capacity) continue;
    const [requested, taken, all] = [amount, used, capacity].map((each) => units(name, each));
    const message = `Node didn't have enough resource: ${name}, requested: ${requested}, used: ${taken}, capacity: ${all}`;
    return { reason: `OutOf${name}`, message };
  }
  return undefined;
}

const one: Quantity = 1_000_000_000n;

function units(name: string, amount: Quantity): bigint {
  return name === 'cpu' ? milliUnits(amount) : wholeUnits(amount);
}

interface HostPort {
  readonly port: number;
  readonly protocol: string;
  readonly ip: string;
}

function portsTaken(pod: Pod, others: readonly Pod[]): boolean {
  const wanted = hostPorts(pod);
  if (wanted.length === 0) return false;
  const taken = others.flatMap(hostPorts);
  return wanted.some((port) => taken.some((other) => collide(port, other)));
}

function hostPorts({ spec }: Pod): readonly HostPort[] {
  return [
    ...spec.initContainers.filter((each) => each.restartPolicy === 'Always'),
    ...spec.containers,
  ]
    .flatMap(({ ports }) => ports)
    .filter(({ hostPort = 0 }) => hostPort > 0)
    .map(({ hostPort = 0, protocol, hostIP = '' }) => ({
      port: hostPort,
      protocol,
      ip: hostIP === '' ? '0.0.0.0' : hostIP,
    }));
}

function collide(a: HostPort, b: HostPort): boolean {
  if (a.port !== b.port || a.protocol !== b.protocol) return false;
  return a.ip === b.ip || a.ip === '0.0.0.0' || b.ip === '0.0.0.0';
}

function tolerates(
  { spec }: Pod,
  taint: { readonly key: string; readonly value?: string; readonly effect: string },
): boolean {
  return (spec.tolerations ?? []).some((each) => toleratesTaint(each, taint));
}

function toleratesTaint(
  { key = '', operator = 'Equal', value = '', effect = '' }: Toleration,
  taint: { readonly key: string; readonly value?: string; readonly effect: string },
): boolean {
  if (effect !== '' && effect !== taint.effect) return false;
  if (key === '') return operator === 'Exists';
  return key === taint.key && (operator === 'Exists' || value === (taint.value ?? ''));
}
