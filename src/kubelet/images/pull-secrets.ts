import { errorText, SwitchyardError } from '../../error.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodEvents } from '../ports/pod-events.ts';
import type { ReferencedObjects, SecretData } from '../ports/referenced-objects.ts';
import { credentialsFor, readDockerConfig } from './docker-config.ts';
import type { RegistryCredential } from './docker-config.ts';
import type { FindAuth } from './images.ts';
import type { NodeCredentials } from './node-credentials.ts';

export interface PullSecretsOptions {
  /** undefined: there is no API server, and no pod has a Secret. */
  readonly objects: Pick<ReferencedObjects, 'secret'> | undefined;
  readonly node: Pick<NodeCredentials, 'read'>;
  readonly events: PodEvents;
}

/**
 * What is tried with the registry of an image: what the pod's `imagePullSecrets` have for it, then what the node has. A Secret that is not
 * there, or cannot be read now, is told of, and the pull is tried with what the others have. Throws where one holds no docker
 * configuration.
 */
export function pullSecrets(options: PullSecretsOptions): FindAuth {
  return async (pod, image, signal) => {
    const ofPod = credentialsFor(image, await credentialsOfPod(pod, options, signal));
    const ofNode = credentialsFor(image, await options.node.read());
    return [...new Map([...ofPod, ...ofNode].map((auth) => [JSON.stringify(auth), auth])).values()];
  };
}

async function credentialsOfPod(
  pod: Pod,
  { objects, events }: PullSecretsOptions,
  signal: AbortSignal,
): Promise<readonly RegistryCredential[]> {
  const names = namesOf(pod);
  const { namespace } = pod.metadata;
  const found = await Promise.all(
    names.map(async (name) => {
      const secret = await objects?.secret(namespace, name, signal).catch(() => undefined);
      return { name, secret };
    }),
  );
  signal.throwIfAborted();
  const missing = found.filter(({ secret }) => secret === undefined).map(({ name }) => name);
  if (missing.length > 0) {
    const message = `Unable to retrieve some image pull secrets (${missing.join(', ')}); attempting to pull the image may not succeed.`;
    events.tell(pod, { type: 'Warning', reason: 'FailedToRetrieveImagePullSecret', message });
  }
  return found.flatMap(({ name, secret }) =>
    secret === undefined ? [] : credentialsOf(`${namespace}/${name}`, secret),
  );
}

function namesOf({ spec }: Pick<Pod, 'spec'>): readonly string[] {
  const names = (spec.imagePullSecrets ?? []).map(({ name = '' }) => name);
  return [...new Set(names)].filter((name) => name !== '');
}

const forms = {
  'kubernetes.io/dockerconfigjson': '.dockerconfigjson',
  'kubernetes.io/dockercfg': '.dockercfg',
} as const;

/** A Secret of another type has none. */
function credentialsOf(
  name: string,
  { type, data }: Pick<SecretData, 'type' | 'data'>,
): readonly RegistryCredential[] {
  const form = Object.entries(forms).find(([each]) => each === type)?.[1];
  const content = form === undefined ? undefined : data[form];
  if (form === undefined || content === undefined) return [];
  try {
    return readDockerConfig(content, form);
  } catch (error) {
    throw new SwitchyardError('object', `image pull secret ${name}: ${errorText(error)}`);
  }
}
