import { parseAddress } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import type { FlagValues } from './flag-table.ts';
import type {
  CertificatesConfig,
  CgroupConfig,
  DnsConfig,
  KubeletServerConfig,
  LogFilesConfig,
  NodeConfig,
  RuntimeConfig,
  TaintConfig,
} from './kubelet-config.ts';
import { podSources } from './kubelet-pod-sources.ts';
import type { PodSourcesConfig } from './kubelet-pod-sources.ts';
import { UpkeepFields } from './kubelet-upkeep-fields.ts';
import { refuse } from './problems.ts';
import type { FieldProblem } from './problems.ts';
import type { BindConfig, LoggingConfig } from './proxy-config.ts';
import { isQuantity } from './go-number.ts';

const reservable = ['cpu', 'memory', 'ephemeral-storage', 'pid'];

/** Reads and validates the kubelet's settings one by one; a value that cannot be used adds a problem and gives a stand-in. */
export class KubeletFields {
  readonly #problems: FieldProblem[] = [];
  readonly #flags: FlagValues;
  readonly upkeep: UpkeepFields;

  constructor(flags: FlagValues) {
    this.#flags = flags;
    this.upkeep = new UpkeepFields(flags, (field, text) => this.#problem(field, text));
  }

  /** Throws a usage error with all problems so far; none, no error. */
  check(): void {
    refuse([...this.#flags.problems, ...this.#problems]);
  }

  sources(): PodSourcesConfig {
    return podSources({
      flags: this.#flags,
      positive: (field) => this.positive(field),
      problem: (field, text) => {
        this.#problem(field, text);
      },
    });
  }

  certificates(): CertificatesConfig {
    const flags = this.#flags;
    const bootstrapKubeconfig = flags.text('bootstrapKubeconfig');
    if (bootstrapKubeconfig !== '' && flags.text('kubeconfig') === '')
      this.#problem('bootstrapKubeconfig', 'needs --kubeconfig: that file is written then');
    const serving = flags.bool('serverTLSBootstrap');
    if (serving && flags.text('tlsCertFile') !== '')
      this.#problem('serverTLSBootstrap', 'is of no use beside tlsCertFile: give one of the two');
    return { bootstrapKubeconfig, rotateClient: flags.bool('rotateCertificates'), serving };
  }

  node(): NodeConfig {
    const flags = this.#flags;
    const name = flags.text('hostnameOverride').trim().toLowerCase();
    if (flags.text('hostnameOverride') !== '' && name === '')
      this.#problem('hostnameOverride', 'is blank');
    return {
      hostnameOverride: name,
      ips: this.#addresses('nodeIp'),
      labels: this.#pairs('nodeLabels'),
      taints: flags.list('registerWithTaints').map(taintOf),
      register: flags.bool('registerNode'),
      providerId: flags.text('providerID'),
      externalCloud: flags.text('cloudProvider') === 'external',
      statusUpdateMs: this.positive('nodeStatusUpdateFrequency'),
      statusReportMs: this.positive('nodeStatusReportFrequency'),
      leaseSeconds: this.atLeast('nodeLeaseDurationSeconds', 1),
      maxImages: this.atLeast('nodeStatusMaxImages', -1),
      maxPods: this.atLeast('maxPods', 0),
      podsPerCore: this.atLeast('podsPerCore', 0),
      systemReserved: this.#reserved('systemReserved'),
      kubeReserved: this.#reserved('kubeReserved'),
      evictionHard: this.upkeep.evictionHard(),
      countsLocalStorage: flags.bool('localStorageCapacityIsolation'),
    };
  }

  runtime(): RuntimeConfig {
    const flags = this.#flags;
    const endpoint = flags.text('containerRuntimeEndpoint');
    return {
      endpoint,
      imageEndpoint: flags.text('imageServiceEndpoint') || endpoint,
      requestTimeoutMs: this.positive('runtimeRequestTimeout'),
      cgroups: this.#cgroups(),
      cpuQuota: flags.bool('cpuCFSQuota'),
      cpuQuotaPeriodMs: this.within('cpuCFSQuotaPeriod', 1, 1000),
      pidsLimit: this.atLeast('podPidsLimit', -1),
      seccompDefault: flags.bool('seccompDefault'),
      singleProcessOomKill: flags.bool('singleProcessOOMKill'),
      serializePulls: flags.bool('serializeImagePulls'),
      maxParallelPulls: this.atLeast('maxParallelImagePulls', 0),
      pullQps: this.atLeast('registryPullQPS', 0),
      pullBurst: this.atLeast('registryBurst', 0),
      maxRestartWaitMs: this.within('crashLoopBackOff.maxContainerRestartPeriod', 1000, 300_000),
      allowedUnsafeSysctls: flags.list('allowedUnsafeSysctls'),
      credentialProviders: this.#credentialProviders(),
    };
  }

  #credentialProviders(): RuntimeConfig['credentialProviders'] {
    const [file, folder] = ['imageCredentialProviderConfig', 'imageCredentialProviderBinDir'];
    const given = { file: this.#flags.text(file), folder: this.#flags.text(folder) };
    if (given.file === '' && given.folder === '') return undefined;
    if (given.file === '' || given.folder === '')
      this.#problem(given.file === '' ? file : folder, 'is missing, the other is there');
    return given;
  }

  /** `hasApi`: there is an API server to ask who may do what. */
  server(hasApi: boolean): KubeletServerConfig {
    const flags = this.#flags;
    const bind = this.#bind('address', 'port');
    const certFile = flags.text('tlsCertFile');
    const keyFile = flags.text('tlsPrivateKeyFile');
    if ((certFile === '') !== (keyFile === ''))
      this.#problem(
        certFile === '' ? 'tlsCertFile' : 'tlsPrivateKeyFile',
        'is missing, the other is there',
      );
    return {
      bind: this.#isServed(hasApi) ? bind : undefined,
      readOnly: this.#bind('address', 'readOnlyPort'),
      healthz: this.#bind('healthzBindAddress', 'healthzPort'),
      certFile,
      keyFile,
      minVersion: flags.text('tlsMinVersion') === 'VersionTLS13' ? 'TLSv1.3' : 'TLSv1.2',
      cipherSuites: flags.list('tlsCipherSuites'),
      clientCaFile: flags.text('authentication.x509.clientCAFile'),
      anonymous: flags.bool('authentication.anonymous.enabled'),
      tokenReview: flags.bool('authentication.webhook.enabled'),
      tokenTtlMs: this.atLeast('authentication.webhook.cacheTTL', 0),
      authorization: flags.text('authorization.mode') === 'AlwaysAllow' ? 'AlwaysAllow' : 'Webhook',
      allowedTtlMs: this.atLeast('authorization.webhook.cacheAuthorizedTTL', 0),
      deniedTtlMs: this.atLeast('authorization.webhook.cacheUnauthorizedTTL', 0),
      debuggingHandlers: flags.bool('enableDebuggingHandlers'),
      systemLogs: flags.bool('enableSystemLogHandler'),
      streamIdleMs: this.atLeast('streamingConnectionIdleTimeout', 0),
    };
  }

  /** Without anybody to ask, and nothing said of it, nobody could be let in: there is no port to no purpose then. */
  #isServed(hasApi: boolean): boolean {
    const flags = this.#flags;
    const isMeant = ['enableServer', 'port', 'authorization.mode'].some((each) =>
      flags.given(each),
    );
    return flags.bool('enableServer') && (hasApi || isMeant);
  }

  dns(): DnsConfig {
    const domain = this.#flags.text('clusterDomain').replace(/\.$/, '');
    return {
      servers: this.#addresses('clusterDNS'),
      domain,
      resolvConf: this.#flags.text('resolvConf'),
    };
  }

  logFiles(): LogFilesConfig {
    const maxSize = this.#flags.text('containerLogMaxSize');
    if (!/[1-9]/.test(maxSize) || maxSize.startsWith('-'))
      this.#problem('containerLogMaxSize', 'has to be above 0');
    return {
      maxSize,
      maxFiles: this.atLeast('containerLogMaxFiles', 2),
      monitorMs: this.atLeast('containerLogMonitorInterval', 3000),
      workers: this.atLeast('containerLogMaxWorkers', 1),
    };
  }

  logging(): LoggingConfig {
    const flags = this.#flags;
    const format = flags.text('logFormat') || flags.text('logging.format');
    const field = flags.given('verbosity') ? 'verbosity' : 'logging.verbosity';
    return {
      format: format === 'json' || format === 'text' ? format : 'auto',
      verbosity: this.within(field, 0, 2 ** 31 - 1),
    };
  }

  positive(field: string): number {
    const value = this.#flags.number(field);
    if (value <= 0) this.#problem(field, 'has to be above 0');
    return value;
  }

  atLeast(field: string, least: number): number {
    const value = this.#flags.number(field);
    if (value < least) this.#problem(field, `${value} is below ${least}`);
    return value;
  }

  within(field: string, least: number, most: number): number {
    const value = this.#flags.number(field);
    if (value < least || value > most) this.#problem(field, `${value} is not ${least} to ${most}`);
    return value;
  }

  #cgroups(): CgroupConfig {
    const flags = this.#flags;
    const root = flags.text('cgroupRoot') || '/';
    if (!root.startsWith('/') || root.split('/').includes('..'))
      this.#problem('cgroupRoot', `${JSON.stringify(root)} is not a path below /`);
    return {
      root: root.replace(/(?<=.)\/+$/, ''),
      perQos: flags.bool('cgroupsPerQOS'),
      driver: flags.text('cgroupDriver') === 'systemd' ? 'systemd' : 'cgroupfs',
    };
  }

  #bind(addressField: string, portField: string): BindConfig | undefined {
    const text = this.#flags.text(addressField);
    const address = parseAddress(text);
    if (address === undefined)
      this.#problem(addressField, `${JSON.stringify(text)} is not an IP address`);
    const port = this.within(portField, 0, 65_535);
    return port === 0 || address === undefined ? undefined : { address, port };
  }

  #addresses(field: string): readonly Address[] {
    return this.#flags.list(field).flatMap((text) => {
      const address = parseAddress(text);
      if (address === undefined)
        this.#problem(field, `${JSON.stringify(text)} is not an IP address`);
      return address ?? [];
    });
  }

  #pairs(field: string): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#flags.list(field).map(pairOf));
  }

  #reserved(field: string): Readonly<Record<string, string>> {
    const reserved = this.#pairs(field);
    for (const [name, text] of Object.entries(reserved)) {
      if (!reservable.includes(name))
        this.#problem(field, `${JSON.stringify(name)} is not one of ${reservable.join(', ')}`);
      else if (!isQuantity(text) || text.startsWith('-'))
        this.#problem(field, `${name}: ${JSON.stringify(text)} is not a quantity`);
    }
    return reserved;
  }

  #problem(field: string, text: string): void {
    this.#problems.push({ message: `${this.#flags.shown(field)}: ${text}`, hint: undefined });
  }
}

function pairOf(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  return [text.slice(0, at), text.slice(at + 1)];
}

function taintOf(text: string): TaintConfig {
  const at = text.lastIndexOf(':');
  const what = text.slice(0, at);
  const [key, value] = what.includes('=') ? pairOf(what) : [what, ''];
  return { key, value, effect: text.slice(at + 1) as TaintConfig['effect'] };
}
