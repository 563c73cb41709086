import type { Address } from '../../../src/ip/address.ts';
import type { Attempt } from '../arbitraries.ts';
import { sharesOf } from '../ipvs-deviations.ts';
import type { Shares } from '../ipvs-deviations.ts';
import type { WalkingPacket } from '../../../src/walk/packet.ts';
import type { ParsedIpvs } from './parse.ts';
import { simulateIpvs } from './traverse.ts';

/** How much of the packets of an attempt ends where, in the words of `meantByIpvs`. */
export function simulatedShares(
  ipvs: ParsedIpvs,
  localAddresses: readonly Address[],
  attempt: Attempt,
  state: WalkingPacket['state'] = 'NEW',
): Shares {
  const packet: WalkingPacket = {
    ...attempt,
    protocol: protocols[attempt.protocol],
    destinationPort: attempt.port,
    sourcePort: 40_000,
    outInterface: 'eth0',
    state,
  };
  return sharesOf(
    simulateIpvs(ipvs, localAddresses, packet).map((end) => {
      const passed = end.masqueraded ? 'masqueraded pass' : 'pass';
      const arrived = `${end.destination} ${end.port} ${end.masqueraded}`;
      const delivered = end.translated ? arrived : passed;
      return [end.kind === 'delivered' ? delivered : end.kind, end.probability];
    }),
  );
}

const protocols = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' } as const;
