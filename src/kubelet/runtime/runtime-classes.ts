import { SwitchyardError, errorText } from '../../error.ts';
import { isRaw } from '../../services/field-reader.ts';
import type { ObjectApi } from '../api/object-api.ts';
import type { Pod } from '../pod/pod.ts';
import { textOf } from '../pod/raw-fields.ts';

/** What the container runtime calls the way in which a pod is to be run; '' for its usual one. */
export interface RuntimeHandlers {
  /** Throws where the pod's RuntimeClass is not there, or not known. */
  of(pod: Pick<Pod, 'spec'>, signal: AbortSignal): Promise<string>;
}

const path = '/apis/node.k8s.io/v1/runtimeclasses';

/**
 * Reads RuntimeClasses when a sandbox is made (Kubernetes: Runtime Class). Few pods have one, and each makes a sandbox but once: that is
 * less than a watch. While the API server is away, what a class said last counts: its handler never changes.
 */
export class RuntimeClasses implements RuntimeHandlers {
  readonly #api: Pick<ObjectApi, 'get'> | undefined;
  readonly #known = new Map<string, string>();

  /** `api`: undefined where there is no API server. */
  constructor(api: Pick<ObjectApi, 'get'> | undefined) {
    this.#api = api;
  }

  async of({ spec }: Pick<Pod, 'spec'>, signal: AbortSignal): Promise<string> {
    const { runtimeClassName: name = '' } = spec;
    if (name === '') return '';
    try {
      const handler = await this.#read(name, signal);
      if (handler !== undefined) {
        this.#known.set(name, handler);
        return handler;
      }
    } catch (thrown) {
      signal.throwIfAborted();
      const known = this.#known.get(name);
      if (known !== undefined) return known;
      throw refusal(`failed to get RuntimeClass ${JSON.stringify(name)}: ${errorText(thrown)}`);
    }
    this.#known.delete(name);
    throw refusal(`runtimeclass.node.k8s.io ${JSON.stringify(name)} not found`);
  }

  /** undefined: there is none. */
  async #read(name: string, signal: AbortSignal): Promise<string | undefined> {
    if (this.#api === undefined) throw new Error('there is no API server');
    const { status, object, reason } = await this.#api.get(`${path}/${name}`, signal);
    if (status === 404) return undefined;
    if (object === undefined || !isRaw(object)) throw new Error(reason);
    return textOf(object['handler']);
  }
}

function refusal(message: string): SwitchyardError {
  return new SwitchyardError('object', message, { retryable: true });
}
