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
  const dropping = found.find((each) => each.policies.get('filter FORWARD') === 'DROP');
  if (dropping === undefined)
    return ok(name, `${label}: FORWARD lets packets pass (policy ACCEPT)`, kernelWays);
  const by = [...dropping.chains].some((chain) => chain.startsWith('filter DOCKER'))
    ? ', as Docker sets it'
    : '';
  const text = `${label}: the policy of FORWARD is DROP${by}`;
  const isJumped = (dropping.foreign.get('filter FORWARD') ?? []).some((rule) =>
    rule.endsWith('-j KUBE-FORWARD'),
  );
  const cidrs = subject.config.clusterCidrs.filter((cidr) => cidrFamily(cidr) === family);
  if (!acceptsPods(dropping, cidrs)) {
    const what =
      'and no rule is seen that accepts traffic of pods: what keeps its pod’s address is dropped';
    return warning(name, `${text}, ${what}`, acceptCommand(family, dropping, cidrs), kernelWays);
  }
  const own = isJumped
    ? 'KUBE-FORWARD accepts what is masqueraded'
    : 'the agent’s KUBE-FORWARD will accept what is masqueraded';
  return ok(name, `${text}; ${own}, and other rules accept traffic of pods`, kernelWays);
}

/** Chains in which network plugins accept what pods send and get. */
const pluginChains =
  /^filter (FLANNEL-FWD|CNI-FORWARD|cali-FORWARD|CILIUM_FORWARD|KUBE-ROUTER-FORWARD|WEAVE-NPC|ANTREA-FORWARD)/;

function acceptsPods({ chains, foreign }: RuleFacts, cidrs: readonly Cidr[]): boolean {
  if ([...chains].some((chain) => pluginChains.test(chain))) return true;
  for (const [chain, rules] of foreign) {
    if (!chain.startsWith('filter ')) continue;
    if (rules.some((rule) => rule.endsWith(' ACCEPT') && isAboutPods(rule, cidrs))) return true;
  }
  return false;
}

function isAboutPods(rule: string, cidrs: readonly Cidr[]): boolean {
  const [, source] = /(?:^| )-[sd] (\S+)/.exec(rule) ?? [];
  return (
    source !== undefined && !rule.includes('--ctstate') && cidrs.some((cidr) => cidr === source)
  );
}

function acceptCommand(family: Family, { variant }: RuleFacts, cidrs: readonly Cidr[]): string {
  const tool = `${family === 'ipv4' ? 'iptables' : 'ip6tables'}-${variant}`;
  const [cidr = 'THE-PODS-CIDR'] = cidrs;
  return `${tool} -w -A FORWARD -s ${cidr} -j ACCEPT; ${tool} -w -A FORWARD -d ${cidr} -j ACCEPT`;
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
