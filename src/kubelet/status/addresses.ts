import { isIPv6 } from 'node:net';
import type { PodStatus } from '../pod/pod-status.ts';
import type { StatusInput } from './status-input.ts';

type Addresses = Pick<PodStatus, 'podIP' | 'podIPs' | 'hostIP' | 'hostIPs'>;

/** The addresses of a pod and of its node (`PodStatus.podIPs`, `hostIPs`): the node's first family first, one of a family. */
export function addressesOf({ pod, runtime, previous, hostIPs }: StatusInput): Addresses {
  const before = (previous.podIPs ?? []).map(({ ip }) => ip);
  const sandbox = runtime?.sandboxes.find(({ state }) => state === 'ready');
  const found = pod.spec.hostNetwork
    ? kept(before, hostIPs)
    : onePerFamily(sandbox?.ips ?? [], hostIPs[0]);
  // a pod that has ended keeps the address by which others knew it
  const podIPs = found.length === 0 ? before : found;
  return { ...fields('hostIP', 'hostIPs', hostIPs), ...fields('podIP', 'podIPs', podIPs) };
}

/** Once a pod has the node's addresses they stay, but a second family may come. */
function kept(before: readonly string[], hostIPs: readonly string[]): readonly string[] {
  const all = onePerFamily([...before, ...hostIPs], before[0]);
  return before.length === 0 ? onePerFamily(hostIPs, hostIPs[0]) : all;
}

function onePerFamily(ips: readonly string[], first: string | undefined): readonly string[] {
  const v4 = ips.find((ip) => !isIPv6(ip));
  const v6 = ips.find(isIPv6);
  const sorted = first !== undefined && isIPv6(first) ? [v6, v4] : [v4, v6];
  return sorted.filter((ip) => ip !== undefined);
}

function fields(
  one: 'podIP' | 'hostIP',
  all: 'podIPs' | 'hostIPs',
  ips: readonly string[],
): Addresses {
  const [first] = ips;
  return first === undefined ? {} : { [one]: first, [all]: ips.map((ip) => ({ ip })) };
}
