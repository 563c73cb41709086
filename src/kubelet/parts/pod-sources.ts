import type { KubeletBase } from '../base/kubelet-base.ts';
import type { NodeParts } from './node-parts.ts';
import { ApiPods } from '../sources/api-source.ts';
import { FileSource } from '../sources/file-source.ts';
import type { PodChange } from '../sources/merge.ts';
import { PodConfig } from '../sources/pod-config.ts';
import type { Complaint, SourceState } from '../sources/source-state.ts';
import type { PodSourceName } from '../sources/sourced-pod.ts';
import { UrlSource } from '../sources/url-source.ts';

/** A source of static pods. */
interface StaticSource extends Pick<FileSource, 'run'> {
  readonly state: Pick<SourceState, 'place' | 'complaints' | 'isStale'>;
}

/** What a source has to say of itself. */
export interface SourceReport {
  readonly name: PodSourceName;
  /** A path, a URL. */
  readonly place: string;
  /** Whether it has said once which pods there are. */
  readonly hasSpoken: boolean;
  /** Whether its pods are what it had before, for it cannot be read now. */
  readonly isStale: boolean;
  /** What of it is not run, and why. */
  readonly complaints: readonly Complaint[];
}

/** All sources that are configured, put together. */
export class PodSources {
  readonly #base: KubeletBase;
  readonly #node: NodeParts;
  readonly #config: PodConfig;
  readonly #static = new Map<PodSourceName, StaticSource>();

  constructor(base: KubeletBase, node: NodeParts, onChange: (change: PodChange) => void) {
    this.#base = base;
    this.#node = node;
    const { config, api, nodeName, clock, log, events } = base;
    if (config.staticPods !== undefined)
      this.#static.set('file', new FileSource({ ...config.staticPods, nodeName, clock, log }));
    if (config.urlPods !== undefined)
      this.#static.set('http', new UrlSource({ ...config.urlPods, nodeName, clock, log }));
    const sources = [...this.#static.keys(), ...(api === undefined ? [] : (['api'] as const))];
    this.#config = new PodConfig({ sources, clock, log, events, onChange });
  }

  /** Whether each of them has spoken. */
  get allReady(): boolean {
    return this.#config.allReady;
  }

  report(): readonly SourceReport[] {
    const { api } = this.#base;
    const asked = api === undefined ? [] : [{ name: 'api' as const, place: api.client.server }];
    return [
      ...Array.from(this.#static, ([name, { state }]) => ({
        name,
        place: state.place,
        complaints: state.complaints,
        isStale: state.isStale,
      })),
      ...asked.map((each) => ({ ...each, complaints: [], isStale: false })),
    ].map((each) => ({ ...each, hasSpoken: this.#config.hasSpoken(each.name) }));
  }

  /** Until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { api, nodeName, clock, random, log } = this.#base;
    const running = Array.from(this.#static, async ([name, source]) =>
      source.run((pods) => this.#config.set(name, pods), signal),
    );
    if (api !== undefined) {
      const nodeKnown = this.#node.known(signal);
      const pods = new ApiPods({ client: api.client, nodeName, clock, random, log, nodeKnown });
      running.push(pods.run((set) => this.#config.set('api', set), signal));
    }
    await Promise.all(running);
  }
}
