import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** What writes rules when the node boots, or when an administrator says so. */
export interface BootRules {
  /** Firewalls that systemd starts: `nftables`, `ufw`. */
  readonly units: readonly string[];
  /** /etc/nftables.conf begins by flushing everything. */
  readonly nftablesFlushes: boolean;
  /** Files of saved rules that hold some of a service proxy. */
  readonly savedProxyRules: readonly string[];
  readonly ufwEnabled: boolean;
}

const known = new Set([
  'nftables',
  'ufw',
  'firewalld',
  'iptables',
  'ip6tables',
  'netfilter-persistent',
  'shorewall',
  'ferm',
]);

const savedFiles = [
  'etc/iptables/rules.v4',
  'etc/iptables/rules.v6',
  'etc/sysconfig/iptables',
  'etc/sysconfig/ip6tables',
  'etc/iptables/iptables.rules',
];

/** More of a file is not looked at. */
const mostBytes = 16 * 1024 * 1024;

/** Reads what is configured under `root`. In a container these are the image's own files, which say nothing of the node. */
export async function readBootRules(root = '/'): Promise<BootRules> {
  const saved: string[] = [];
  for (const file of savedFiles) {
    if (/^(?::|-A )KUBE-/m.test(await readText(join(root, file)))) saved.push(join('/', file));
  }
  const nftables = await readText(join(root, 'etc/nftables.conf'));
  const ufw = await readText(join(root, 'etc/ufw/ufw.conf'));
  return {
    units: await enabledUnits(join(root, 'etc/systemd/system')),
    nftablesFlushes: /^\s*flush\s+ruleset\b/m.test(nftables),
    savedProxyRules: saved,
    ufwEnabled: /^ENABLED=yes\b/m.test(ufw),
  };
}

/** systemd keeps a link in a folder `TARGET.wants` for each unit that is to be started. */
async function enabledUnits(folder: string): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const target of await readdir(folder).catch(() => [])) {
    if (!/\.(wants|requires)$/.test(target)) continue;
    for (const unit of await readdir(join(folder, target)).catch(() => [])) {
      const name = unit.replace(/\.service$/, '');
      if (known.has(name)) found.add(name);
    }
  }
  return [...found].toSorted();
}

async function readText(path: string): Promise<string> {
  try {
    if ((await stat(path)).size > mostBytes) return '';
    return await readFile(path, 'utf8');
  } catch {
    return '';
  }
}
