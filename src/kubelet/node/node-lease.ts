import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import { microTime } from '../../telemetry/event-form.ts';
import type { ApiObject, ObjectApi } from '../api/object-api.ts';

export interface NodeLeaseOptions {
  /** Of leases. */
  readonly api: Pick<ObjectApi, 'get' | 'send'>;
  readonly name: string;
  readonly seconds: number;
  /** The UID of the Node; undefined: it is not known yet. */
  readonly nodeUid: () => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
}

const folder = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
/** Of its duration the lease is renewed after this part, and up to this part of that later. */
const renewal = 0.25;
const jitter = 0.04;
/** Tries a renewal, before the lease is made sure of from the beginning. */
const mostTries = 5;
const firstRetryMs = 100;
const lastRetryMs = 7000;

/** Renews the node's lease, by which the control plane knows that it lives; whatever becomes of its status (Kubernetes: Leases). */
export class NodeLease {
  readonly #options: NodeLeaseOptions;
  /** As the API had it last. */
  #lease: ApiObject | undefined;
  #lastFailure = '';

  constructor(options: NodeLeaseOptions) {
    this.#options = options;
  }

  /** Renews until `signal` aborts. Rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, seconds } = this.#options;
    let retryMs = firstRetryMs;
    while (!signal.aborted) {
      if (await this.#renewed(signal)) {
        retryMs = firstRetryMs;
        await clock.sleep(seconds * 1000 * renewal * (1 + random() * jitter), signal);
      } else {
        await clock.sleep(retryMs, signal);
        retryMs = Math.min(retryMs * 2, lastRetryMs);
      }
    }
  }

  async #renewed(signal: AbortSignal): Promise<boolean> {
    for (let tries = 0; tries < mostTries && !signal.aborted; tries += 1) {
      try {
        const done =
          this.#lease === undefined
            ? await this.#ensure(signal)
            : await this.#renew(this.#lease, signal);
        if (!done) return false;
        if (this.#lease !== undefined) {
          this.#lastFailure = '';
          return true;
        }
      } catch (error) {
        if (signal.aborted) return false;
        this.#failed(errorText(error));
        return false;
      }
    }
    return false;
  }

  /** Whether to go on at once. */
  async #renew(lease: ApiObject, signal: AbortSignal): Promise<boolean> {
    const value = { ...lease, spec: this.#spec(lease['spec']), metadata: this.#owned(lease) };
    const path = `${folder}/${this.#options.name}`;
    const answer = await this.#options.api.send('replace', path, value, signal);
    this.#lease = answer.object;
    // 409: another version is there; 404: none is
    if (answer.object !== undefined || answer.status === 409 || answer.status === 404) return true;
    this.#failed(answer.reason);
    return false;
  }

  async #ensure(signal: AbortSignal): Promise<boolean> {
    const { api, name, nodeUid } = this.#options;
    const found = await api.get(`${folder}/${name}`, signal);
    if (found.object !== undefined) return this.#renew(found.object, signal);
    if (found.status !== 404) return this.#refused(found.reason);
    if (nodeUid() === undefined) return false;
    const lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: this.#owned({ metadata: { name, namespace: 'kube-node-lease' } }),
      spec: this.#spec({}),
    };
    const made = await api.send('create', folder, lease, signal);
    this.#lease = made.object;
    return made.object !== undefined || this.#refused(made.reason);
  }

  #spec(before: unknown): object {
    const { clock, name, seconds } = this.#options;
    const renewTime = microTime(clock.now());
    return {
      ...(before as object),
      holderIdentity: name,
      leaseDurationSeconds: seconds,
      renewTime,
    };
  }

  /** It goes with its Node. */
  #owned({ metadata }: { readonly metadata: Readonly<Record<string, unknown>> }): object {
    const { name, nodeUid } = this.#options;
    const uid = nodeUid();
    const owner = { apiVersion: 'v1', kind: 'Node', name, uid };
    return uid === undefined ? metadata : { ...metadata, ownerReferences: [owner] };
  }

  #refused(reason: string): boolean {
    this.#failed(reason);
    return false;
  }

  #failed(reason: string): void {
    const { log, name } = this.#options;
    const text = `the lease of node ${name} is not renewed: ${reason}`;
    if (reason === this.#lastFailure) log.debug({}, text);
    else log.warn({}, text);
    this.#lastFailure = reason;
  }
}
