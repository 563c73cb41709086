import type { Pod } from '../pod/pod.ts';

/** Those that touch only their own pod, on every kernel that is in use (Kubernetes: Using sysctls in a Kubernetes Cluster). */
const safe: ReadonlySet<string> = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_wmem',
]);
const ipc = /^kernel\.(?:shm|msg|sem)|^fs\.mqueue\./;

/** What is wrong with the sysctls of a pod; undefined: nothing. `allowed`: further ones, `*` at an end stands for any rest. */
export function forbiddenSysctl(
  { spec }: Pick<Pod, 'spec'>,
  allowed: readonly string[],
): string | undefined {
  for (const { name } of spec.securityContext.sysctls ?? []) {
    const dotted = name.replaceAll('/', '.');
    if (dotted.startsWith('net.') && spec.hostNetwork)
      return `forbidden sysctl: ${JSON.stringify(name)} not allowed with host net enabled`;
    if (ipc.test(dotted) && spec.hostIPC)
      return `forbidden sysctl: ${JSON.stringify(name)} not allowed with host ipc enabled`;
    const isAllowed = safe.has(dotted) || allowed.some((each) => covers(each, dotted));
    if (!isAllowed) return `forbidden sysctl: ${JSON.stringify(name)} not allowlisted`;
  }
  return undefined;
}

function covers(pattern: string, name: string): boolean {
  const dotted = pattern.replaceAll('/', '.');
  return dotted.endsWith('*') ? name.startsWith(dotted.slice(0, -1)) : dotted === name;
}
