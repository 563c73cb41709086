import { parseAddress } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import { cidrFamily, parseCidr } from '../ip/cidr.ts';
import type { Cidr } from '../ip/cidr.ts';
import type { FlagValues } from './flag-table.ts';
import { readCompatible } from './compatible-fields.ts';
import { allowsIpvs } from './feature-gates.ts';
import { nftablesFields } from './file-fields.ts';
import { readIpvs, readSyncPeriods, warnOfOthers } from './ipvs-fields.ts';
import type { FieldReport } from './ipvs-fields.ts';
import { ipvsFlags } from './ipvs-flags.ts';
import { refuse } from './problems.ts';
import type { FieldProblem } from './problems.ts';
import { readUserspace } from './userspace-fields.ts';
import { readTraffic } from './traffic-fields.ts';
import { userspaceFlags } from './userspace-flags.ts';
import { bindText, bindsCollide, parseBind } from './bind-address.ts';
import type {
  BindConfig,
  ConntrackConfig,
  DetectLocalConfig,
  IpvsConfig,
  LoggingConfig,
  NodePortAddressesConfig,
  ProxyConfig,
  SourceConfig,
  TrafficConfig,
  UserspaceConfig,
} from './proxy-config.ts';

const modes = {
  usual: 'iptables',
  built: ['iptables', 'ipvs', 'userspace'],
  later: ['nftables'],
} as const;

const hints = {
  address: 'give an address such as 192.0.2.1 or 2001:db8::1',
  bind: 'give an address with a port, such as 0.0.0.0:10256 or [::]:10256; empty for none',
  cidr: 'give ADDRESS/BITS, such as 10.244.0.0/16 or fd00:10:244::/56',
} as const;

const loopbacks = ['127.0.0.0/8', '::1/128'] as const;

/** Settings of a mode that is not used are nobody's problem. */
const deaf: FieldReport = { problem: () => {}, warn: () => {}, cidrs: () => [] };

/**
 * Reads and validates the proxy's settings one by one. A value that cannot be used adds a problem
 * and gives a stand-in, so that one run tells of all of them.
 */
export class ProxyFields {
  readonly #problems: FieldProblem[] = [];
  readonly #flags: FlagValues;
  readonly #warn: (text: string) => void;
  readonly #report: FieldReport = {
    problem: (field, text, hint) => {
      this.#problem(field, text, hint);
    },
    warn: (text) => {
      this.#warn(text);
    },
    cidrs: (field) => this.#cidrs(field, this.#flags.list(field)),
  };

  /** `warn` is told what was given and has no effect beside the rest. */
  constructor(flags: FlagValues, warn: (text: string) => void = () => {}) {
    this.#flags = flags;
    this.#warn = warn;
  }

  /** Throws a usage error with all problems so far, those of reading first, and what to do about each; none, no error. */
  check(): void {
    refuse([...this.#flags.problems, ...this.#problems]);
  }

  mode(): ProxyConfig['mode'] {
    const mode = this.#flags.text('mode');
    const built = modes.built.find((each) => each === (mode === '' ? modes.usual : mode));
    if (built === 'ipvs' && !allowsIpvs(this.#flags)) {
      const gate = `${this.#flags.shown('featureGates')}: KubeProxyIPVS=false`;
      this.#problem('mode', `"ipvs" is ruled out by ${gate}`, 'leave one of the two out');
    }
    if (built !== undefined) return built;
    const known = modes.later.some((each) => each === mode);
    const what = known ? 'is not built yet' : 'is not a mode';
    this.#problem(
      'mode',
      `${JSON.stringify(mode)} ${what}; modes that exist: ${modes.built.join(', ')}`,
      `leave it out, or say one of ${modes.built.join(', ')}`,
    );
    return modes.usual;
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
        'leave all but one kind of source out',
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
        other.includes(':') ? undefined : `did you mean file:${other}?`,
      );
    }
    return this.#withoutCluster({ kind: 'url', url: other });
  }

  hostnameOverride(): string {
    const name = this.#flags.text('hostnameOverride');
    const trimmed = name.trim().toLowerCase();
    if (name !== '' && trimmed === '') {
      this.#problem('hostnameOverride', 'is blank', 'give a node name or leave it out');
    }
    return trimmed;
  }

  bindAddress(): Address {
    const text = this.#flags.text('bindAddress');
    const address = parseAddress(text);
    if (address === undefined) {
      this.#problem('bindAddress', `${JSON.stringify(text)} is not an IP address`, hints.address);
    }
    return address ?? ('0.0.0.0' as Address);
  }

  /** Where the two servers listen: `ip:port`, where a missing port is the server's own. */
  binds(): Pick<ProxyConfig, 'healthzBind' | 'metricsBind'> {
    const healthzBind = this.#bind('healthz', '0.0.0.0', '::');
    const metricsBind = this.#bind('metrics', '127.0.0.1', '::1');
    if (healthzBind && metricsBind && bindsCollide(healthzBind, metricsBind)) {
      this.#problem(
        'metricsBindAddress',
        `port ${metricsBind.port} is taken by ${this.#flags.shown('healthzBindAddress')}=${bindText(healthzBind)}`,
        'give the two servers ports of their own',
      );
    }
    return { healthzBind, metricsBind };
  }

  #bind(server: 'healthz' | 'metrics', v4: string, v6: string): BindConfig | undefined {
    const flags = this.#flags;
    const field = `${server}BindAddress`;
    const portField = `${server}Port`;
    const ownPort = flags.number(portField);
    if (ownPort < 0 || ownPort > 65_535) {
      this.#problem(portField, `${ownPort} is not 0 to 65535`, `use ${flags.shown(field)}`);
    }
    if (flags.given(field)) return this.#givenBind(field, portField, ownPort);
    const wide = flags.text('bindAddress').includes(':') ? v6 : v4;
    return ownPort === 0 ? undefined : { address: wide as Address, port: ownPort };
  }

  #givenBind(field: string, portField: string, ownPort: number): BindConfig | undefined {
    const flags = this.#flags;
    const text = flags.text(field);
    const bind = text === '' ? undefined : parseBind(text, ownPort);
    if (bind === undefined && text !== '') {
      const what = `${JSON.stringify(text)} is not IP:PORT with a port of 1 to 65535`;
      this.#problem(field, what, hints.bind);
    } else if (flags.given(portField) && (bind?.port ?? 0) !== ownPort) {
      const advice = `leave the deprecated ${flags.shown(portField)} out`;
      const what = `${ownPort} contradicts ${flags.shown(field)}=${text}`;
      this.#problem(portField, what, advice);
    }
    return bind?.port === 0 ? undefined : bind;
  }

  syncPeriods(mode: ProxyConfig['mode']): Pick<ProxyConfig, 'syncPeriodMs' | 'minSyncPeriodMs'> {
    return readSyncPeriods(this.#flags, mode, this.#report);
  }

  ipvs(mode: ProxyConfig['mode']): IpvsConfig {
    if (mode === 'ipvs') return readIpvs(this.#flags, this.#report);
    warnOfOthers(ipvsFlags, this.#flags, mode, this.#report);
    const cidrs = (field: string): readonly Cidr[] =>
      this.#flags.list(field).flatMap((text) => parseCidr(text.trim()) ?? []);
    const { drainMs, ...rest } = readIpvs(this.#flags, { ...deaf, cidrs });
    return { ...rest, drainMs: Math.max(0, drainMs) };
  }

  userspace(mode: ProxyConfig['mode']): UserspaceConfig {
    warnOfOthers(nftablesFields, this.#flags, mode, this.#report);
    if (mode === 'userspace') return readUserspace(this.#flags, this.#report);
    warnOfOthers(userspaceFlags, this.#flags, mode, this.#report);
    return readUserspace(this.#flags, deaf);
  }

  /** What means nothing here is checked as upstream does, so that a mistake shows before the way back. */
  compatible(): void {
    readCompatible(this.#flags, this.#report);
  }

  traffic(): TrafficConfig {
    return readTraffic(this.#flags, this.#report);
  }

  intWithin(field: string, min: number, max: number): number {
    const value = this.#flags.number(field);
    if (value < min || value > max) {
      this.#problem(field, `${value} is not ${min} to ${max}`, `give a whole number within these`);
    }
    return value;
  }

  detectLocal(): DetectLocalConfig {
    const mode = this.#flags.text('detectLocalMode');
    const name = this.#ofMode('podBridgeInterface', 'BridgeInterface', mode);
    const prefix = this.#ofMode('podInterfaceNamePrefix', 'InterfaceNamePrefix', mode);
    switch (mode) {
      case 'NodeCIDR':
        return { mode };
      case 'BridgeInterface':
        return { mode, name };
      case 'InterfaceNamePrefix':
        return { mode, prefix };
      default:
        return { mode: 'ClusterCIDR' };
    }
  }

  clusterCidrs(): readonly Cidr[] {
    const text = this.#flags.text('clusterCidr').trim();
    if (text === '') return [];
    const cidrs = this.#cidrs('clusterCidr', text.split(','));
    const families = new Set(cidrs.map(cidrFamily));
    if (families.size < cidrs.length) {
      this.#problem(
        'clusterCidr',
        `${JSON.stringify(text)} has more than one CIDR of a family`,
        'give one CIDR, or one of IPv4 and one of IPv6',
      );
    }
    return cidrs;
  }

  /** CIDRs and words for them: `all`, `localhost`, and `primary`, which depends on the node. */
  nodePortAddresses(): NodePortAddressesConfig {
    const given = new Set(this.#flags.list('nodeportAddresses'));
    const [all, primary, localhost] = ['all', 'primary', 'localhost'].map((word) =>
      given.delete(word),
    );
    const cidrs = this.#cidrs('nodeportAddresses', [...(localhost ? loopbacks : []), ...given]);
    if (all) return { kind: 'all' };
    if (cidrs.length === 0) return { kind: primary ? 'primary' : 'all' };
    return { kind: 'cidrs', cidrs, ...(primary && { primary }) };
  }

  conntrack(): ConntrackConfig {
    const read = (field: string): number => {
      const value = this.#flags.number(field);
      if (value < 0)
        this.#problem(field, 'must not be negative', "give 0 to leave the kernel's value");
      return value;
    };
    return {
      maxPerCore: read('conntrackMaxPerCore'),
      min: read('conntrackMin'),
      tcpEstablishedTimeoutMs: read('conntrackTcpTimeoutEstablished'),
      tcpCloseWaitTimeoutMs: read('conntrackTcpTimeoutCloseWait'),
      tcpBeLiberal: this.#flags.bool('conntrackTcpBeLiberal'),
      udpTimeoutMs: read('conntrackUdpTimeout'),
      udpStreamTimeoutMs: read('conntrackUdpTimeoutStream'),
      accounting: this.#flags.bool('conntrackAccounting'),
    };
  }

  logging(): LoggingConfig {
    const format = this.#flags.text('loggingFormat');
    return {
      format: format === 'json' || format === 'text' ? format : 'auto',
      verbosity: this.intWithin('verbosity', 0, 2 ** 31 - 1),
    };
  }

  #withoutCluster<T extends SourceConfig>(source: T): T {
    for (const field of ['kubeconfig', 'master']) {
      if (this.#flags.text(field) === '') continue;
      const text = `conflicts with --source=${this.#flags.list('source')[0] ?? ''}`;
      this.#problem(field, text, 'leave one of the two out');
    }
    return source;
  }

  /** A setting that one way of detecting local traffic needs, and no other one reads. */
  #ofMode(field: string, needing: string, mode: string): string {
    const value = this.#flags.text(field);
    if (value === '' && mode === needing) {
      const asking = `${this.#flags.shown('detectLocalMode')}=${mode}`;
      this.#problem(
        field,
        `is needed with ${asking}`,
        'name the interface, or choose another mode',
      );
    }
    if (value !== '' && mode !== needing) {
      const now = mode === '' ? 'ClusterCIDR, the default' : mode;
      this.#warn(
        `${this.#flags.shown(field)} has no effect: it needs --detect-local-mode=${needing}, which is ${now}`,
      );
    }
    return value;
  }

  #cidrs(field: string, texts: readonly string[]): readonly Cidr[] {
    const cidrs: Cidr[] = [];
    for (const text of texts) {
      const cidr = parseCidr(text.trim());
      if (cidr === undefined)
        this.#problem(field, `${JSON.stringify(text)} is not a CIDR`, hints.cidr);
      else cidrs.push(cidr);
    }
    return cidrs;
  }

  #problem(field: string, text: string, hint: string | undefined): void {
    this.#problems.push({ message: `${this.#flags.shown(field)}: ${text}`, hint });
  }
}
