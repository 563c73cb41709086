import { hostPort } from '../ip/address.ts';
import type {
  ChoiceList,
  Endpoint,
  EndpointChoice,
  SkippedEndpoint,
  TopologyMode,
} from './service-port.ts';

/** What a service port without hints says of its topology: nothing worth telling. */
export const noHints = 'no endpoint has a hint for this node or zone';

/** Why the list holds what it holds, in words for explain. */
export function listReason(choice: EndpointChoice, list: ChoiceList): string {
  const chosen = choice[list] ?? [];
  const ready = chosen.some((endpoint) => endpoint.ready);
  if (list === 'cluster') {
    if (chosen.length === 0 || ready) return choice.topologyReason;
    return 'nothing is ready: endpoints that still serve while they terminate take over';
  }
  if (chosen.length === 0) return 'no endpoint on this node can be used';
  return ready
    ? 'the traffic policy is Local: the endpoints on this node, which hints never narrow'
    : 'nothing on this node is ready: endpoints of it that still serve while they terminate take over';
}

/** Every endpoint that is not in the list, and why; sorted as the lists are. */
export function leftOut(choice: EndpointChoice, list: ChoiceList): readonly SkippedEndpoint[] {
  const chosen = new Set(choice[list]);
  const other = choice[list === 'cluster' ? 'local' : 'cluster'] ?? [];
  return [...new Set([...choice.skipped.map(({ endpoint }) => endpoint), ...other])]
    .filter((endpoint) => !chosen.has(endpoint))
    .map((endpoint) => ({ endpoint, reason: whyNot(endpoint, list, choice.topology) }))
    .toSorted((a, b) => (endpointText(a.endpoint) < endpointText(b.endpoint) ? -1 : 1));
}

/** Why an endpoint is not in a list; its own state comes before where it is. */
export function whyNot(endpoint: Endpoint, list: ChoiceList, topology: TopologyMode): string {
  const { ready, serving, terminating, local } = endpoint;
  if (!ready && !terminating) return 'not ready';
  if (!ready && !serving) return 'terminating and no longer serving';
  if (list === 'local' && !local) return 'on another node, and the traffic policy is Local';
  if (!ready) return 'terminating, and others are ready';
  return topology === 'PreferSameNode' ? 'hinted for other nodes' : 'hinted for other zones';
}

/** `2 not ready, 1 terminating and no longer serving`; '' where nothing was skipped. */
export function skippedText(skipped: readonly SkippedEndpoint[]): string {
  return [...Map.groupBy(skipped, ({ reason }) => reason)]
    .map(([reason, { length }]) => `${length} ${reason}`)
    .toSorted()
    .join(', ');
}

/** `ip:port` of an endpoint, by which lists are sorted. */
export function endpointText(endpoint: Pick<Endpoint, 'address' | 'port'>): string {
  return hostPort(endpoint.address, endpoint.port);
}
