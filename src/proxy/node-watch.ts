import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../clock.ts';
import { SwitchyardError } from '../error.ts';
import type { InformerHandler } from '../informer/source.ts';
import { Wakeup } from '../informer/wakeup.ts';
import type { NodeObject } from '../services/objects.ts';
import type { Log } from '../telemetry/log.ts';
import type { ProxyHealth } from './health.ts';
import type { NodeState } from './node-state.ts';

export interface NodeWatchOptions {
  readonly nodeName: string;
  readonly state: NodeState;
  readonly health: ProxyHealth;
  readonly clock: Clock;
  readonly log: Log;
  /** NodeCIDR mode: nothing can be written before the node has pod CIDRs. */
  readonly needsPodCidrs: boolean;
  /** Whether a Node has to exist: the API server has one for each node, manifests may have none. */
  readonly expected: boolean;
  /** The node changed in a way that rules may depend on. */
  readonly onChange: (zone: string | undefined) => void;
}

const addressesWithinMs = 30_000;
const podCidrsWithinMs = 300_000;
const longestWaitMs = 60_000;

/** Follows this node's own object, and holds the start back until enough of it is known. */
export class NodeWatch {
  readonly #options: NodeWatchOptions;
  readonly #wakeup = new Wakeup();
  #listed = false;

  constructor(options: NodeWatchOptions) {
    this.#options = options;
  }

  readonly handler: InformerHandler<NodeObject> = {
    added: (node) => {
      this.#set(node);
    },
    updated: (_previous, node) => {
      this.#set(node);
    },
    removed: (node) => {
      this.#options.health.setNode(undefined);
      this.#options.log.warn(
        { node: node.meta.name },
        'the Node was deleted; its last addresses and pod CIDRs stay in force',
      );
    },
    synced: () => {
      this.#listed = true;
      this.#wakeup.ring();
    },
  };

  /**
   * Resolves when Nodes were listed and this one has addresses, or has had 30 s to get some. In
   * NodeCIDR mode it waits up to 5 min for pod CIDRs, and rejects where there are none by then.
   */
  async ready(signal: AbortSignal): Promise<void> {
    const { state, expected, needsPodCidrs, log, nodeName } = this.#options;
    await this.#until(() => this.#listed, Number.POSITIVE_INFINITY, signal);
    const hasAddresses = (): boolean => (state.node?.addresses.length ?? 0) > 0;
    if (expected && !(await this.#until(hasAddresses, addressesWithinMs, signal))) {
      if (signal.aborted) return;
      const what = state.node === undefined ? 'does not exist' : 'has no addresses';
      log.error({ node: nodeName }, `Node ${nodeName} ${what}; going on without its addresses`);
    }
    if (!needsPodCidrs) return;
    const hasPodCidrs = (): boolean => (state.node?.podCIDRs.length ?? 0) > 0;
    if (await this.#until(hasPodCidrs, podCidrsWithinMs, signal)) return;
    if (!signal.aborted) throw this.#noPodCidrs();
  }

  #set(node: NodeObject): void {
    const { state, health, onChange } = this.#options;
    const before = state.node;
    state.setNode(node);
    health.setNode(node);
    this.#wakeup.ring();
    if (before === undefined || !meansTheSame(before, node)) onChange(node.zone);
  }

  async #until(condition: () => boolean, withinMs: number, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options;
    const endMs = clock.monotonic() + withinMs;
    while (!condition()) {
      const leftMs = endMs - clock.monotonic();
      if (signal.aborted || leftMs <= 0) return false;
      await this.#wakeup.wait(clock, Math.min(leftMs, longestWaitMs), signal);
    }
    return true;
  }

  #noPodCidrs(): SwitchyardError {
    const { state, nodeName } = this.#options;
    const what = state.node === undefined ? 'to exist' : 'to get spec.podCIDRs';
    return new SwitchyardError(
      'source',
      `timeout waiting for Node ${nodeName} ${what}, which --detect-local-mode=NodeCIDR needs`,
      { hint: 'let the cluster allocate pod CIDRs, or choose another --detect-local-mode' },
    );
  }
}

/** Whether all that rules are made of is equal: the kubelet writes its Node every few minutes. */
function meansTheSame(a: NodeObject, b: NodeObject): boolean {
  return isDeepStrictEqual(ruleFacts(a), ruleFacts(b));
}

function ruleFacts({ addresses, podCIDRs, zone }: NodeObject): object {
  return { addresses, podCIDRs, zone };
}
