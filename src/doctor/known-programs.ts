import type { NodeProcess } from '../host/node-processes.ts';
import { failure, kernelWays, ok, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { Subject } from './check.ts';
import { ruleWays } from './finding.ts';

/** What is known of a program that writes rules, too. */
export interface KnownProgram {
  /** The end of the finding's id: `writer.firewalld`. */
  readonly id: string;
  readonly name: string;
  /** Names of its processes. */
  readonly processes: readonly string[];
  /** Chains of iptables by which it is seen without its process: `filter DOCKER`. */
  readonly chains?: RegExp;
  /** Tables of nft by which it is seen: `inet firewalld`. */
  readonly nftTables?: RegExp;
  /** What that means here. `who`: how it was seen, in words. */
  judge(who: string, seen: NodeProcess | undefined, subject: Subject): Finding;
}

const idOf = (name: string): string => `writer.${name}`;

/** Whether a command line has `--flag`, or `--flag=true`; undefined where it says nothing. */
function flagOf(seen: NodeProcess | undefined, flag: string): boolean | undefined {
  const word = seen?.argv.find((each) => each === flag || each.startsWith(`${flag}=`));
  return word === undefined ? undefined : !/=(false|0)$/i.test(word);
}

const flush =
  'a reload that flushes all of filter or nat takes Services down until the next look (--iptables-sync-period)';

function harmless(id: string, words: string): KnownProgram['judge'] {
  return (who) => ok(idOf(id), `${who}: ${words}`, ruleWays);
}

/** Programs that translate or filter packets on nodes. Sorted by what they are: proxies, firewalls, networks. */
export const knownPrograms: readonly KnownProgram[] = [
  {
    id: 'kube-router',
    name: 'kube-router',
    processes: ['kube-router'],
    chains: /^nat KUBE-ROUTER-SERVICES$/,
    judge: (who, seen) =>
      flagOf(seen, '--run-service-proxy') === false
        ? ok(idOf('kube-router'), `${who}, without its service proxy`, ruleWays)
        : failure(
            idOf('kube-router'),
            `${who}: its service proxy makes virtual servers for the same Services`,
            'give kube-router --run-service-proxy=false, then run kube-router --cleanup-config once',
            ruleWays,
          ),
  },
  {
    id: 'k3s',
    name: 'k3s',
    processes: ['k3s', 'k3s-server', 'k3s-agent'],
    judge: (who, seen) =>
      flagOf(seen, '--disable-kube-proxy') === true
        ? ok(idOf('k3s'), `${who}, without kube-proxy`, ruleWays)
        : warning(
            idOf('k3s'),
            `${who}: it may run a kube-proxy inside`,
            'start its servers with --disable-kube-proxy (or disable-kube-proxy: true in its configuration file)',
            ruleWays,
          ),
  },
  {
    id: 'kubelite',
    name: 'MicroK8s',
    processes: ['kubelite'],
    judge: (who) =>
      warning(
        idOf('kubelite'),
        `${who}: it runs a kube-proxy inside`,
        'give it --start-kube-proxy=false',
        ruleWays,
      ),
  },
  {
    id: 'cilium',
    name: 'Cilium',
    processes: ['cilium-agent'],
    chains: /^\w+ CILIUM_/,
    judge: (who) =>
      warning(
        idOf('cilium'),
        `${who}: with kubeProxyReplacement it translates for the same Services, before any rule`,
        'see cilium-dbg status | grep KubeProxyReplacement: it has to be False; set kubeProxyReplacement: "false"',
        ruleWays,
      ),
  },
  {
    id: 'antrea',
    name: 'Antrea',
    processes: ['antrea-agent'],
    judge: (who) =>
      warning(
        idOf('antrea'),
        `${who}: AntreaProxy translates for pods, and with proxyAll for everybody`,
        'set antreaProxy.proxyAll: false',
        ruleWays,
      ),
  },
  {
    id: 'kube-proxy-nftables',
    name: 'kube-proxy in nftables mode',
    processes: [],
    nftTables: /^ip6? kube-proxy$/,
    judge: (who) =>
      failure(
        idOf('kube-proxy-nftables'),
        `${who}: its rules translate for the same Services`,
        'end it; then nft delete table ip kube-proxy; nft delete table ip6 kube-proxy',
        ruleWays,
      ),
  },
  {
    id: 'firewalld',
    name: 'firewalld',
    processes: ['firewalld'],
    nftTables: /^(inet|ip6?) firewalld$/,
    judge: (who, _, { config }) =>
      warning(
        idOf('firewalld'),
        `${who}: it rejects what it forwards unless a zone lets it; ${flush}`,
        `firewall-cmd --permanent --zone=trusted --add-source=${config.clusterCidrs[0] ?? 'THE-PODS-CIDR'} && firewall-cmd --reload; or disable it`,
        kernelWays,
      ),
  },
  {
    id: 'ufw',
    name: 'ufw',
    processes: [],
    chains: /^filter ufw6?-/,
    judge: (who) =>
      warning(
        idOf('ufw'),
        `${who}: by default it drops what is forwarded; ${flush}`,
        'set DEFAULT_FORWARD_POLICY="ACCEPT" in /etc/default/ufw and run ufw reload; or disable it',
        kernelWays,
      ),
  },
  {
    id: 'docker',
    name: 'Docker',
    processes: ['dockerd'],
    chains: /^(filter|nat) DOCKER/,
    judge: harmless('docker', 'it sets the policy of FORWARD to DROP; see forward.ipv4'),
  },
  {
    id: 'calico',
    name: 'Calico',
    processes: ['calico-node', 'felix'],
    chains: /^\w+ cali-/,
    judge: (who, _, { config }) =>
      config.masqueradeBit >= 16
        ? warning(
            idOf('calico'),
            `${who}: its marks begin at bit 16, and --iptables-masquerade-bit is ${config.masqueradeBit}`,
            'leave --iptables-masquerade-bit at 14, or set iptablesMarkMask of Felix',
            kernelWays,
          )
        : ok(idOf('calico'), `${who}: its marks and ours do not meet`, ruleWays),
  },
  {
    id: 'flannel',
    name: 'flannel',
    processes: ['flanneld'],
    chains: /^\w+ FLANNEL-/,
    judge: (who, _, { config }) =>
      config.masqueradeBit === 14
        ? ok(idOf('flannel'), `${who}: it leaves our mark 0x4000 alone`, ruleWays)
        : warning(
            idOf('flannel'),
            `${who}: its masquerading knows the mark 0x4000, and --iptables-masquerade-bit is ${config.masqueradeBit}`,
            'leave --iptables-masquerade-bit at 14',
            kernelWays,
          ),
  },
  {
    id: 'node-local-dns',
    name: 'NodeLocal DNSCache',
    processes: ['node-cache'],
    judge: harmless('node-local-dns', 'its untracked packets pass all our rules by'),
  },
  {
    id: 'portmap',
    name: 'CNI portmap (hostPort)',
    processes: [],
    chains: /^nat CNI-HOSTPORT-DNAT$/,
    judge: harmless(
      'portmap',
      'of a number that is a hostPort and a node port the chain that comes first wins',
    ),
  },
  {
    id: 'keepalived',
    name: 'keepalived',
    processes: ['keepalived'],
    judge: harmless('keepalived', 'its virtual servers are left alone'),
  },
  {
    id: 'metallb',
    name: 'MetalLB',
    processes: ['speaker', 'metallb-speaker'],
    judge: (who, _, { config }) =>
      config.mode === 'ipvs' && !config.ipvs.strictArp
        ? warning(
            idOf('metallb'),
            `${who}: without strict ARP every node answers for its addresses`,
            'give --ipvs-strict-arp',
            ['ipvs'],
          )
        : ok(idOf('metallb'), who, ruleWays),
  },
];
