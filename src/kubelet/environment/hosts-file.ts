import type { PodSpec } from '../pod/pod.ts';

type Aliases = PodSpec['hostAliases'];

/** `/etc/hosts` of a pod with a network of its own (Kubernetes: Adding entries to Pod /etc/hosts with HostAliases). `domain`: '' for none. */
export function hostsFile(
  podIPs: readonly string[],
  { hostname, domain }: { readonly hostname: string; readonly domain: string },
  aliases: Aliases,
): string {
  const names = domain === '' ? [hostname] : [`${hostname}.${domain}`, hostname];
  const lines = [
    '# Kubernetes-managed hosts file.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'fe00::0\tip6-mcastprefix',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    ...podIPs.map((ip) => [ip, ...names].join('\t')),
  ];
  return `${lines.join('\n')}\n${aliasLines(aliases)}`;
}

/** The same with the node's network: what the node's own file has, and the aliases. */
export function nodeHostsFile(nodeFile: string, aliases: Aliases): string {
  return `# Kubernetes-managed hosts file (host network).\n${nodeFile}${aliasLines(aliases)}`;
}

function aliasLines(aliases: Aliases = []): string {
  if (aliases.length === 0) return '';
  const lines = aliases.map(({ ip, hostnames = [] }) => [ip, ...hostnames].join('\t'));
  return `\n# Entries added by HostAliases.\n${lines.join('\n')}\n`;
}
