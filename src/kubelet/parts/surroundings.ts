import { randomBytes } from 'node:crypto';
import { homedir } from 'node:os';
import type { KubeletBase } from '../base/kubelet-base.ts';
import { ContainerEnvironment } from '../environment/build-environment.ts';
import { likeVersion } from '../node/kubelet-version.ts';
import { BackOff } from '../back-off.ts';
import { ContainerFiles } from '../runtime/container-files.ts';
import { withProviders } from '../images/credential-providers.ts';
import { Images } from '../images/images.ts';
import { NodeCredentials } from '../images/node-credentials.ts';
import { pullSecrets } from '../images/pull-secrets.ts';
import { RuntimeClasses } from '../runtime/runtime-classes.ts';
import type { PodSurroundings } from '../worker/pod-surroundings.ts';
import type { Found } from './ask-runtime.ts';
import type { NodeParts } from './node-parts.ts';
import { podCgroups } from './pod-cgroups.ts';
import type { PodObjects } from './pod-objects.ts';
import type { StandingParts } from './standing-parts.ts';

/** The parts of a kubelet that the operations on pods work with. */
export interface SurroundingParts extends Found {
  readonly base: KubeletBase;
  readonly node: NodeParts;
  readonly standing: StandingParts;
}

/** Puts them together. */
export function surroundings(parts: SurroundingParts): PodSurroundings {
  const { base, node, standing, settings, admission } = parts;
  const { objects, dns, logFolders, view, status, probes, volumes, mirrors } = standing;
  const { cri, clock, events, log, config, health, nodeIps } = base;
  return {
    runtime: cri.runtime,
    clock,
    events,
    log,
    meter: base.metrics.pods,
    settings,
    userAgent: `kube-lifecycle/${likeVersion}`,
    images: images(base, objects),
    files: new ContainerFiles(settings, logFolders, randomHex),
    volumes,
    environment: new ContainerEnvironment({
      objects: objects.references,
      services: () => objects.services,
      allocatable: (resource) => node.allocatable(resource),
    }),
    recursiveReadOnly: admission.features.recursiveReadOnlyMounts,
    view,
    status,
    probes,
    referenced: objects.references,
    runtimeHandlers: new RuntimeClasses(base.api?.objects('node.k8s.io/v1', 'runtimeclasses')),
    cgroups: podCgroups(settings, { clock, log, meter: base.metrics.pods }),
    backOff: new BackOff(clock, { longestMs: config.runtime.maxRestartWaitMs }),
    dns: () => dns.sources,
    hostIPs: () => nodeIps,
    networkProblem: () => health.networkProblem,
    features: admission.features,
    reconcileMirror: () => mirrors?.ring(),
  };
}

function images(base: KubeletBase, { references }: PodObjects): Images {
  const { cri, clock, events, metrics, log, rootDir, credentialProviders } = base;
  const { runtime } = base.config;
  const node = new NodeCredentials({ rootDir, home: homedir(), log });
  return new Images({
    images: cri.images,
    events,
    clock,
    maxPulls: runtime.serializePulls ? 1 : runtime.maxParallelPulls || undefined,
    rate: { qps: runtime.pullQps, burst: runtime.pullBurst },
    meter: metrics.pods,
    findAuth: withProviders(
      pullSecrets({ objects: references, node, events }),
      credentialProviders,
    ),
  });
}

/** For names of files that nobody guesses. */
function randomHex(): string {
  return randomBytes(4).toString('hex');
}
