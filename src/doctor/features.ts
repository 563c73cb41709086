import { ipvsRuleFeatures } from '../backends/ipvs/features.ts';
import { userspaceFeatures } from '../backends/userspace/features.ts';
import type { FeatureReport } from '../backends/iptables/features.ts';
import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import type { PortRange } from '../ip/port-range.ts';
import { registered } from './check.ts';
import { failure, ok, ruleWays, skipped, warning } from './finding.ts';
import type { Finding, Way } from './finding.ts';
import type { ProbeReading } from './readings.ts';

type Tried = Extract<ProbeReading, { kind: 'tried' }>;

const id = 'feature';
const where = 'tried in a network namespace of its own';

/** What the kernel takes of rules, sets and virtual servers when they are tried. */
export const features = registered<ProbeReading>({
  id,
  read: async (readings) => readings.probe(),
  judge: (probe, { config }) => {
    if (probe.kind === 'skipped') return [untried(probe)];
    const { portRange } = config.userspace;
    const found = [
      ...[...probe.families].flatMap(([family, report]) => judgeFamily(family, report, portRange)),
      ...ipvs(probe),
      ...loaded(probe),
    ];
    return probe.byRoot ? found : found.map(doubted);
  },
});

/** What was refused to somebody else may be granted to root. */
function doubted(finding: Finding): Finding {
  if (finding.status !== 'failure') return finding;
  return {
    ...finding,
    status: 'warning',
    cure: `run it as root to be sure; ${finding.cure ?? ''}`,
  };
}

function untried({ why, cure }: Extract<ProbeReading, { kind: 'skipped' }>): Finding {
  const name = `${id}.probe`;
  return cure === undefined ? skipped(name, why, ruleWays) : warning(name, why, cure, ruleWays);
}

function judgeFamily(
  family: Family,
  report: FeatureReport | { readonly problem: string },
  range: PortRange | undefined,
): readonly Finding[] {
  if ('problem' in report) {
    return ruleWays.map((way) => lacking(way, family, report.problem, 'see the tools above'));
  }
  return [iptables(family, report), ipvsRules(family, report), portals(family, report, range)];
}

/** The other family may be missing: then the agent leaves it out. */
function lacking(way: Way, family: Family, text: string, cure: string): Finding {
  const name = `${id}.${way}.${family}`;
  if (family === 'ipv4') return failure(name, text, cure, [way]);
  return warning(name, `${text}; IPv6 is left out`, cure, [way]);
}

function iptables(family: Family, { features: found, missing }: FeatureReport): Finding {
  const way = 'iptables';
  const needed = missing.filter(({ instead }) => instead === undefined);
  if (needed.length > 0) return lacking(way, family, wordsOf(needed), curesOf(needed));
  const name = `${id}.${way}.${family}`;
  const shown = `${familyLabel(family)}: self-reaching pods by ${found.hairpin}, affinity by ${found.affinity}${found.randomFully ? ', --random-fully' : ''}`;
  if (missing.length === 0) return ok(name, `${shown}; ${where}`, [way]);
  return warning(name, `${shown}; ${wordsOf(missing)}`, curesOf(missing), [way]);
}

function ipvsRules(family: Family, report: FeatureReport): Finding {
  const { missing, warnings } = ipvsRuleFeatures(report);
  if (missing.length > 0) return lacking('ipvs', family, wordsOf(missing), curesOf(missing));
  const name = `${id}.ipvs.${family}`;
  if (warnings.length === 0)
    return ok(name, `${familyLabel(family)}: rules and sets; ${where}`, ['ipvs']);
  const cure = curesOf(report.missing);
  return warning(name, `${familyLabel(family)}: ${warnings.join('; ')}`, cure, ['ipvs']);
}

function portals(family: Family, report: FeatureReport, range: PortRange | undefined): Finding {
  const answer = userspaceFeatures(report, range);
  const name = `${id}.userspace.${family}`;
  if ('problem' in answer)
    return lacking('userspace', family, answer.problem, curesOf(report.missing));
  if (answer.warning === undefined)
    return ok(name, `${familyLabel(family)}: portals; ${where}`, ['userspace']);
  return warning(name, answer.warning, curesOf(report.missing), ['userspace']);
}

function ipvs({ ipvs: missing, ipvs6 }: Tried): readonly Finding[] {
  const name = `${id}.ipvs.kernel`;
  if (missing === undefined) {
    const why = 'ip_vs is not loaded, and trying it would load it: --mode=ipvs tries it';
    return [skipped(name, why, ['ipvs'])];
  }
  if (missing.length > 0) return [failure(name, wordsOf(missing), curesOf(missing), ['ipvs'])];
  const main = ok(name, `virtual servers, set types and the dummy link; ${where}`, ['ipvs']);
  if (ipvs6 === undefined) return [main];
  return [main, warning(`${name}6`, wordsOf([ipvs6]), ipvs6.cure, ['ipvs'])];
}

function loaded({ loaded: modules }: Tried): readonly Finding[] {
  if (modules.length === 0) return [];
  const text = `for the probe the kernel has loaded ${modules.join(', ')}, as it does for an agent; nothing else of it is left`;
  return [ok(`${id}.loaded`, text, ruleWays)];
}

interface Lacking {
  readonly name: string;
  readonly reason: string;
  readonly cure: string;
  readonly instead?: string | undefined;
}

function wordsOf(missing: readonly Lacking[]): string {
  return missing
    .map(({ name, reason, instead }) => {
      const then = instead === undefined ? '' : `: ${instead}`;
      return `${name} is missing (${reason})${then}`;
    })
    .join('; ');
}

function curesOf(missing: readonly Lacking[]): string {
  return [...new Set(missing.map(({ cure }) => cure))].join('; ');
}
