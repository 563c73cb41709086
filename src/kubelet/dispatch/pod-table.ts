import type { Pod } from '../pod/pod.ts';
import { fullName, isMirrorPod, isStaticPod } from '../sources/sourced-pod.ts';

/** All pods that the sources have now; those that only stand for static ones apart. */
export class PodTable {
  readonly #pods = new Map<string, Pod>();
  readonly #mirrors = new Map<string, Pod>();

  /** Takes up a pod, or another version of it. */
  set(pod: Pod): void {
    (isMirrorPod(pod) ? this.#mirrors : this.#pods).set(pod.metadata.uid, pod);
  }

  remove({ metadata }: Pod): void {
    this.#pods.delete(metadata.uid);
    this.#mirrors.delete(metadata.uid);
  }

  /** By UID; no mirrors. */
  get(uid: string): Pod | undefined {
    return this.#pods.get(uid);
  }

  /** Whether a source has it, or, of a static pod, its mirror. */
  has(pod: Pod): boolean {
    return isStaticPod(pod) ? this.mirrorOf(pod) !== undefined : this.#pods.has(pod.metadata.uid);
  }

  /** All but mirrors. */
  all(): readonly Pod[] {
    return [...this.#pods.values()];
  }

  mirrors(): readonly Pod[] {
    return [...this.#mirrors.values()];
  }

  /** By its names; no mirrors. Of two with the same names the later one. */
  byName(namespace: string, name: string): Pod | undefined {
    return this.all().findLast(
      ({ metadata }) => metadata.name === name && metadata.namespace === namespace,
    );
  }

  /** What stands for a static pod at the API server. */
  mirrorOf(pod: Pod): Pod | undefined {
    const name = fullName(pod);
    return isStaticPod(pod) ? this.mirrors().find((each) => fullName(each) === name) : undefined;
  }

  /** The static pod that a mirror stands for. */
  staticOf(mirror: Pod): Pod | undefined {
    const name = fullName(mirror);
    return this.all().find((each) => isStaticPod(each) && fullName(each) === name);
  }
}
