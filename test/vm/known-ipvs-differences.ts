import { healthRow } from '../upstream/health.ts';
import { knownDifferences, only } from '../upstream/known-differences.ts';
import type { KnownDifference } from '../upstream/known-differences.ts';

/** Rows of the iptables mode that hold in this mode too. */
const shared = [healthRow, 'two services that claim one address, port and protocol'];

/** The rows of docs/differences.md for the ipvs mode. */
export const knownIpvsDifferences: readonly KnownDifference[] = [
  ...knownDifferences.filter(({ row }) => shared.includes(row)),
  {
    row: 'a traffic policy `Local` without an endpoint of the node',
    shows: {
      asked: ({ outcomes }) => outcomes.every(({ kind }) => kind === 'drop'),
      upstream: (ends) => ends.length > 0 && ends.every((end) => end.includes(':')),
      switchyard: only('timeout'),
    },
  },
];
