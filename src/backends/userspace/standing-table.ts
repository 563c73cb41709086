import type { Frontend } from '../../graph/rule-graph.ts';
import { hostPort } from '../../ip/address.ts';
import type { ListenerKey } from '../../relay/relay.ts';
import type { StandingState } from './standing.ts';
import type { ListenerPort } from './state.ts';

const heading = ['SERVICE', 'FRONTEND', 'LISTENS AT'] as const;

/**
 * Where each service listens, as a table for people; `ports` are those that listeners have in the end, where they are not
 * the ones they asked for.
 */
export function standingTable(
  { frontends, listeners }: StandingState,
  ports: ReadonlyMap<ListenerKey, ListenerPort> = new Map(),
): string {
  const rows = frontends.map(({ frontend, served }): readonly [string, string, string] => {
    const place = 'reason' in served ? `- (${served.reason})` : placeText(served.key);
    return [frontend.origin.name, frontendText(frontend), place];
  });
  function placeText(key: ListenerKey): string {
    const place = listeners.get(key)?.place;
    const port = ports.get(key);
    if (place === undefined) return '-';
    if (port === undefined) return hostPort(place.address, place.port);
    return 'refused' in port ? `- (${port.refused})` : hostPort(place.address, port.port);
  }
  const widths = [0, 1].map((column) =>
    Math.max(...[heading, ...rows].map((row) => row[column]?.length ?? 0)),
  );
  const lines = [heading, ...rows].map(([name, frontend, place]) =>
    [name.padEnd(widths[0] ?? 0), frontend.padEnd(widths[1] ?? 0), place].join('  '),
  );
  return `${lines.join('\n')}\n`;
}

function frontendText({ kind, address, port, protocol }: Frontend): string {
  const where = address === undefined ? `${port}` : hostPort(address, port);
  return `${kindTexts[kind]} ${where}/${protocol}`;
}

const kindTexts: Readonly<Record<Frontend['kind'], string>> = {
  clusterIP: 'cluster IP',
  externalIP: 'external IP',
  loadBalancerIP: 'load balancer IP',
  nodePort: 'node port',
};
