import { bindText } from '../config/bind-address.ts';
import { formatDuration } from '../config/duration.ts';
import type {
  BindConfig,
  DetectLocalConfig,
  NodePortAddressesConfig,
  ProxyConfig,
  SourceConfig,
} from '../config/proxy-config.ts';
import type { PortRange } from '../ip/port-range.ts';
import { hasRules } from './has-rules.ts';
import { servesLocalhostNodePorts } from './node-context.ts';
import { plainUrl } from './plain-url.ts';

/** Who takes a new value up while the agent runs. `nobody`: whoever reads it next, or nobody in this mode. */
export type LivePart = 'log' | 'rules' | 'periods' | 'servers' | 'process' | 'kernel' | 'nobody';

/** What a change of a setting takes. */
export type Effect =
  | { readonly how: 'live'; readonly part: LivePart }
  /** A new agent in this process, which takes over from the one that runs. */
  | { readonly how: 'restart'; readonly why: string }
  /** It is not followed: somebody has to act. */
  | { readonly how: 'new process'; readonly why: string };

/** How one setting is called, shown and followed. */
export interface FieldEffect<T> {
  /** As the configuration file calls it, or the flag where no file can say it. */
  readonly name: string;
  readonly show: (value: T) => string;
  readonly effect: Effect | ((before: ProxyConfig, after: ProxyConfig) => Effect);
}

/** Settings that belong together, one by one. */
export interface SectionEffects<T> {
  readonly fields: { readonly [K in keyof T]: FieldEffect<T[K]> };
}

/** All settings there are: a new one does not compile before it stands in {@link configEffects}. */
export type ConfigEffects = {
  readonly [K in keyof ProxyConfig]: FieldEffect<ProxyConfig[K]> | SectionEffects<ProxyConfig[K]>;
};

const live = (part: LivePart): Effect => ({ how: 'live', part });
const restart = (why: string): Effect => ({ how: 'restart', why });
const nobody = live('nobody');

/** A setting that one mode alone reads. */
const inMode =
  (mode: ProxyConfig['mode'], effect: Effect): FieldEffect<unknown>['effect'] =>
  (_before, after) =>
    after.mode === mode ? effect : nobody;

/** The rules are made by a lowering that is built once. */
const lowering = restart('it is built into all rules');
const sockets = inMode('userspace', restart('listeners and their threads are made with it'));
const virtualServers = inMode('ipvs', restart('it is built into the virtual servers'));
const kernel = live('kernel');
const counting = restart('what counts is chosen at the start');

const text = (value: string | number | boolean): string => (value === '' ? '""' : String(value));
const list = (values: readonly string[]): string =>
  values.length === 0 ? 'none' : values.join(',');
const duration = (ms: number): string => formatDuration(ms);
const bind = (where: BindConfig | undefined): string =>
  where === undefined ? 'none' : bindText(where);

/**
 * What a change of each setting takes, with the reason. Live is what can be: a restart lists all objects anew, and in
 * userspace mode connections end with it.
 */
export const configEffects: ConfigEffects = {
  mode: { name: 'mode', show: text, effect: modeEffect },
  source: {
    name: '--source',
    show: sourceText,
    effect: restart('all objects are read from there'),
  },
  hostnameOverride: {
    name: 'hostnameOverride',
    show: text,
    effect: restart('endpoints are chosen for another node'),
  },
  bindAddress: {
    name: 'bindAddress',
    show: text,
    effect: restart('it stands for the address of the node'),
  },
  bindAddressHardFail: { name: 'bindAddressHardFail', show: text, effect: nobody },
  healthzBind: { name: 'healthzBindAddress', show: bind, effect: live('servers') },
  metricsBind: { name: 'metricsBindAddress', show: bind, effect: live('servers') },
  // No file can say it.
  adminSocket: { name: '--admin-socket', show: (path) => path ?? 'the usual one', effect: nobody },
  syncPeriodMs: { name: 'syncPeriod', show: duration, effect: live('periods') },
  minSyncPeriodMs: { name: 'minSyncPeriod', show: duration, effect: live('periods') },
  masqueradeAll: { name: 'masqueradeAll', show: text, effect: live('rules') },
  masqueradeBit: { name: 'iptables.masqueradeBit', show: text, effect: lowering },
  localhostNodePorts: {
    name: 'iptables.localhostNodePorts',
    show: text,
    effect: nodePortEffect,
  },
  detectLocal: {
    name: 'detectLocalMode',
    show: detectLocalText,
    effect: (...both) =>
      both.some(({ detectLocal }) => detectLocal.mode === 'NodeCIDR')
        ? restart('in NodeCIDR mode the start waits for the pod CIDRs of the Node')
        : live('rules'),
  },
  clusterCidrs: { name: 'clusterCIDR', show: list, effect: live('rules') },
  nodePortAddresses: { name: 'nodePortAddresses', show: nodePortText, effect: nodePortEffect },
  oomScoreAdj: { name: 'oomScoreAdj', show: text, effect: live('process') },
  conntrack: {
    fields: {
      maxPerCore: { name: 'conntrack.maxPerCore', show: text, effect: kernel },
      min: { name: 'conntrack.min', show: text, effect: kernel },
      tcpEstablishedTimeoutMs: {
        name: 'conntrack.tcpEstablishedTimeout',
        show: duration,
        effect: kernel,
      },
      tcpCloseWaitTimeoutMs: {
        name: 'conntrack.tcpCloseWaitTimeout',
        show: duration,
        effect: kernel,
      },
      tcpBeLiberal: {
        name: 'conntrack.tcpBeLiberal',
        show: text,
        effect: restart('the rule against invalid packets depends on it'),
      },
      udpTimeoutMs: { name: 'conntrack.udpTimeout', show: duration, effect: kernel },
      udpStreamTimeoutMs: { name: 'conntrack.udpStreamTimeout', show: duration, effect: kernel },
      accounting: { name: '--conntrack-accounting', show: text, effect: kernel },
    },
  },
  ipvs: {
    fields: {
      scheduler: { name: 'ipvs.scheduler', show: text, effect: virtualServers },
      excludeCidrs: { name: 'ipvs.excludeCIDRs', show: list, effect: virtualServers },
      strictArp: { name: 'ipvs.strictARP', show: text, effect: virtualServers },
      tcpTimeoutMs: { name: 'ipvs.tcpTimeout', show: duration, effect: virtualServers },
      tcpFinTimeoutMs: { name: 'ipvs.tcpFinTimeout', show: duration, effect: virtualServers },
      udpTimeoutMs: { name: 'ipvs.udpTimeout', show: duration, effect: virtualServers },
      drainMs: {
        name: '--ipvs-drain-timeout',
        show: duration,
        effect: restart('what drains is watched with it'),
      },
    },
  },
  userspace: {
    fields: {
      portals: { name: '--userspace-portals', show: text, effect: portalsEffect },
      portRange: { name: 'portRange', show: rangeText, effect: sockets },
      udpTimeoutMs: { name: 'udpIdleTimeout', show: duration, effect: sockets },
      drainMs: { name: '--userspace-drain-timeout', show: duration, effect: sockets },
      shutdownMs: { name: '--userspace-shutdown-timeout', show: duration, effect: nobody },
      workers: { name: '--userspace-workers', show: (value) => text(value ?? 0), effect: sockets },
      portOffset: { name: '--userspace-port-offset', show: text, effect: sockets },
      stateFile: {
        name: '--userspace-state-file',
        show: (value) => value ?? 'the usual place',
        effect: sockets,
      },
    },
  },
  logging: {
    fields: {
      format: { name: 'logging.format', show: text, effect: live('log') },
      verbosity: { name: 'logging.verbosity', show: text, effect: live('log') },
    },
  },
  metrics: {
    fields: {
      serviceStates: { name: '--metrics-service-states', show: text, effect: live('nobody') },
    },
  },
  traffic: {
    fields: {
      what: { name: '--service-traffic', show: text, effect: counting },
      intervalMs: { name: '--service-traffic-interval', show: duration, effect: counting },
      series: { name: '--service-traffic-limit', show: text, effect: counting },
      namespaces: { name: '--service-traffic-namespaces', show: list, effect: counting },
    },
  },
  profiling: { name: 'enableProfiling', show: text, effect: live('nobody') },
  initOnly: {
    name: '--init-only',
    show: text,
    effect: { how: 'new process', why: 'it says what the process is for' },
  },
};

function modeEffect(before: ProxyConfig, after: ProxyConfig): Effect {
  if (before.mode === 'ipvs' && after.mode === 'userspace') {
    return cleanUpBetween('virtual servers and kube-ipvs0');
  }
  if (hasRules(before) && !hasRules(after)) return cleanUpBetween('the rules');
  return restart('another backend');
}

function portalsEffect(before: ProxyConfig, after: ProxyConfig): Effect {
  if (after.mode !== 'userspace') return nobody;
  if (hasRules(before) && !hasRules(after)) return cleanUpBetween('the rules');
  return restart('another backend');
}

function cleanUpBetween(what: string): Effect {
  const why = `${what} would stay: end the agent, run \`switchyard cleanup\`, and start it again`;
  return { how: 'new process', why };
}

/** Where node ports answer on 127.0.0.1, a guard and a setting of the kernel belong to it, which come with the backend. */
function nodePortEffect(before: ProxyConfig, after: ProxyConfig): Effect {
  return serves(before) === serves(after)
    ? live('rules')
    : restart('node ports of 127.0.0.1 come or go with it');
}

function serves(config: ProxyConfig): boolean {
  return config.mode === 'iptables' && servesLocalhostNodePorts(config, 'ipv4');
}

function sourceText(source: SourceConfig): string {
  switch (source.kind) {
    case 'kubernetes': {
      const given = [source.kubeconfig, source.master && plainUrl(source.master)].filter(Boolean);
      return given.length === 0 ? 'kubernetes' : `kubernetes (${given.join(', ')})`;
    }
    case 'files':
      return source.paths.map((path) => `file:${path}`).join(',');
    case 'url':
      return plainUrl(source.url);
    default:
      return source satisfies never;
  }
}

function detectLocalText(detect: DetectLocalConfig): string {
  switch (detect.mode) {
    case 'BridgeInterface':
      return `${detect.mode} ${detect.name}`;
    case 'InterfaceNamePrefix':
      return `${detect.mode} ${detect.prefix}`;
    case 'ClusterCIDR':
    case 'NodeCIDR':
      return detect.mode;
    default:
      return detect satisfies never;
  }
}

function nodePortText(where: NodePortAddressesConfig): string {
  if (where.kind !== 'cidrs') return where.kind;
  return [...(where.primary ? ['primary'] : []), ...where.cidrs].join(',');
}

function rangeText(range: PortRange | undefined): string {
  return range === undefined ? 'the usual ports' : `${range.first}-${range.last}`;
}
