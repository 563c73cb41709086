import { familyLabel } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import type { Cidr } from '../ip/cidr.ts';
import { cidrFamily } from '../ip/cidr.ts';
import { registered } from './check.ts';
import type { Subject } from './check.ts';
import { kernelWays, ok, skipped, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { NftReading, RulesReading } from './readings.ts';
import type { RuleFacts } from './rule-facts.ts';

interface ForwardFacts {
  readonly rules: RulesReading;
  readonly nft: NftReading;
}

const id = 'forward';

/** Whether packets may pass this node to pods. */
export const forwarding = registered<ForwardFacts>({
  id,
  read: async (readings) => ({ rules: await readings.rules(), nft: await readings.nftTables() }),
  judge: ({ rules, nft }, subject) => {
    const families = (['ipv4', 'ipv6'] as const).flatMap((family) => {
      const found = rules.read.filter((each) => each.family === family);
      return found.length === 0 ? [] : [judgeFamily(family, found, subject)];
    });
    const unread =
      rules.unread.length === 0
        ? []
        : [skipped(`${id}.unread`, `not read: ${rules.unread.join('; ')}`, kernelWays)];
    return [...families, ...unread, ...nftChains(nft)];
  },
});

function judgeFamily(family: Family, found: readonly RuleFacts[], subject: Subject): Finding {
  const name = `${id}.${family}`;
  const label = familyLabel(family);
  const dropping = found.find((each) => barrierOf(each) !== undefined);
  const barrier = dropping && barrierOf(dropping);
  if (dropping === undefined || barrier === undefined)
    return ok(name, `${label}: FORWARD lets packets pass (policy ACCEPT)`, kernelWays);
  const by = [...dropping.chains].some((chain) => chain.startsWith('filter DOCKER'))
    ? ', as Docker sets it'
    : '';
  const text =
    barrier === 'policy'
      ? `${label}: the policy of FORWARD is DROP${by}`
      : `${label}: a rule of FORWARD turns away whatever comes as far (${barrier})`;
  const isJumped = (dropping.foreign.get('filter FORWARD') ?? []).some((rule) =>
    rule.endsWith('-j KUBE-FORWARD'),
  );
  const cidrs = subject.config.clusterCidrs.filter((cidr) => cidrFamily(cidr) === family);
  if (!acceptsPods(dropping, cidrs)) {
    const what =
      'and no rule is seen that accepts traffic of pods: what keeps its pod’s address is dropped';
    // behind such a rule nothing is accepted any more
    const how = barrier === 'policy' ? '-A' : '-I';
    const cure = acceptCommand(family, how, dropping, cidrs);
    return warning(name, `${text}, ${what}`, cure, kernelWays);
  }
  const own = isJumped
    ? 'KUBE-FORWARD accepts what is masqueraded'
    : 'the agent’s KUBE-FORWARD will accept what is masqueraded';
  return ok(name, `${text}; ${own}, and other rules accept traffic of pods`, kernelWays);
}

const forAll = /^(?:-m comment --comment (?:"[^"]*"|\S+) )?(-j (ACCEPT|DROP|REJECT)\b.*)$/;

/** What lets nothing pass that no rule before has accepted: the policy, or a rule that asks nothing (RHEL's own, Oracle's images). */
function barrierOf({ policies, foreign }: RuleFacts): string | undefined {
  for (const rule of foreign.get('filter FORWARD') ?? []) {
    const [, text, target] = forAll.exec(rule) ?? [];
    if (target !== undefined) return target === 'ACCEPT' ? undefined : text;
  }
  return policies.get('filter FORWARD') === 'DROP' ? 'policy' : undefined;
}

/** Built-in chains that what is forwarded does not meet. */
const elsewhere = new Set(['filter INPUT', 'filter OUTPUT']);

/** Chains in which network plugins accept what pods send and get. */
const pluginChains =
  /^filter (FLANNEL-FWD|CNI-FORWARD|cali-FORWARD|CILIUM_FORWARD|KUBE-ROUTER-FORWARD|WEAVE-NPC|ANTREA-FORWARD)/;

function acceptsPods({ chains, foreign }: RuleFacts, cidrs: readonly Cidr[]): boolean {
  if ([...chains].some((chain) => pluginChains.test(chain))) return true;
  for (const [chain, rules] of foreign) {
    if (!chain.startsWith('filter ') || elsewhere.has(chain)) continue;
    if (rules.some((rule) => rule.endsWith(' ACCEPT') && isAboutPods(rule, cidrs))) return true;
  }
  return false;
}

function isAboutPods(rule: string, cidrs: readonly Cidr[]): boolean {
  const [, source] = /(?<!! )(?<!\S)-[sd] (\S+)/.exec(rule) ?? [];
  return (
    source !== undefined && !rule.includes('--ctstate') && cidrs.some((cidr) => cidr === source)
  );
}

function acceptCommand(
  family: Family,
  how: '-A' | '-I',
  { variant }: RuleFacts,
  cidrs: readonly Cidr[],
): string {
  const tool = `${family === 'ipv4' ? 'iptables' : 'ip6tables'}-${variant}`;
  const [cidr = 'THE-PODS-CIDR'] = cidrs;
  return `${tool} -w ${how} FORWARD -s ${cidr} -j ACCEPT; ${tool} -w ${how} FORWARD -d ${cidr} -j ACCEPT`;
}

function nftChains(nft: NftReading): readonly Finding[] {
  const name = `${id}.nft`;
  if (nft.kind === 'unread')
    return [skipped(name, `chains of nft were not read: ${nft.why}`, kernelWays)];
  const { droppingForward: found } = nft;
  if (found.length === 0)
    return [ok(name, 'no chain of nft drops forwarded packets by policy', kernelWays)];
  const text = `forwarded packets have to be accepted in nft too: policy drop of ${found.join(', ')}`;
  const cure = 'accept the pods’ addresses there: what iptables accepts, nft may still drop';
  return [warning(name, text, cure, kernelWays)];
}
