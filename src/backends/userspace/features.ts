import type { PortRange } from '../../ip/port-range.ts';
import { portRangeText } from '../../ip/port-range.ts';
import type { FeatureReport } from '../iptables/features.ts';
import type { UserspaceFeatures } from './state.ts';

/** The relay chooses endpoints and keeps clients, and nothing is masqueraded. */
const unused = new Set([
  'match statistic',
  'match recent',
  'match mark',
  'match bpf',
  'target MARK',
  'target SET',
  'target MASQUERADE',
  'MASQUERADE --random-fully',
]);

/** What the probe of the iptables features means for portals, or why there can be none. */
export function userspaceFeatures(
  { missing }: FeatureReport,
  range: PortRange | undefined,
):
  | { readonly features: UserspaceFeatures; readonly warning: string | undefined }
  | { readonly problem: string } {
  const sets = missing.find(({ name }) => name === 'ipset' || name === 'match set');
  const needed = missing.filter(({ name, instead }) => instead === undefined && !unused.has(name));
  if (needed.length > 0) {
    const each = needed.map(({ name, reason, cure }) => `${name} (${reason}; ${cure})`);
    return { problem: `rules need what is missing: ${each.join(', ')}` };
  }
  if (sets === undefined)
    return { features: { guard: 'ipset', comments: 'auto' }, warning: undefined };
  const why = `${sets.name} is missing (${sets.reason})`;
  if (range === undefined) {
    const problem = `${why}, so that the ports of listeners cannot be kept from strangers one by one: ${sets.cure}, or give --proxy-port-range`;
    return { problem };
  }
  const warning = `${why}; all of ${portRangeText(range)} is kept from strangers instead; ${sets.cure}`;
  return { features: { guard: range, comments: 'auto' }, warning };
}
