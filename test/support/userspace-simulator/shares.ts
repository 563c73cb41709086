import type { Address } from '../../../src/ip/address.ts';
import { cidrContains } from '../../../src/ip/cidr.ts';
import type { Attempt } from '../arbitraries.ts';
import { walk } from '../../../src/walk/traverse.ts';
import type { WalkOutcome } from '../../../src/walk/traverse.ts';
import type { ParsedListener, ParsedUserspace } from './parse.ts';

/** How much of the connections ends where: `address port` of an endpoint, or a verdict. */
export type Shares = Readonly<Record<string, number>>;

/** Sends an attempt through the rules of the portals, to a listener, and on to its pool, in turns without end. */
export function simulatedShares(
  { listeners, sets, tables }: ParsedUserspace,
  localAddresses: readonly Address[],
  attempt: Attempt,
): Shares {
  const packet = {
    ...attempt,
    protocol: attempt.protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp',
    destinationPort: attempt.port,
    sourcePort: 40_000,
    outInterface: 'eth0',
    state: 'NEW' as const,
  };
  const shares: Record<string, number> = {};
  const add = (key: string, share: number): void => {
    shares[key] = (shares[key] ?? 0) + share;
  };
  for (const arrived of walk(tables, { localAddresses, sets }, packet)) {
    if (arrived.kind !== 'delivered') {
      add(arrived.kind, arrived.probability);
      continue;
    }
    const listener = listeners.find((each) => isAt(each, arrived, attempt));
    if (arrived.masqueraded) throw new Error('the client is hidden from the listener');
    if (arrived.translated !== (listener !== undefined))
      throw new Error(`${arrived.destination}:${arrived.port} is reached the wrong way`);
    if (listener === undefined) add('pass', arrived.probability);
    else
      for (const [key, share] of carried(listener, attempt.source))
        add(key, share * arrived.probability);
  }
  return shares;
}

function isAt(
  { protocol, address, port }: ParsedListener,
  arrived: WalkOutcome,
  attempt: Attempt,
): boolean {
  return protocol === attempt.protocol && address === arrived.destination && port === arrived.port;
}

/** What a listener does with connections from a client. */
export function carried(
  { routes }: Pick<ParsedListener, 'routes'>,
  client: Address,
): readonly (readonly [string, number])[] {
  const route = routes.find(
    ({ sources }) => sources === undefined || sources.some((cidr) => cidrContains(cidr, client)),
  );
  if (route === undefined || route.how === 'refused') return [['reject', 1]];
  const total = route.endpoints.reduce((sum, { weight }) => sum + weight, 0);
  return route.endpoints.map(({ address, port, weight }) => [`${address} ${port}`, weight / total]);
}
