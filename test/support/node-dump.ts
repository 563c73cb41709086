import type { NodeLab } from './node-lab.ts';

/** Everything a service proxy may change on a node, as text that can be compared. */
export interface NodeDump {
  /** By tool: what it prints, without time stamps, counters, and tables of empty ACCEPT chains. */
  readonly rules: Readonly<Record<string, string>>;
  readonly sets: string;
  readonly sysctls: string;
}

/** What the node looks like now, in both variants of the tools and both families. */
export async function dumpNode(lab: NodeLab): Promise<NodeDump> {
  const rules: Record<string, string> = {};
  for (const variant of ['nft', 'legacy']) {
    for (const base of ['iptables', 'ip6tables']) {
      const tool = `${base}-${variant}-save`;
      rules[tool] = plainRules(await lab.onNode(tool));
    }
  }
  const sets = await lab.onNode('ipset', 'save');
  const settings = await lab.onNode('sh', '-c', 'grep -rs "" /proc/sys/net || true');
  // What the kernel counts is no setting; schedulers that a test beside this one has loaded have some in all namespaces.
  const others = /nf_conntrack_count|\/lblcr?_expiration/;
  const sysctls = settings.split('\n').filter((line) => !others.test(line));
  return {
    rules,
    sets: plainSets(sets),
    sysctls: sysctls.toSorted().join('\n'),
  };
}

/** The rules of a dump that are not a service proxy's, by the names of its chains. */
export function withoutKubeRules({ rules }: NodeDump): NodeDump['rules'] {
  const all = Object.entries(rules);
  return Object.fromEntries(all.map(([tool, save]) => [tool, plainRules(withoutKube(save))]));
}

function withoutKube(save: string): string {
  const lines = save.split('\n');
  return lines.filter((line) => !line.includes('KUBE-')).join('\n');
}

/** Members come and go with traffic. */
function plainSets(save: string): string {
  const sets = save.split('\n').filter((line) => line.startsWith('create '));
  return sets
    .map((line) => line.replace(/ (initval|bucketsize|hashsize) .*$/, ''))
    .toSorted()
    .join('\n');
}

/** A dump without what differs between any two, each table in its place. */
export function plainRules(save: string): string {
  const tables = save
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.replace(/ \[\d+:\d+\]$/, ''))
    .join('\n')
    .split(/\n(?=\*)/)
    .filter((table) => /^-A |^:\S+ (?!ACCEPT$)/m.test(table));
  return tables.toSorted().join('\n');
}
