import { errorText } from '../../error.ts';
import type { Cri } from '../cri/client.ts';
import { criText } from '../cri/cri-error.ts';
import { expandStrictly } from '../environment/expand.ts';
import type { PodHostname } from '../environment/hostname.ts';
import type { Container, VolumeMount } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import type { Environment, EnvValue, PodAddresses } from '../ports/environment.ts';
import type { MountedVolume, Volumes } from '../ports/volumes.ts';
import { containerConfig, hasOwnHosts } from './container-config.ts';
import type { BoundMount, ContainerConfig } from './container-config.ts';
import type { Files } from './container-files.ts';
import { targetOf } from './ephemeral-actions.ts';
import { runHook } from './hooks.ts';
import type { Images, ReadyImage } from '../images/images.ts';
import { killContainer } from './kill-pod.ts';
import type { KillSurroundings } from './kill-pod.ts';
import type { RuntimePod } from './runtime-pod.ts';
import type { SandboxConfig } from '../cri/client.ts';
import type { RuntimeSettings } from './settings.ts';
import { StartError } from '../ports/start-error.ts';

export interface StartSurroundings extends KillSurroundings {
  readonly runtime: KillSurroundings['runtime'] &
    Pick<Cri['runtime'], 'createContainer' | 'startContainer'>;
  readonly images: Images;
  readonly files: Files;
  readonly volumes: Volumes;
  readonly environment: Environment;
  readonly settings: RuntimeSettings;
  /** Whether the runtime makes mounts read-only all the way down. */
  readonly recursiveReadOnly: boolean;
}

/** One start of one container. */
export interface StartTarget {
  readonly pod: Pod;
  readonly container: Container;
  /** What the runtime has; 0: perhaps it has forgotten some. */
  readonly attempt: number;
  readonly sandboxId: string;
  readonly sandbox: SandboxConfig;
  readonly addresses: PodAddresses;
  readonly hostname: PodHostname;
  readonly mounted: ReadonlyMap<string, MountedVolume>;
  /** What there is of the pod already. */
  readonly runtime: RuntimePod | undefined;
}

/**
 * Image, configuration, create, start, link to the log, postStart, each with its Event. Throws {@link StartError}; a container
 * whose postStart failed has been killed then.
 */
export async function startContainer(
  target: StartTarget,
  around: StartSurroundings,
  signal: AbortSignal,
): Promise<string> {
  const { pod, container, sandboxId, sandbox } = target;
  const tell = (type: 'Normal' | 'Warning', reason: string, message: string): void =>
    around.events.tell(pod, { type, reason, message, container: container.name });
  const failed = (reason: string, thrown: unknown): StartError => {
    const text = reason === 'CreateContainerConfigError' ? errorText(thrown) : criText(thrown);
    tell('Warning', 'Failed', `Error: ${text}`);
    return new StartError(reason, text, { cause: thrown });
  };

  const image = await imageOf(target, around, signal);
  let config: ContainerConfig;
  let attempt: number;
  try {
    attempt = await attemptOf(target, around);
    config = await configOf(target, { image, attempt }, around, signal);
  } catch (thrown) {
    signal.throwIfAborted();
    throw failed('CreateContainerConfigError', thrown);
  }
  signal.throwIfAborted();
  let containerId: string;
  try {
    const request = { podSandboxId: sandboxId, config, sandboxConfig: sandbox };
    // not cut short: the runtime may go on, and the name is taken then
    ({ containerId } = await around.runtime.createContainer(request));
  } catch (thrown) {
    throw failed('CreateContainerError', thrown);
  }
  tell('Normal', 'Created', 'Container created');
  try {
    await around.runtime.startContainer({ containerId });
  } catch (thrown) {
    throw failed('RunContainerError', thrown);
  }
  tell('Normal', 'Started', 'Container started');
  // one who collects logs misses this container; it runs all the same
  await around.files.linkLog(pod, container.name, containerId, attempt).catch(() => {});
  await postStart(target, containerId, around, signal);
  return containerId;
}

async function imageOf(
  { pod, container, sandbox }: StartTarget,
  { images, events }: StartSurroundings,
  signal: AbortSignal,
): Promise<ReadyImage> {
  try {
    return await images.ensure(pod, container, sandbox, signal);
  } catch (thrown) {
    if (thrown instanceof StartError) {
      const message = `Error: ${thrown.reason}`;
      events.tell(pod, { type: 'Warning', reason: 'Failed', message, container: container.name });
    }
    throw thrown;
  }
}

async function attemptOf(
  { pod, container, attempt }: StartTarget,
  { files }: StartSurroundings,
): Promise<number> {
  const known = attempt > 0 ? attempt : await files.attemptAfterLogs(pod, container.name);
  await files.makeLogDir(pod, container.name);
  return known;
}

async function configOf(
  target: StartTarget,
  { image, attempt }: { readonly image: ReadyImage; readonly attempt: number },
  around: StartSurroundings,
  signal: AbortSignal,
): Promise<ContainerConfig> {
  const { pod, container, addresses } = target;
  const pidTarget = targetOf(container, target.runtime);
  const env = await around.environment.build(pod, container, addresses, signal);
  const mounts = await boundMounts(target, env, around);
  const needsHosts =
    !hasOwnHosts(container) && (pod.spec.hostNetwork || addresses.podIPs.length > 0);
  const hosts = needsHosts
    ? await around.files.writeHosts(pod, addresses.podIPs, target.hostname)
    : undefined;
  const terminationMessageFile =
    container.terminationMessagePath === ''
      ? undefined
      : await around.files.makeTerminationMessage(pod, container.name);
  return containerConfig(
    {
      pod,
      container,
      attempt,
      image,
      env,
      mounts,
      hostsFile: hosts,
      terminationMessageFile,
      pidTarget,
      recursiveReadOnly: around.recursiveReadOnly,
    },
    around.settings,
  );
}

async function boundMounts(
  target: StartTarget,
  env: readonly EnvValue[],
  { volumes }: StartSurroundings,
): Promise<readonly BoundMount[]> {
  const { pod, container, mounted } = target;
  const bound: BoundMount[] = [];
  for (const [index, mount] of container.volumeMounts.entries()) {
    const volume = mounted.get(mount.name);
    if (volume === undefined) {
      const names = `${JSON.stringify(mount.name)} to mount into container ${JSON.stringify(container.name)}`;
      throw new StartError('CreateContainerConfigError', `cannot find volume ${names}`);
    }
    const subPath = subPathOf(mount, env);
    const hostPath =
      subPath === ''
        ? volume.hostPath
        : await volumes.subPath(pod, mount.name, volume, container.name, index, subPath);
    bound.push({ mount, hostPath, readOnly: volume.readOnly, managed: volume.managed });
  }
  return bound;
}

function subPathOf(
  { subPath = '', subPathExpr = '' }: VolumeMount,
  env: readonly EnvValue[],
): string {
  if (subPathExpr === '') return subPath;
  const expanded = expandStrictly(
    subPathExpr,
    (name) => env.find((variable) => variable.name === name)?.value,
  );
  if ('text' in expanded) return expanded.text;
  throw new StartError(
    'CreateContainerConfigError',
    `failed to prepare subPath for volumeMount: missing value for "${expanded.missing}"`,
  );
}

async function postStart(
  target: StartTarget,
  containerId: string,
  around: StartSurroundings,
  signal: AbortSignal,
): Promise<void> {
  const { pod, container, addresses } = target;
  const hook = container.lifecycle?.postStart;
  if (hook === undefined) return;
  try {
    const podIP = addresses.podIPs[0];
    await runHook(hook, { pod, container, containerId, podIP }, around, signal);
  } catch (thrown) {
    signal.throwIfAborted();
    const message = 'PostStartHook failed';
    const event = { type: 'Warning', reason: 'FailedPostStartHook', message } as const;
    around.events.tell(pod, { ...event, container: container.name });
    const killed = startedContainer(target, containerId);
    const kill = { message: 'FailedPostStartHook' };
    await killContainer({ pod, runtime: onlyOf(pod), container: killed }, kill, around, signal);
    throw new StartError('PostStartHookError', message, { cause: thrown });
  }
}

function onlyOf({ metadata: { uid, name, namespace } }: Pod): RuntimePod {
  return { uid, name, namespace, sandboxes: [], containers: [] };
}

/** As far as its killing needs it. */
function startedContainer({ container, sandboxId, attempt }: StartTarget, id: string) {
  return {
    id,
    name: container.name,
    sandboxId,
    attempt,
    state: 'running' as const,
    createdAt: 0n,
    startedAt: 0n,
    finishedAt: 0n,
    exitCode: 0,
    reason: '',
    message: '',
    image: '',
    imageRef: '',
    hash: '',
    logPath: '',
    terminationMessageFile: '',
    labels: {},
    annotations: {},
  };
}
