import { setTimeout as delay } from 'node:timers/promises';
import type { Cri } from '../../src/kubelet/cri/client.ts';
import { ContainerState } from '../../src/kubelet/cri/gen/api_pb.ts';
import { labels } from '../../src/kubelet/runtime/labels.ts';
import type { NodeMachine } from './node-machine.ts';
import { followTasks } from './task-events.ts';
import type { TaskEvent } from './task-events.ts';

/** One life of a container or a sandbox. */
export interface Run {
  readonly node: string;
  readonly id: string;
  /** `namespace/name`. */
  readonly pod: string;
  readonly uid: string;
  /** Empty: the sandbox. */
  readonly container: string;
  readonly startedMs: number;
  /** undefined: it runs. */
  readonly endedMs: number | undefined;
}

interface Owner {
  readonly pod: string;
  readonly uid: string;
  readonly container: string;
}

interface Begun {
  readonly node: string;
  readonly id: string;
  readonly owner: Promise<Owner | undefined>;
  readonly startedMs: number;
  endedMs: number | undefined;
}

/** What ran on each node, when, and for which pod: by what the runtimes themselves told, not by any status. */
export class Runs {
  readonly #begun: Begun[] = [];
  readonly #stop = new AbortController();

  /** From now on; also when its runtime is restarted. */
  follow(node: NodeMachine): void {
    const cri = node.connect();
    const told = ({ what, id, atMs }: TaskEvent): void => {
      if (what === 'exit') this.#end(node.name, id, atMs);
      else this.#begin(node.name, id, atMs, ownerOf(cri, id));
    };
    void followTasks(cri, { told }, this.#stop.signal);
  }

  /** The machine was switched off: of what ran there, nothing runs any more. */
  switchedOff(node: NodeMachine): void {
    const nowMs = Date.now();
    for (const each of this.#begun) if (each.node === node.name) each.endedMs ??= nowMs;
  }

  leave(): void {
    this.#stop.abort();
  }

  /** Of the pods with such a name (`namespace/name`), in the order of their starts. */
  async of(pod: string | RegExp): Promise<readonly Run[]> {
    const all = await this.all();
    return all.filter((run) => (typeof pod === 'string' ? run.pod === pod : pod.test(run.pod)));
  }

  async all(): Promise<readonly Run[]> {
    const runs: Run[] = [];
    for (const { owner, ...rest } of this.#begun) {
      const of = await owner;
      if (of) runs.push({ ...rest, ...of });
    }
    return runs.toSorted((a, b) => a.startedMs - b.startedMs);
  }

  /** What was started twice, or ran beside another of the same pod's name and container. */
  async twice(): Promise<readonly string[]> {
    const found: string[] = [];
    const byPlace = Map.groupBy(await this.all(), ({ pod, container }) => `${pod} ${container}`);
    for (const [place, runs] of byPlace) {
      for (const [at, run] of runs.entries()) {
        const next = runs[at + 1];
        if (next === undefined) continue;
        if (runs.slice(0, at).some(({ id }) => id === run.id)) found.push(`${place}: ${run.id}`);
        const { endedMs = Infinity } = run;
        if (next.startedMs < endedMs) {
          found.push(
            `${place}: ${run.id} on ${run.node} ran until ${endedMs}, ${next.id} on ${next.node} from ${next.startedMs}`,
          );
        }
      }
    }
    return found;
  }

  /** Ids of what a node's runtime has run without that a start of it was seen: with any, {@link twice} would prove little. */
  async missed(node: NodeMachine): Promise<readonly string[]> {
    const { containers } = await node.connect().runtime.listContainers({});
    const ran = containers.filter(({ state }) => state !== ContainerState.CONTAINER_CREATED);
    return ran.map(({ id }) => id).filter((id) => !this.#begun.some((each) => each.id === id));
  }

  #begin(node: string, id: string, startedMs: number, owner: Promise<Owner | undefined>): void {
    this.#begun.push({ node, id, owner, startedMs, endedMs: undefined });
  }

  #end(node: string, id: string, atMs: number): void {
    const open = this.#begun.find(
      (each) => each.node === node && each.id === id && each.endedMs === undefined,
    );
    if (open) open.endedMs = atMs;
  }
}

/** By what stands on it; undefined: it went before anybody could ask. */
async function ownerOf({ runtime }: Cri, id: string): Promise<Owner | undefined> {
  for (let tries = 0; tries < 20; tries++) {
    try {
      const [{ containers }, { items }] = await Promise.all([
        runtime.listContainers({ filter: { id } }),
        runtime.listPodSandbox({ filter: { id } }),
      ]);
      const [found] = [...containers, ...items];
      if (found !== undefined) return ownerIn(found.labels);
    } catch {
      // The runtime is being restarted.
    }
    await delay(50);
  }
  return undefined;
}

function ownerIn(given: Readonly<Record<string, string>>): Owner {
  const of = (label: string): string => given[label] ?? '';
  return {
    pod: `${of(labels.podNamespace)}/${of(labels.podName)}`,
    uid: of(labels.podUid),
    container: of(labels.containerName),
  };
}
