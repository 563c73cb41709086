import { registered } from './check.ts';
import { failure, ok, ruleWays, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { RulesReading, VariantReading } from './readings.ts';

interface VariantFacts {
  readonly variant: VariantReading;
  readonly rules: RulesReading;
}

const id = 'variant';

/** Which variant of the iptables tools this node uses, and whether rules of the other one are in force too. */
export const variant = registered<VariantFacts>({
  id,
  read: async (readings) => ({
    variant: await readings.variant(),
    rules: await readings.rules(),
  }),
  judge: ({ variant: found, rules }) =>
    found.kind === 'unknown'
      ? [warning(`${id}.choice`, found.reason, found.cure, ruleWays)]
      : [
          ok(`${id}.choice`, `${found.choice.variant}: ${found.choice.reason}`, ruleWays),
          besides(found.choice, rules),
          ...hints(rules),
        ],
});

function besides(
  choice: Extract<VariantReading, { kind: 'chosen' }>['choice'],
  { read }: RulesReading,
): Finding {
  const name = `${id}.other`;
  if (choice.beside !== undefined) {
    const { variant: other, rules } = choice.beside;
    const text = `${rules} rules of a service proxy are in force in the ${other} variant too: the kernel goes through both, and these may answer with pods that are gone`;
    const cure = `iptables-${other} -w -t nat -F KUBE-SERVICES, the same with -t filter and with ip6tables-${other}; or end all proxies and run switchyard cleanup`;
    return failure(name, text, cure, ruleWays);
  }
  const others = read.filter((each) => each.variant !== choice.variant && countOf(each) > 0);
  if (others.length === 0) {
    return ok(
      name,
      `no rules in the ${choice.variant === 'nft' ? 'legacy' : 'nft'} variant`,
      ruleWays,
    );
  }
  const what = others.map((each) => `${countOf(each)} (${each.family}, ${each.variant})`);
  const text = `rules of the other variant are in force too, none of a service that serves: ${what.join(', ')}`;
  const cure = `see whose they are: ${others[0]?.variant === 'legacy' ? 'iptables-legacy-save' : 'iptables-nft-save'}`;
  return warning(name, text, cure, ruleWays);
}

function countOf({ foreign, proxyRules }: RulesReading['read'][number]): number {
  let count = proxyRules;
  for (const rules of foreign.values()) count += rules.length;
  return count;
}

/** A chain KUBE-IPTABLES-HINT in both variants says two things. */
function hints({ read }: RulesReading): readonly Finding[] {
  const hinted = new Set(
    read
      .filter(({ chains }) => chains.has('mangle KUBE-IPTABLES-HINT'))
      .map((each) => each.variant),
  );
  if (hinted.size < 2) return [];
  const text =
    'KUBE-IPTABLES-HINT is in the mangle tables of both variants: programs may choose differently';
  const cure =
    'iptables-legacy -w -t mangle -X KUBE-IPTABLES-HINT, if the kubelet uses nft (ip6tables-legacy likewise)';
  return [warning(`${id}.hint`, text, cure, ruleWays)];
}
