import type { Clock } from '../clock.ts';
import type { KubeletConfig } from '../config/kubelet-config.ts';
import { SwitchyardError } from '../error.ts';
import { InstanceLock } from '../host/instance-lock.ts';
import { listInterfaces } from '../host/interfaces.ts';
import { readMachineFacts } from '../host/machine-facts.ts';
import type { MachineFacts } from '../host/machine-facts.ts';
import { SystemMounts } from '../host/mounts.ts';
import type { Mounts } from '../host/mounts.ts';
import { adjustOomScore } from '../host/oom-score.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import { uplinks } from '../host/uplinks.ts';
import type { ConnectApi } from '../informer/api-connection.ts';
import { aborted } from '../informer/wakeup.ts';
import { KubeletMetrics } from '../telemetry/kubelet-metrics.ts';
import type { Log } from '../telemetry/log.ts';
import { openApiSide } from './base/api-side.ts';
import type { ApiSide } from './base/api-side.ts';
import { bootstrapped } from './certificates/bootstrap.ts';
import { connectCri } from './cri/client.ts';
import type { Cri } from './cri/client.ts';
import { meteredCri } from './cri/metered.ts';
import { KubeletEvents } from './node/kubelet-events.ts';
import { chooseNodeIps, resolveHost } from './node/node-ips.ts';
import { RuntimeHealth } from './node/runtime-health.ts';
import { NodeCertificates, clientStore } from './parts/node-certificates.ts';
import { NodeParts } from './parts/node-parts.ts';
import { openCredentialProviders } from './base/open-credential-providers.ts';
import { PodParts } from './parts/pod-parts.ts';
import type { CredentialProviders } from './runtime/credential-providers.ts';
import { nodeNameOf } from './base/node-name.ts';
import { prepareRoot } from './volumes/root-directory.ts';

/** What the kubelet needs of the machine and the process. */
export interface KubeletOptions {
  readonly config: KubeletConfig;
  /** The same as a file would have it, for /configz. */
  readonly configz: object;
  /** The machine's host name. */
  readonly hostname: string;
  readonly version: string;
  /** The unix socket at which the operator asks; '': there is none. */
  readonly adminSocket: string;
  readonly tools: ToolRunner;
  /** To the API server, where there is one. */
  readonly connect: ConnectApi;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** What all parts of a running kubelet share. */
export interface KubeletBase extends KubeletOptions {
  readonly nodeName: string;
  /** Addresses of the node, its primary family first. */
  readonly nodeIps: readonly string[];
  readonly machine: MachineFacts;
  /** The real path of the root directory. */
  readonly rootDir: string;
  readonly mounts: Mounts;
  /** Where links to the logs of all containers are, for those who collect them. */
  readonly containerLogsDir: string;
  readonly cri: Cri;
  readonly health: RuntimeHealth;
  readonly events: KubeletEvents;
  /** undefined: there is no API server. */
  readonly api: ApiSide | undefined;
  readonly metrics: KubeletMetrics;
  /** undefined: none are configured. */
  readonly credentialProviders: Pick<CredentialProviders, 'for'> | undefined;
}

/**
 * Runs the pods of this node until `signal` aborts; containers run on then. Rejects where the start cannot succeed: also where
 * another kubelet has the same root directory.
 */
export async function runKubelet(options: KubeletOptions, signal: AbortSignal): Promise<void> {
  const { config, hostname, log } = options;
  const nodeName = nodeNameOf(config.node.hostnameOverride, hostname);
  const lock = await lockRoot(config.rootDir, nodeName);
  await adjustOomScore(config.oomScoreAdj, log);
  let pods: PodParts | undefined;
  let base: KubeletBase | undefined;
  try {
    base = await openBase(options, nodeName, () => pods?.relistedAtMs, signal);
    const onOpened = (opened: PodParts): void => {
      pods = opened;
    };
    await runParts(base, onOpened, signal);
  } finally {
    await base?.api?.close();
    await lock.release();
    log.info({}, 'stopped; containers run on');
  }
}

/** Runs all parts of a kubelet until `signal`, or until one of them fails. */
export async function runParts(
  base: KubeletBase,
  onOpened: (pods: PodParts) => void,
  signal: AbortSignal,
): Promise<void> {
  const stop = new AbortController();
  const onStop = (): void => stop.abort();
  signal.addEventListener('abort', onStop, { once: true });
  if (signal.aborted) stop.abort();
  const running: Promise<unknown>[] = [];
  try {
    const node = new NodeParts(base);
    const certificates = await NodeCertificates.open(base, node);
    running.push(
      base.health.run(stop.signal),
      base.events.run(stop.signal),
      node.run(stop.signal),
      certificates.run(stop.signal),
    );
    const pods = await PodParts.open(base, node, certificates);
    onOpened(pods);
    running.push(pods.run(stop.signal));
    await Promise.race([Promise.all(running), aborted(stop.signal)]);
  } finally {
    stop.abort();
    signal.removeEventListener('abort', onStop);
    await Promise.allSettled(running);
  }
}

/** Two would pull the same containers about. */
async function lockRoot(rootDir: string, nodeName: string): Promise<InstanceLock> {
  const lock = await InstanceLock.take(rootDir, 'kubelet', `kubelet of node ${nodeName}`);
  if (lock instanceof InstanceLock) return lock;
  lock.forget();
  const who = lock.said ?? 'a process that does not answer';
  throw new SwitchyardError('missing', `${rootDir} is in use: ${who} runs`, {
    hint: 'end it, or give this one a --root-dir and a cgroupRoot of its own',
  });
}

async function openBase(
  options: KubeletOptions,
  nodeName: string,
  relistedAtMs: () => number | undefined,
  signal: AbortSignal,
): Promise<KubeletBase> {
  const { config, clock, log, random, tools } = options;
  const credentialProviders = await openCredentialProviders(config.runtime, clock, log);
  const mounts = new SystemMounts(tools);
  const rootDir = await prepareRoot(config.rootDir, mounts, log, signal);
  const metrics = new KubeletMetrics({ version: options.version, nodeName });
  metrics.collectProcess();
  const cri = meteredCri(openCri(config, clock), (name, seconds, failed) => {
    metrics.runtimeCall(name, seconds, failed);
  });
  await bootstrapped(
    {
      ...options,
      ...config.certificates,
      kubeconfig: config.kubeconfig,
      nodeName,
      store: clientStore(options),
    },
    signal,
  );
  const api = await openApiSide(options, nodeName, metrics);
  const health = new RuntimeHealth({ cri, clock, log, relistedAtMs });
  const events = new KubeletEvents({
    node: nodeName,
    qps: config.eventQps,
    burst: config.eventBurst,
    clock,
    log,
    random,
    api: api?.objects('v1', 'events'),
  });
  return {
    ...options,
    nodeName,
    rootDir,
    mounts,
    containerLogsDir: '/var/log/containers',
    cri,
    api,
    health,
    events,
    nodeIps: await findNodeIps(options, signal),
    machine: await readMachineFacts(),
    metrics,
    credentialProviders,
  };
}

/** Images may be at another socket. */
function openCri({ runtime }: KubeletConfig, clock: Clock): Cri {
  const limits = { requestTimeoutMs: runtime.requestTimeoutMs };
  const cri = connectCri(runtime.endpoint, clock, limits);
  if (runtime.imageEndpoint === runtime.endpoint) return cri;
  return { ...cri, images: connectCri(runtime.imageEndpoint, clock, limits).images };
}

async function findNodeIps(
  { config, hostname, tools }: KubeletOptions,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const [links, routed, resolved] = await Promise.all([
    listInterfaces(tools, signal),
    uplinks(tools, signal),
    config.node.ips.length > 0 ? [] : resolveHost(hostname),
  ]);
  return chooseNodeIps({ configured: config.node.ips, hostname, links, uplinks: routed, resolved });
}
