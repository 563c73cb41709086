import type { FeatureReport } from '../iptables/features.ts';
import type { IpvsFeatures } from './options.ts';
import type { Missing } from './tool-problems.ts';

/** Sets stand in for what iptables mode has rules for, and ipvs chooses endpoints and keeps clients. */
const unused = new Set(['match statistic', 'match recent', 'target SET']);
const needed = new Set(['ipset', 'match set']);

/** What the probe of the iptables features means for this mode: what it lacks, and what it does without. */
export function ipvsRuleFeatures({ features, missing }: FeatureReport): {
  readonly features: IpvsFeatures;
  readonly missing: readonly Missing[];
  /** For the log. */
  readonly warnings: readonly string[];
} {
  const relevant = missing.filter(({ name }) => !unused.has(name));
  const lacking = relevant.filter(({ name, instead }) => instead === undefined || needed.has(name));
  const rest = relevant.filter((each) => !lacking.includes(each));
  const hairpin = features.hairpin === 'bpf' ? 'bpf' : 'ipset';
  return {
    features: { hairpin, randomFully: features.randomFully },
    missing: lacking.map(({ name, reason, cure }) => ({ name, reason, cure })),
    warnings: rest.map(
      ({ name, reason, instead, cure }) => `${name} is missing (${reason}); ${instead}; ${cure}`,
    ),
  };
}
