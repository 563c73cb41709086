import { parseAddress } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import { cidrFamily, parseCidr } from '../ip/cidr.ts';
import type { Cidr } from '../ip/cidr.ts';
import type { FlagValues } from './flag-table.ts';
import type {
  BindConfig,
  ConntrackConfig,
  DetectLocalConfig,
  LoggingConfig,
  NodePortAddressesConfig,
  ProxyConfig,
  SourceConfig,
} from './proxy-config.ts';

const modes = {
  iptables: 'iptables',
  later: ['ipvs', 'nftables', 'userspace'],
} as const;

/**
 * Reads and validates the proxy's settings one by one. A value that cannot be used adds to
 * `problems` and gives a stand-in, so that one run tells of all of them.
 */
export class ProxyFields {
  readonly problems: string[] = [];
  readonly #flags: FlagValues;

  constructor(flags: FlagValues) {
    this.#flags = flags;
  }

  mode(): 'iptables' {
    const mode = this.#flags.text('mode');
    if (mode === '' || mode === modes.iptables) return modes.iptables;
    const known = modes.later.some((each) => each === mode);
    const what = known ? 'is not built yet' : 'is not a mode';
    this.#problem('mode', `${JSON.stringify(mode)} ${what}; modes that exist: iptables`);
    return modes.iptables;
  }

  source(): SourceConfig {
    const given = this.#flags.list('source');
    const paths: string[] = [];
    const others = new Set<string>();
    for (const source of given) {
      if (source.startsWith('file:') && source.length > 5) paths.push(source.slice(5));
      else others.add(source);
    }
    const [other = 'kubernetes'] = others;
    if (others.size + (paths.length > 0 ? 1 : 0) > 1) {
      this.#problem(
        'source',
        `${given.join(' and ')} cannot be mixed; only file:PATH may be repeated`,
      );
    }
    if (paths.length > 0) return this.#withoutCluster({ kind: 'files', paths });
    if (other === 'kubernetes') {
      const flags = this.#flags;
      return { kind: other, kubeconfig: flags.text('kubeconfig'), master: flags.text('master') };
    }
    if (!/^https?:\/\/./.test(other) || !URL.canParse(other)) {
      this.#problem(
        'source',
        `${JSON.stringify(other)} is not one of kubernetes, file:PATH or an http(s) URL`,
      );
    }
    return this.#withoutCluster({ kind: 'url', url: other });
  }

  hostnameOverride(): string {
    const name = this.#flags.text('hostnameOverride');
    const trimmed = name.trim().toLowerCase();
    if (name !== '' && trimmed === '') {
      this.#problem('hostname-override', 'is blank; give a node name or leave it out');
    }
    return trimmed;
  }

  bindAddress(): Address {
    const text = this.#flags.text('bindAddress');
    const address = parseAddress(text);
    if (address === undefined) {
      this.#problem('bind-address', `${JSON.stringify(text)} is not an IP address`);
    }
    return address ?? ('0.0.0.0' as Address);
  }

  /** One of the two servers: `ip:port`, where a missing port is the server's own. */
  bind(
    server: 'healthz' | 'metrics',
    port: number,
    v4: string,
    v6: string,
  ): BindConfig | undefined {
    const flags = this.#flags;
    const field = `${server}BindAddress`;
    const name = `${server}-bind-address`;
    const ownPort = flags.number(`${server}Port`);
    if (!flags.given(field)) {
      if (ownPort < 0 || ownPort > 65_535) this.#problem(`${server}-port`, 'is not 0 to 65535');
      const wide = flags.text('bindAddress').includes(':') ? v6 : v4;
      return ownPort === 0 ? undefined : { address: wide as Address, port: ownPort };
    }
    const text = flags.text(field);
    if (text === '') return undefined;
    const bind = parseBind(text, port);
    if (bind === undefined) {
      this.#problem(name, `${JSON.stringify(text)} is not IP:PORT with a port of 1 to 65535`);
    }
    return bind;
  }

  syncPeriods(): Pick<ProxyConfig, 'syncPeriodMs' | 'minSyncPeriodMs'> {
    const syncPeriodMs = this.#flags.number('iptablesSyncPeriod');
    const minSyncPeriodMs = this.#flags.number('iptablesMinSyncPeriod');
    if (syncPeriodMs <= 0) this.#problem('iptables-sync-period', 'must be above 0');
    if (minSyncPeriodMs < 0) this.#problem('iptables-min-sync-period', 'must not be negative');
    if (minSyncPeriodMs > syncPeriodMs) {
      this.#problem('iptables-min-sync-period', 'must not be above --iptables-sync-period');
    }
    return { syncPeriodMs, minSyncPeriodMs };
  }

  intWithin(name: string, field: string, min: number, max: number): number {
    const value = this.#flags.number(field);
    if (value < min || value > max) this.#problem(name, `${value} is not ${min} to ${max}`);
    return value;
  }

  detectLocal(): DetectLocalConfig {
    const flags = this.#flags;
    switch (flags.text('detectLocalMode')) {
      case 'NodeCIDR':
        return { mode: 'NodeCIDR' };
      case 'BridgeInterface': {
        const name = flags.text('podBridgeInterface');
        this.#needs(name, 'pod-bridge-interface', 'BridgeInterface');
        return { mode: 'BridgeInterface', name };
      }
      case 'InterfaceNamePrefix': {
        const prefix = flags.text('podInterfaceNamePrefix');
        this.#needs(prefix, 'pod-interface-name-prefix', 'InterfaceNamePrefix');
        return { mode: 'InterfaceNamePrefix', prefix };
      }
      default:
        return { mode: 'ClusterCIDR' };
    }
  }

  clusterCidrs(): readonly Cidr[] {
    const text = this.#flags.text('clusterCidr').trim();
    if (text === '') return [];
    const cidrs = this.#cidrs('cluster-cidr', text.split(','));
    const families = new Set(cidrs.map(cidrFamily));
    if (families.size < cidrs.length) {
      this.#problem('cluster-cidr', `${JSON.stringify(text)} has more than one CIDR of a family`);
    }
    return cidrs;
  }

  nodePortAddresses(): NodePortAddressesConfig {
    const list = this.#flags.list('nodeportAddresses');
    if (list.length === 0) return { kind: 'all' };
    if (!list.includes('primary')) {
      return { kind: 'cidrs', cidrs: this.#cidrs('nodeport-addresses', list) };
    }
    if (list.length > 1) {
      this.#problem('nodeport-addresses', '`primary` cannot be mixed with CIDRs');
    }
    return { kind: 'primary' };
  }

  conntrack(): ConntrackConfig {
    const read = (name: string, field: string): number => {
      const value = this.#flags.number(field);
      if (value < 0) this.#problem(name, 'must not be negative');
      return value;
    };
    return {
      maxPerCore: read('conntrack-max-per-core', 'conntrackMaxPerCore'),
      min: read('conntrack-min', 'conntrackMin'),
      tcpEstablishedTimeoutMs: read(
        'conntrack-tcp-timeout-established',
        'conntrackTcpTimeoutEstablished',
      ),
      tcpCloseWaitTimeoutMs: read(
        'conntrack-tcp-timeout-close-wait',
        'conntrackTcpTimeoutCloseWait',
      ),
      tcpBeLiberal: this.#flags.bool('conntrackTcpBeLiberal'),
      udpTimeoutMs: read('conntrack-udp-timeout', 'conntrackUdpTimeout'),
      udpStreamTimeoutMs: read('conntrack-udp-timeout-stream', 'conntrackUdpTimeoutStream'),
    };
  }

  logging(): LoggingConfig {
    const format = this.#flags.text('loggingFormat');
    return {
      format: format === 'json' || format === 'text' ? format : 'auto',
      verbosity: this.#flags.number('verbosity'),
    };
  }

  #withoutCluster<T extends SourceConfig>(source: T): T {
    for (const name of ['kubeconfig', 'master']) {
      if (this.#flags.text(name) === '') continue;
      this.#problem(name, `conflicts with --source=${this.#flags.list('source')[0] ?? ''}`);
    }
    return source;
  }

  #needs(value: string, name: string, mode: string): void {
    if (value === '') this.#problem(name, `is needed with --detect-local-mode=${mode}`);
  }

  #cidrs(name: string, texts: readonly string[]): readonly Cidr[] {
    const cidrs: Cidr[] = [];
    for (const text of texts) {
      const cidr = parseCidr(text.trim());
      if (cidr === undefined) this.#problem(name, `${JSON.stringify(text)} is not a CIDR`);
      else cidrs.push(cidr);
    }
    return cidrs;
  }

  #problem(name: string, text: string): void {
    this.problems.push(`--${name}: ${text}`);
  }
}

function parseBind(text: string, ownPort: number): BindConfig | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const bare = parseAddress(text.replace(/^\[(.*)\]$/, '$1'));
  if (!match) return bare === undefined ? undefined : { address: bare, port: ownPort };
  const address = parseAddress(match[1] ?? match[2] ?? '');
  const port = Number(match[3]);
  return address === undefined || port < 1 || port > 65_535 ? undefined : { address, port };
}
