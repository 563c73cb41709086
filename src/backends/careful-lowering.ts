import type { GraphDelta, RuleGraph } from '../graph/rule-graph.ts';

/** A lowering that remembers, to lower a delta quickly. */
export interface RememberingLowering<State> {
  lower(graph: RuleGraph, delta: GraphDelta): State;
}

const everything: GraphDelta = { everything: true, frontends: new Set(), pools: new Set() };

/** Lowers everything at first and after a failure: a lowering that threw must not be continued. */
export class CarefulLowering<State> {
  readonly #lowering: RememberingLowering<State>;
  #lowered = false;

  constructor(lowering: RememberingLowering<State>) {
    this.#lowering = lowering;
  }

  lower(graph: RuleGraph, delta: GraphDelta): State {
    const complete = !this.#lowered;
    this.#lowered = false;
    const state = this.#lowering.lower(graph, complete ? everything : delta);
    this.#lowered = true;
    return state;
  }
}
