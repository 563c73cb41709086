import type { KubeletBase } from './kubelet.ts';
import type { NodeParts } from './node-parts.ts';
import { ApiPods } from './sources/api-source.ts';
import { FileSource } from './sources/file-source.ts';
import type { PodChange } from './sources/merge.ts';
import { PodConfig } from './sources/pod-config.ts';
import type { PodSourceName } from './sources/sourced-pod.ts';

/** All sources that are configured, put together. */
export class PodSources {
  readonly #base: KubeletBase;
  readonly #node: NodeParts;
  readonly #config: PodConfig;

  constructor(base: KubeletBase, node: NodeParts, onChange: (change: PodChange) => void) {
    this.#base = base;
    this.#node = node;
    const { config, api, clock, log, events } = base;
    const sources: PodSourceName[] = [];
    if (config.staticPods !== undefined) sources.push('file');
    if (api !== undefined) sources.push('api');
    this.#config = new PodConfig({ sources, clock, log, events, onChange });
  }

  /** Whether each of them has spoken. */
  get allReady(): boolean {
    return this.#config.allReady;
  }

  /** Until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { config, api, nodeName, clock, random, log } = this.#base;
    const running: Promise<void>[] = [];
    if (config.staticPods !== undefined) {
      const file = new FileSource({ ...config.staticPods, nodeName, clock, log });
      running.push(file.run((pods) => this.#config.set('file', pods), signal));
    }
    if (api !== undefined) {
      const nodeKnown = this.#node.known(signal);
      const pods = new ApiPods({ client: api.client, nodeName, clock, random, log, nodeKnown });
      running.push(pods.run((set) => this.#config.set('api', set), signal));
    }
    await Promise.all(running);
  }
}
