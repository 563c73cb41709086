import type { Clock } from '../../clock.ts';
import type { KubeletConfig } from '../../config/kubelet-config.ts';
import { listInterfaces } from '../../host/interfaces.ts';
import { readMachineFacts } from '../../host/machine-facts.ts';
import { SystemMounts } from '../../host/mounts.ts';
import { uplinks } from '../../host/uplinks.ts';
import { KubeletMetrics } from '../../telemetry/kubelet-metrics.ts';
import { bootstrapped } from '../certificates/bootstrap.ts';
import { clientStore } from '../certificates/client-store.ts';
import { connectCri } from '../cri/client.ts';
import type { Cri } from '../cri/client.ts';
import { meteredCri } from '../cri/metered.ts';
import { KubeletEvents } from '../events/kubelet-events.ts';
import { chooseNodeIps, resolveHost } from '../node/node-ips.ts';
import { RuntimeHealth } from '../node/runtime-health.ts';
import { prepareRoot } from '../volumes/root-directory.ts';
import { openApiSide } from './api-side.ts';
import type { KubeletBase } from './kubelet-base.ts';
import type { KubeletOptions } from './kubelet-options.ts';
import { openCredentialProviders } from './open-credential-providers.ts';

/**
 * Opens what all parts of a kubelet share, and waits for a first certificate where one has to be asked for. Rejects where the start cannot
 * succeed.
 */
export async function openBase(
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
      store: clientStore(config.certDir),
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
