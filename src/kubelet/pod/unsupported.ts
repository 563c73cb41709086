import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import { mapsOf, textOf } from './raw-fields.ts';
import type { Pod } from './pod.ts';
import { isStopSignal } from './stop-signals.ts';

/** A field of a pod that this kubelet cannot honour. */
export interface UnsupportedField {
  /** `spec.volumes[1].csi` */
  readonly field: string;
  readonly why: string;
}

/** What the container runtime can do that not every one can: it drops fields it does not know without a word. */
export interface RuntimeFeatures {
  readonly recursiveReadOnlyMounts: boolean;
  /** Whether it stops a container by the signal that the pod names. */
  readonly stopSignals: boolean;
}

export const fewestFeatures: RuntimeFeatures = {
  recursiveReadOnlyMounts: false,
  stopSignals: false,
};

/** Why a pod waits that has such fields: the waiting reason of its containers, and the reason of an Event. */
export const UNSUPPORTED = 'UnsupportedField';

const volumeSources: ReadonlySet<string> = new Set([
  'emptyDir',
  'hostPath',
  'configMap',
  'secret',
  'downwardAPI',
  'projected',
  'persistentVolumeClaim',
]);
const projections: ReadonlySet<string> = new Set([
  'configMap',
  'secret',
  'downwardAPI',
  'serviceAccountToken',
]);
const resources: ReadonlySet<string> = new Set(['cpu', 'memory', 'ephemeral-storage']);

const why = {
  volume: 'volumes of this kind are not supported, only those of the node and of the API itself',
  projection: 'is not supported in projected volumes',
  resource: 'devices, huge pages and other extended resources are not supported',
  claims: 'dynamic resource allocation is not supported',
  users: 'user namespaces are not supported',
  device: 'block devices are not supported',
  huge: 'huge pages are not supported',
  readOnly: 'this container runtime has no recursive read-only mounts',
  signal: 'this container runtime does not take the signal a container is stopped by',
  rules: 'restart rules of single containers are not supported',
  policy: 'a regular container has the restart policy of its pod, no other is supported',
  file: 'environment from files of volumes is not supported',
} as const;

/**
 * All fields of a pod that it cannot be run without and that cannot be honoured here; such a pod waits, it is neither failed (its
 * controller would make another one) nor run in part.
 */
export function unsupportedFields(
  pod: Pick<Pod, 'spec'>,
  features: RuntimeFeatures = fewestFeatures,
): readonly UnsupportedField[] {
  const found = new Finding(features);
  const { spec } = pod;
  found.podFields(spec as unknown as Raw);
  for (const [index, volume] of spec.volumes.entries())
    found.volume(volume as unknown as Raw, `spec.volumes[${index}]`);
  for (const [index, container] of spec.initContainers.entries())
    found.container(container as unknown as Raw, `spec.initContainers[${index}]`);
  for (const [index, container] of spec.containers.entries()) {
    const at = `spec.containers[${index}]`;
    found.container(container as unknown as Raw, at);
    if (container.restartPolicy !== undefined) found.add(`${at}.restartPolicy`, why.policy);
  }
  return found.fields;
}

/**
 * The same of ephemeral containers, by their names. The pod runs already: only such a container waits, and is not started.
 */
export function ephemeralProblems(
  { spec }: Pick<Pod, 'spec'>,
  features: RuntimeFeatures = fewestFeatures,
): ReadonlyMap<string, readonly UnsupportedField[]> {
  const problems = spec.ephemeralContainers.map((container, index) => {
    const found = new Finding(features);
    found.container(container as unknown as Raw, `spec.ephemeralContainers[${index}]`);
    return [container.name, found.fields] as const;
  });
  return new Map(problems.filter(([, fields]) => fields.length > 0));
}

/** `spec.volumes[0].csi: volumes of this kind …` */
export function unsupportedText(fields: readonly UnsupportedField[]): string {
  return fields.map((each) => `${each.field}: ${each.why}`).join('; ');
}

class Finding {
  readonly fields: UnsupportedField[] = [];
  readonly #features: RuntimeFeatures;

  constructor(features: RuntimeFeatures) {
    this.#features = features;
  }

  add(field: string, reason: string): void {
    this.fields.push({ field, why: reason });
  }

  podFields(spec: Raw): void {
    if (spec['hostUsers'] === false) this.add('spec.hostUsers', why.users);
    if (mapsOf(spec, 'resourceClaims').length > 0) this.add('spec.resourceClaims', why.claims);
    this.#resources(spec, 'spec');
  }

  volume(volume: Raw, at: string): void {
    for (const source of Object.keys(volume)) {
      if (source !== 'name' && !volumeSources.has(source)) this.add(`${at}.${source}`, why.volume);
    }
    const { emptyDir, projected } = volume;
    if (isRaw(emptyDir) && textOf(emptyDir['medium']).startsWith('HugePages'))
      this.add(`${at}.emptyDir.medium`, why.huge);
    if (!isRaw(projected)) return;
    for (const [index, source] of mapsOf(projected, 'sources').entries()) {
      for (const kind of Object.keys(source)) {
        const field = `${at}.projected.sources[${index}].${kind}`;
        if (!projections.has(kind)) this.add(field, why.projection);
      }
    }
  }

  container(container: Raw, at: string): void {
    this.#resources(container, at);
    if (mapsOf(container, 'volumeDevices').length > 0) this.add(`${at}.volumeDevices`, why.device);
    if (mapsOf(container, 'restartPolicyRules').length > 0)
      this.add(`${at}.restartPolicyRules`, why.rules);
    this.#stopSignal(container, at);
    for (const [index, variable] of mapsOf(container, 'env').entries()) {
      const from = variable['valueFrom'];
      if (isRaw(from) && from['fileKeyRef'] !== undefined)
        this.add(`${at}.env[${index}].valueFrom.fileKeyRef`, why.file);
    }
    if (this.#features.recursiveReadOnlyMounts) return;
    for (const [index, mount] of mapsOf(container, 'volumeMounts').entries()) {
      if (mount['recursiveReadOnly'] === 'Enabled')
        this.add(`${at}.volumeMounts[${index}].recursiveReadOnly`, why.readOnly);
    }
  }

  #stopSignal(container: Raw, at: string): void {
    const lifecycle = container['lifecycle'];
    const name = isRaw(lifecycle) ? lifecycle['stopSignal'] : undefined;
    if (name === undefined) return;
    const isTaken = this.#features.stopSignals && isStopSignal(textOf(name));
    if (!isTaken) this.add(`${at}.lifecycle.stopSignal`, why.signal);
  }

  #resources(raw: Raw, at: string): void {
    const given = raw['resources'];
    if (!isRaw(given)) return;
    if (mapsOf(given, 'claims').length > 0) this.add(`${at}.resources.claims`, why.claims);
    const names = new Set(
      ['limits', 'requests'].flatMap((which) => {
        const amounts = given[which];
        return isRaw(amounts) ? Object.keys(amounts).map((name) => `${which}[${name}]`) : [];
      }),
    );
    for (const name of names) {
      const resource = name.slice(name.indexOf('[') + 1, -1);
      if (!resources.has(resource)) this.add(`${at}.resources.${name}`, why.resource);
    }
  }
}
