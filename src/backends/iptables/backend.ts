import type { GraphDelta, RuleGraph } from '../../graph/rule-graph.ts';
import type { Backend } from '../backend.ts';
import type { SyncReport } from '../sync-report.ts';
import type { DesiredState } from '../desired.ts';
import { CarefulLowering } from '../careful-lowering.ts';
import type { RememberingLowering } from '../careful-lowering.ts';
import { RulesApplier } from './rules-applier.ts';
import type { RulesApplierParts } from './rules-applier.ts';
import type { IptablesState } from './state.ts';

/** The pure half of the mode. */
export type GraphLowering = RememberingLowering<IptablesState>;

/** What an {@link IptablesBackend} is made of. */
export interface IptablesBackendParts extends RulesApplierParts {
  readonly lowering: GraphLowering;
  /** What the node needs beside it for a time. */
  readonly adapt?: (state: IptablesState) => IptablesState;
  /** Told of a graph when its rules are in. */
  readonly onWritten?: ((graph: RuleGraph) => void) | undefined;
}

/** The iptables mode for one family: keeps the kernel's tables equal to the lowered graph. */
export class IptablesBackend implements Backend {
  readonly mode = 'iptables';
  readonly #lowering: CarefulLowering<IptablesState>;
  readonly #rules: RulesApplier;
  readonly #adapt: (state: IptablesState) => IptablesState;
  readonly #variant: DesiredState['variant'];
  readonly #onWritten: IptablesBackendParts['onWritten'];
  #lowered: IptablesState | undefined;

  constructor(parts: IptablesBackendParts) {
    this.#lowering = new CarefulLowering(parts.lowering);
    this.#rules = new RulesApplier(parts);
    this.#adapt = parts.adapt ?? ((state) => state);
    this.#variant = parts.iptables.variant;
    this.#onWritten = parts.onWritten;
  }

  invalidate(): void {
    this.#rules.invalidate();
  }

  async audit(signal: AbortSignal): Promise<string | undefined> {
    return this.#rules.audit(signal);
  }

  inFront(): readonly string[] {
    return this.#rules.inFront;
  }

  async sync(graph: RuleGraph, delta: GraphDelta, signal: AbortSignal): Promise<SyncReport> {
    this.#lowered = this.#lowering.lower(graph, delta);
    const report = await this.#rules.apply(this.#adapt(this.#lowered), signal);
    this.#onWritten?.(graph);
    return report;
  }

  desired(): DesiredState | undefined {
    if (this.#lowered === undefined) return undefined;
    return { variant: this.#variant, rules: this.#adapt(this.#lowered) };
  }

  /** Writes what was asked for last, since what `adapt` makes of it has changed. */
  async renew(signal: AbortSignal): Promise<void> {
    if (this.#lowered !== undefined) await this.#rules.apply(this.#adapt(this.#lowered), signal);
  }
}
