import type { Address } from '../ip/address.ts';

/** The schedulers of the kernel's ipvs that a Service may ask for (docs/annotations.md). */
export const schedulers = [
  'rr',
  'wrr',
  'lc',
  'wlc',
  'lblc',
  'lblcr',
  'sh',
  'dh',
  'sed',
  'nq',
  'mh',
  'ovf',
] as const;

export type Scheduler = (typeof schedulers)[number];

/** Flags of schedulers, as `ipvsadm -b` takes them: each is for the scheduler it starts with. */
export const schedulerFlags = ['mh-fallback', 'mh-port', 'sh-fallback', 'sh-port'] as const;

export type SchedulerFlag = (typeof schedulerFlags)[number];

/** How a virtual server chooses; modes without virtual servers choose at random. */
export interface Scheduling {
  readonly scheduler: Scheduler;
  /** Sorted, each once. */
  readonly flags: readonly SchedulerFlag[];
}

/** What the annotations of a Service ask of all its ports. What is not said is not there. */
export interface Balancing {
  readonly scheduling?: Scheduling;
  /** By address of an endpoint, or by {@link nodeKey}; 1 to 65535. */
  readonly weights?: ReadonlyMap<string, number>;
  /** How long the connections of an endpoint that goes away may last. */
  readonly drainSeconds?: number;
  /** A UDP flow of a proxy of sockets ends when nothing has passed for so long. */
  readonly udpTimeoutMs?: number;
  /** A proxy of sockets tells the endpoint its client's address, in a header of the PROXY protocol, version 2. */
  readonly proxyProtocol?: true;
}

/** The key of all endpoints on a node: `node/worker-1`. */
export function nodeKey(nodeName: string): string {
  return `node/${nodeName}`;
}

/** The weight of an endpoint: its address counts before its node; 1 where neither is named. */
export function weightOf(
  weights: ReadonlyMap<string, number> | undefined,
  endpoint: { readonly address: Address; readonly nodeName: string | undefined },
): number {
  if (weights === undefined) return 1;
  const { address, nodeName } = endpoint;
  return weights.get(address) ?? weights.get(nodeKey(nodeName ?? '')) ?? 1;
}
