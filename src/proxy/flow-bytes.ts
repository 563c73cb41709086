import type { FrontendId, RuleGraph } from '../graph/rule-graph.ts';
import { listCountedFlows } from '../host/counted-flows.ts';
import type { CountedFlow } from '../host/counted-flows.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { Family } from '../ip/address.ts';
import { familyLabel } from '../ip/address.ts';
import type { TrafficSink } from '../telemetry/traffic-tally.ts';

export interface FlowBytesOptions {
  readonly family: Family;
  readonly tools: ToolRunner;
  readonly sink: TrafficSink;
}

interface Seen {
  readonly received: number;
  readonly sent: number;
  /** The reading that saw it last. */
  readonly reading: number;
}

/**
 * Adds up the bytes of connections to Services as connection tracking counts them. An entry outlives its connection
 * (by 10 s or more for TCP, unless somebody removes it), so that looking more often than that finds all that it carried; what
 * an entry that is gone before the next look carried since the last one is lost. Remembers one record an entry.
 */
export class FlowBytes {
  readonly name: string;
  readonly #options: FlowBytesOptions;
  readonly #seen = new Map<number, Seen>();
  #graph: Pick<RuleGraph, 'frontends'> | undefined;
  #reading = 0;
  /** Whether there was a whole reading: what is new from then on began after it. */
  #hasLooked = false;

  constructor(options: FlowBytesOptions) {
    this.#options = options;
    this.name = `connections (${familyLabel(options.family)})`;
  }

  /** By this it is told whose a connection is. */
  written(graph: Pick<RuleGraph, 'frontends'>): void {
    this.#graph = graph;
  }

  async read(signal: AbortSignal): Promise<void> {
    const { tools, family } = this.#options;
    const reading = ++this.#reading;
    await listCountedFlows(tools, family, (flow) => this.#note(flow, reading), signal);
    this.#hasLooked = true;
    // The kernel may leave an entry out of a list while its table is rebuilt: missing twice, it is gone.
    for (const [id, seen] of this.#seen) if (seen.reading < reading - 1) this.#seen.delete(id);
  }

  #note({ id, received, sent, ...flow }: CountedFlow, reading: number): void {
    const known = this.#seen.get(id);
    const servicePort = this.#ownerOf(flow);
    // What there was when nobody had looked yet is of an earlier run, whosever it is and comes to be.
    if (this.#hasLooked && servicePort === undefined && known === undefined) return;
    this.#seen.set(id, { received, sent, reading });
    if (!this.#hasLooked || servicePort === undefined) return;
    const before = known ?? { received: 0, sent: 0 };
    this.#options.sink.add(servicePort, {
      received: received >= before.received ? received - before.received : received,
      sent: sent >= before.sent ? sent - before.sent : sent,
    });
  }

  #ownerOf({
    protocol,
    destination,
    destinationPort,
  }: Omit<CountedFlow, 'id' | 'received' | 'sent'>): string | undefined {
    const frontends = this.#graph?.frontends;
    const at = `${destination}/${protocol}/${destinationPort}` as FrontendId;
    const onNode = `nodePort/${protocol}/${destinationPort}` as FrontendId;
    return (frontends?.get(at) ?? frontends?.get(onNode))?.origin.servicePort;
  }
}
