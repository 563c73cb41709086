import type { Container } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';

/** One variable of a container. */
export interface EnvValue {
  readonly name: string;
  readonly value: string;
}

/** What of a pod is only known once its sandbox is there. */
export interface PodAddresses {
  readonly podIPs: readonly string[];
  readonly hostIPs: readonly string[];
}

/** What a container finds as its environment. */
export interface Environment {
  /** Throws with the reason of a `CreateContainerConfigError`. */
  build(
    pod: Pod,
    container: Container,
    addresses: PodAddresses,
    signal: AbortSignal,
  ): Promise<readonly EnvValue[]>;
}
