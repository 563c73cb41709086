import { conntrackMax } from '../host/conntrack-sysctls.ts';
import { registered } from './check.ts';
import type { Subject } from './check.ts';
import { failure, ok, ruleWays, skipped, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import type { ConntrackReading } from './readings.ts';
import { accountingKey, sysctlCommand } from './sysctls.ts';

interface ConntrackFacts extends ConntrackReading {
  readonly writable: boolean;
  readonly isCounting: boolean;
}

const id = 'conntrack';
const maxKey = 'net/netfilter/nf_conntrack_max';
const hashFile = '/sys/module/nf_conntrack/parameters/hashsize';

/** From here on somebody should look; above the second new connections are about to be dropped. */
const warnAt = 0.75;
const failAt = 0.95;

/** How full the table of connections is, and how large it may become. */
export const conntrack = registered<ConntrackFacts>({
  id,
  read: async (readings) => {
    const { writable, values } = await readings.sysctls();
    const isCounting = values.get(accountingKey) === '1';
    return { ...(await readings.conntrack()), writable, isCounting };
  },
  judge: (facts, subject) => {
    if (facts.usage === undefined) {
      const why = 'connection tracking is not loaded yet; the first rule that needs it loads it';
      return [skipped(`${id}.use`, why, ruleWays)];
    }
    return [use(facts.usage), limit(facts, subject), ...hash(facts), ...accounting(facts, subject)];
  },
});

type Usage = NonNullable<ConntrackReading['usage']>;

function use({ entries, limit: max }: Usage): Finding {
  const name = `${id}.use`;
  const share = max === 0 ? 0 : entries / max;
  const text = `${entries} of ${max} connections (${Math.round(100 * share)} %)`;
  if (share < warnAt) return ok(name, text, ruleWays);
  const cure = `raise --conntrack-max-per-core, or now: ${sysctlCommand(maxKey, String(2 * max))}; conntrack -S tells what was dropped`;
  if (share < failAt)
    return warning(name, `${text}: when it is full new connections are dropped`, cure, ruleWays);
  return failure(name, `${text}: new connections are dropped, or soon will be`, cure, ruleWays);
}

function limit({ usage, cpus, writable }: ConntrackFacts, { config }: Subject): Finding {
  const name = `${id}.limit`;
  const now = usage?.limit ?? 0;
  const wanted = conntrackMax(config.conntrack, cpus);
  if (wanted === 0 || wanted === now) return ok(name, `at most ${now} connections`, ruleWays);
  if (writable) return ok(name, `at most ${now} connections; the agent sets ${wanted}`, ruleWays);
  const text = `at most ${now} connections, ${wanted} are configured, and the setting cannot be written here`;
  const cure = `${sysctlCommand(maxKey, String(wanted))} on the host, or --conntrack-max-per-core=0 to leave it`;
  return warning(name, text, cure, ruleWays);
}

/** In iptables mode nobody else counts bytes. */
function accounting(
  { isCounting, writable }: ConntrackFacts,
  { config }: Subject,
): readonly Finding[] {
  if (config.traffic.what !== 'bytes') return [];
  const name = `${id}.accounting`;
  if (isCounting) return [ok(name, 'connections are counted in bytes', ['iptables'])];
  if (config.conntrack.accounting && writable) {
    return [ok(name, 'the agent has connections counted in bytes', ['iptables'])];
  }
  const text =
    '--service-traffic=bytes, and connections are not counted in bytes: there are none to tell';
  const cure = `give --conntrack-accounting, or ${sysctlCommand(accountingKey, '1')}`;
  return [warning(name, text, cure, ['iptables'])];
}

/** As the agent has it: a quarter of the limit. */
function hash({ usage, hashSize }: ConntrackFacts): readonly Finding[] {
  if (hashSize === undefined || usage === undefined) return [];
  const name = `${id}.hashsize`;
  const wanted = Math.floor(usage.limit / 4);
  if (hashSize >= wanted) return [ok(name, `${hashSize} buckets`, ruleWays)];
  const text = `${hashSize} buckets for ${usage.limit} connections: a full table is slow to look up`;
  return [warning(name, text, `echo ${wanted} > ${hashFile}`, ruleWays)];
}
