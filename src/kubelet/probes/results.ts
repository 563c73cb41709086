import type { ProbeResult, ProbeResults, ProbeType } from '../ports/probes.ts';

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
    const id = bareId(containerId);
    for (const [key, held] of pod) {
      if (held.containerId === id && key.startsWith(`${type}/`)) return held.result;
    }
    return undefined;
  }

  /** Says whether anything has changed by it. */
  set(uid: string, name: string, type: ProbeType, { containerId, result }: Held): boolean {
    const held: Held = { containerId: bareId(containerId), result };
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

/** The API has the name of the runtime in front of an id, the runtime has not. */
function bareId(containerId: string): string {
  return containerId.replace(/^.*:\/\//, '');
}
