import type { Clock } from '../../clock.ts';
import { SwitchyardError } from '../../error.ts';
import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import type { ApiObject, ObjectAnswer, ObjectApi } from '../api/object-api.ts';
import { mapsOf, sectionOf, textOf } from '../pod/raw-fields.ts';
import { whileForbidden } from './patience.ts';

/** What a PersistentVolume is on this node: a folder of it. */
export interface ClaimedFolder {
  /** The PersistentVolume's name. */
  readonly volume: string;
  readonly source: 'hostPath' | 'local';
  readonly path: string;
  /** Of a hostPath: what has to be there. */
  readonly type: string;
}

export interface ClaimsOptions {
  readonly claims: Pick<ObjectApi, 'get'>;
  readonly volumes: Pick<ObjectApi, 'get'>;
  readonly clock: Pick<Clock, 'sleep'>;
  /** Whether this node is one of those that a node selector (`nodeSelectorTerms`) names. */
  readonly isNode: (selector: Raw) => boolean;
}

/** Fields of a PersistentVolume's spec that are no source of it. */
const general: ReadonlySet<string> = new Set([
  'accessModes',
  'capacity',
  'claimRef',
  'mountOptions',
  'nodeAffinity',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'volumeAttributesClassName',
  'volumeMode',
]);

/**
 * Finds what PersistentVolumeClaims are bound to. A node may read those of its own pods one by one, and not watch them: they are asked for
 * when a volume is set up, and again while one is not bound.
 */
export class Claims {
  readonly #options: ClaimsOptions;

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Throws where the claim is not bound, or what it is bound to cannot be had here. */
  async find(
    namespace: string,
    name: string,
    volume: string,
    signal: AbortSignal,
  ): Promise<ClaimedFolder> {
    const claim = await this.#claim(namespace, name, signal);
    const spec = section(claim, 'spec');
    const volumeName = textOf(spec['volumeName']);
    const isBound = textOf(section(claim, 'status')['phase']) === 'Bound';
    if (volumeName === '' || !isBound) throw notBound(namespace, name, 'PVC is not bound');
    if (spec['volumeMode'] === 'Block') {
      const where = `volume ${volume} has volumeMode Block`;
      throw refusal(`${where}, but is specified in volumeMounts`);
    }
    const { volumes } = this.#options;
    const found = await this.#get(volumes, `/api/v1/persistentvolumes/${volumeName}`, signal);
    if (found.object === undefined) {
      const what = `failed to fetch PV ${volumeName} from API server: ${found.reason}`;
      throw notBound(namespace, name, what);
    }
    const owner = section(section(found.object, 'spec'), 'claimRef')['uid'];
    if (owner !== claim.metadata.uid)
      throw notBound(namespace, name, `PV ${volumeName} is bound to another claim`);
    return this.#folder(volumeName, section(found.object, 'spec'));
  }

  async #claim(namespace: string, name: string, signal: AbortSignal): Promise<ApiObject> {
    const path = `/api/v1/namespaces/${namespace}/persistentvolumeclaims/${name}`;
    const { object, status, reason } = await this.#get(this.#options.claims, path, signal);
    if (object === undefined) {
      const why = status === 404 ? `persistentvolumeclaim "${name}" not found` : reason;
      throw notBound(namespace, name, `failed to fetch PVC from API server: ${why}`);
    }
    if (object.metadata.deletionTimestamp !== undefined)
      throw notBound(namespace, name, 'PVC is being deleted');
    return object;
  }

  async #get(
    api: Pick<ObjectApi, 'get'>,
    path: string,
    signal: AbortSignal,
  ): Promise<ObjectAnswer> {
    return whileForbidden(this.#options.clock, signal, async () => api.get(path, signal));
  }

  #folder(volume: string, spec: Raw): ClaimedFolder {
    const what = `PersistentVolume ${volume}`;
    const source = Object.keys(spec).find((key) => !general.has(key) && isRaw(spec[key]));
    if (source !== 'hostPath' && source !== 'local') {
      const field = source === undefined ? 'spec' : `spec.${source}`;
      throw refusal(
        `${what}: ${field}: volumes of this kind are not supported, only hostPath and local`,
      );
    }
    const options = spec['mountOptions'];
    if (Array.isArray(options) && options.length > 0) {
      throw refusal(
        `${what}: spec.mountOptions: Mount options are not supported for this volume type`,
      );
    }
    const required = section(section(spec, 'nodeAffinity'), 'required');
    const isHere =
      mapsOf(required, 'nodeSelectorTerms').length === 0 || this.#options.isNode(required);
    if (!isHere) throw refusal(`${what}: node affinity: no matching NodeSelectorTerms`);
    const found = sectionOf(spec, source);
    const path = textOf(found['path']);
    if (!path.startsWith('/') || path.split('/').includes('..')) {
      throw refusal(`${what}: spec.${source}.path: expected an absolute path without ".."`);
    }
    return { volume, source, path, type: source === 'hostPath' ? textOf(found['type']) : '' };
  }
}

function section(raw: Raw | ApiObject, key: string): Raw {
  return sectionOf(raw, key);
}

function notBound(namespace: string, name: string, why: string): SwitchyardError {
  return refusal(`error processing PVC ${namespace}/${name}: ${why}`);
}

function refusal(message: string): SwitchyardError {
  return new SwitchyardError('object', message, { retryable: true });
}
