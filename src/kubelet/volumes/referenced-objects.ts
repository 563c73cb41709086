import type { Clock } from '../../clock.ts';
import { SwitchyardError } from '../../error.ts';
import type { ApiClient } from '../../informer/api-client.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Pod } from '../pod/pod.ts';
import type { ConfigMapData, ReferencedObjects, SecretData } from '../ports/referenced-objects.ts';
import { patientReader } from './patience.ts';
import { configMapKind, secretKind } from './referenced-kinds.ts';
import type { WatchedConfigMap, WatchedSecret } from './referenced-kinds.ts';
import { referencesOf } from './references.ts';
import type { Reference, ReferenceKind } from './references.ts';
import { WatchedObject } from './watched-object.ts';

export interface WatchedReferencesOptions {
  /** One that has many watches on few connections. */
  readonly client: ApiClient;
  readonly clock: Clock;
  /** Numbers in [0, 1): jitter. */
  readonly random: () => number;
  readonly log: Log;
  /** Pods that refer to an object that changed, by UID. */
  readonly onChange: (uids: readonly string[]) => void;
}

/** Who refers to an object. */
interface Entry<T extends WatchedConfigMap | WatchedSecret> {
  readonly pods: Set<string>;
  readonly object: WatchedObject<T>;
}

/**
 * The ConfigMaps and Secrets that this node's pods refer to, each watched by itself (Kubernetes: Using Node Authorization): that is all
 * that the node authoriser lets a node see, and it forgets what no pod refers to any more.
 */
export class WatchedReferences implements ReferencedObjects {
  readonly #options: WatchedReferencesOptions;
  readonly #client: ApiClient;
  readonly #configMaps = new Map<string, Entry<WatchedConfigMap>>();
  readonly #secrets = new Map<string, Entry<WatchedSecret>>();
  /** What a pod refers to, by UID. */
  readonly #ofPods = new Map<string, readonly Reference[]>();
  /** Watches that have not ended yet. */
  readonly #ending = new Set<Promise<void>>();

  constructor(options: WatchedReferencesOptions) {
    this.#options = options;
    this.#client = patientReader(options.client, options.clock);
  }

  async configMap(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<ConfigMapData | undefined> {
    const entry = this.#configMaps.get(keyOf({ namespace, name }));
    return (entry ?? notRegistered(namespace, name)).object.value(signal);
  }

  async secret(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<SecretData | undefined> {
    const entry = this.#secrets.get(keyOf({ namespace, name }));
    return (entry ?? notRegistered(namespace, name)).object.value(signal);
  }

  register(pod: Pod): void {
    const { uid } = pod.metadata;
    const before = this.#ofPods.get(uid) ?? [];
    const now = referencesOf(pod);
    for (const reference of now) this.#entry(reference).pods.add(uid);
    const kept = new Set(now.map(idOf));
    this.#release(
      uid,
      before.filter((reference) => !kept.has(idOf(reference))),
    );
    this.#ofPods.set(uid, now);
  }

  unregister(uid: string): void {
    this.#release(uid, this.#ofPods.get(uid) ?? []);
    this.#ofPods.delete(uid);
  }

  /** Ends all watches, and resolves when they have ended. */
  async close(): Promise<void> {
    for (const uid of this.#ofPods.keys()) this.unregister(uid);
    await Promise.all(this.#ending);
  }

  #entry(reference: Reference): Entry<WatchedConfigMap> | Entry<WatchedSecret> {
    const { client, clock, random, log } = { ...this.#options, client: this.#client };
    const key = keyOf(reference);
    const pods = new Set<string>();
    const onChange = (): void => this.#options.onChange([...pods]);
    const shared = { client, clock, random, log, onChange };
    if (reference.kind === 'ConfigMap') {
      const known = this.#configMaps.get(key);
      if (known !== undefined) return known;
      const object = new WatchedObject({ kind: configMapKind(reference), ...shared });
      const entry = { pods, object };
      this.#configMaps.set(key, entry);
      return entry;
    }
    const known = this.#secrets.get(key);
    if (known !== undefined) return known;
    const object = new WatchedObject({ kind: secretKind(reference), ...shared });
    const entry = { pods, object };
    this.#secrets.set(key, entry);
    return entry;
  }

  #release(uid: string, references: readonly Reference[]): void {
    for (const reference of references) {
      const entries = this.#entriesOf(reference.kind);
      const key = keyOf(reference);
      const entry = entries.get(key);
      entry?.pods.delete(uid);
      if (entry === undefined || entry.pods.size > 0) continue;
      entries.delete(key);
      const ending = entry.object.stop().finally(() => this.#ending.delete(ending));
      this.#ending.add(ending);
    }
  }

  #entriesOf(
    kind: ReferenceKind,
  ): Map<string, Entry<WatchedConfigMap>> | Map<string, Entry<WatchedSecret>> {
    return kind === 'ConfigMap' ? this.#configMaps : this.#secrets;
  }
}

function keyOf({ namespace, name }: Pick<Reference, 'namespace' | 'name'>): string {
  return `${namespace}/${name}`;
}

function idOf(reference: Reference): string {
  return `${reference.kind} ${keyOf(reference)}`;
}

function notRegistered(namespace: string, name: string): never {
  const message = `object "${namespace}"/"${name}" not registered`;
  throw new SwitchyardError('source', message, { retryable: true });
}
