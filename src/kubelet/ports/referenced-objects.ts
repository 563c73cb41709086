import type { Pod } from '../pod/pod.ts';

/** ConfigMaps and Secrets that pods of this node refer to, watched one by one while a pod does. */
export interface ReferencedObjects {
  /** undefined: there is none. Throws where nothing is known yet. */
  configMap(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<ConfigMapData | undefined>;
  secret(namespace: string, name: string, signal: AbortSignal): Promise<SecretData | undefined>;
  /** From now on what this pod refers to is watched; again with each new version of the pod. */
  register(pod: Pod): void;
  unregister(uid: string): void;
}

/** What of a ConfigMap pods use; `binaryData` is decoded. */
export interface ConfigMapData {
  readonly data: Readonly<Record<string, string>>;
  readonly binaryData: Readonly<Record<string, Uint8Array>>;
  readonly immutable: boolean;
}

/** What of a Secret pods use, decoded. */
export interface SecretData {
  readonly type: string;
  readonly data: Readonly<Record<string, Uint8Array>>;
  readonly immutable: boolean;
}
