import type { ProbeResult, ProbeResults, ProbeType } from '../ports.ts';

interface Held {
  readonly containerId: string;
  readonly result: ProbeResult;
}

/** The results published last, each of the container that it is about. */
export class ProbeResultTable implements ProbeResults {
  /** By pod, then by type and container's name. */
  readonly #pods = new Map<string, Map<string, Held>>();

  result(uid: string, containerId: string, type: ProbeType): ProbeResult | undefined {
    const pod = this.#pods.get(uid);
    if (pod === undefined) return undefined;
    for (const [key, held] of pod) {
      if (held.containerId === containerId && key.startsWith(`${type}/`)) return held.result;
    }
    return undefined;
  }

  /** Says whether anything has changed by it. */
  set(uid: string, name: string, type: ProbeType, held: Held): boolean {
    const key = `${type}/${name}`;
    const pod = this.#pods.get(uid) ?? new Map<string, Held>();
    this.#pods.set(uid, pod);
    const before = pod.get(key);
    pod.set(key, held);
    return before?.containerId !== held.containerId || before.result !== held.result;
  }

  forget(uid: string): void {
    this.#pods.delete(uid);
  }
}
