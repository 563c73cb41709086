import type { BootRules } from '../host/boot-rules.ts';
import type { NodeProcess } from '../host/node-processes.ts';
import type { ProxyProcess } from '../host/proxy-processes.ts';
import { registered } from './check.ts';
import type { Subject } from './check.ts';
import { failure, kernelWays, ok, ruleWays, skipped, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import { knownPrograms } from './known-programs.ts';
import type { KnownProgram } from './known-programs.ts';
import type { IpvsReading, NftReading, RulesReading } from './readings.ts';

interface WriterFacts {
  readonly processes: readonly NodeProcess[];
  readonly proxies: readonly ProxyProcess[];
  readonly rules: RulesReading;
  readonly nft: NftReading;
  readonly boot: BootRules;
  readonly ipvs: IpvsReading;
}

/** Who else writes rules on this node, by name. */
export const writers = registered<WriterFacts>({
  id: 'writer',
  read: async (readings) => ({
    processes: await readings.processes(),
    proxies: await readings.proxies(),
    rules: await readings.rules(),
    nft: await readings.nftTables(),
    boot: await readings.bootRules(),
    ipvs: await readings.ipvs(),
  }),
  judge: (facts, subject) => [
    agents(facts.proxies),
    kubeProxy(facts),
    ...knownPrograms.flatMap((program) => judgeProgram(program, facts, subject)),
    ...atBoot(facts.boot),
    servers(facts.ipvs),
  ],
});

function agents(proxies: readonly ProxyProcess[]): Finding {
  const id = 'writer.switchyard';
  const own = proxies.filter(({ kind }) => kind === 'Switchyard').map(({ pid }) => pid);
  if (own.length === 0) return ok(id, 'no Switchyard runs here');
  if (own.length === 1) return ok(id, `Switchyard runs here (process ${own[0]})`);
  const text = `${own.length} Switchyard agents run here (processes ${own.join(', ')}): each writes its rules over the others’`;
  return failure(id, text, 'end all but one');
}

/** By its process, and where that is not to be seen by its rules. */
function kubeProxy({ proxies, rules: { read } }: WriterFacts): Finding {
  const id = 'writer.kube-proxy';
  const running = proxies.filter(({ kind }) => kind === 'kube-proxy').map(({ pid }) => pid);
  if (running.length > 0) {
    const text = `kube-proxy runs here (process ${running.join(', ')}): both would write their rules again and again`;
    const cure =
      'end it before the agent starts, without its --cleanup: the agent takes its rules over';
    return failure(id, text, cure);
  }
  const left = read.filter(({ servicesBy }) => servicesBy === 'another');
  if (left.length === 0) {
    const rest =
      read.length > 0 ? 'KUBE-SERVICES is nobody else’s' : 'its rules could not be looked for';
    return ok(id, `no kube-proxy is seen running here, and ${rest}`, ruleWays);
  }
  const where = left.map((each) => `${each.family}, ${each.variant}`).join('; ');
  const text = `KUBE-SERVICES (${where}) was written by another service proxy, whose process is not seen here`;
  const cure =
    'if it still runs (another pid namespace, k3s), end it; the agent takes its rules over';
  return warning(id, text, cure, ruleWays);
}

function judgeProgram(
  program: KnownProgram,
  { processes, rules, nft, boot }: WriterFacts,
  subject: Subject,
): readonly Finding[] {
  const seen = processes.find(
    (each) =>
      each.isInOurNetwork !== false && program.processes.some((name) => isCalled(each, name)),
  );
  if (seen !== undefined) {
    return [program.judge(`${program.name} runs here (process ${seen.pid})`, seen, subject)];
  }
  const by = traceOf(program, rules, nft);
  if (by !== undefined) {
    return [program.judge(`${program.name} has been at work here (${by})`, undefined, subject)];
  }
  const isConfigured = program.id === 'ufw' && boot.ufwEnabled;
  return isConfigured ? [program.judge(`${program.name} is enabled`, undefined, subject)] : [];
}

/** The kernel keeps 15 characters of a name; what an interpreter runs goes by its script. */
function isCalled({ name, argv }: NodeProcess, wanted: string): boolean {
  if (name === wanted.slice(0, 15)) return true;
  const isInterpreter = /^(python|perl|sh|bash)/.test(name);
  const words = argv.slice(0, isInterpreter ? 3 : 1);
  return words.some((word) => word.slice(word.lastIndexOf('/') + 1) === wanted);
}

function traceOf(
  { chains, nftTables, id }: KnownProgram,
  { read }: RulesReading,
  nft: NftReading,
): string | undefined {
  if (id === 'node-local-dns') return untracked(read);
  const all = read.flatMap((each) => [...each.chains]);
  const chain = chains && all.find((each) => chains.test(each));
  if (chain !== undefined)
    return `chain ${chain.slice(chain.indexOf(' ') + 1)} of ${chain.split(' ', 1)[0]}`;
  const table =
    nft.kind === 'read' && nftTables ? nft.tables.find((each) => nftTables.test(each)) : undefined;
  return table === undefined ? undefined : `nft table ${table}`;
}

function untracked(read: RulesReading['read']): string | undefined {
  const has = read.some(({ foreign }) =>
    [...foreign].some(
      ([chain, rules]) =>
        chain.startsWith('raw ') && rules.some((rule) => /NodeLocal DNS Cache/.test(rule)),
    ),
  );
  return has ? 'NOTRACK rules in raw' : undefined;
}

function atBoot({ units, nftablesFlushes, savedProxyRules }: BootRules): readonly Finding[] {
  const found: Finding[] = [];
  if (units.includes('nftables') && nftablesFlushes) {
    const text =
      'nftables.service is enabled, and /etc/nftables.conf flushes everything: a restart of it takes all rules away, those of Services too';
    const cure = 'in /etc/nftables.conf delete your own tables in the place of "flush ruleset"';
    found.push(warning('writer.nftables-service', text, cure, ruleWays));
  }
  if (savedProxyRules.length > 0) {
    const text = `${savedProxyRules.join(', ')}: saved rules hold those of a service proxy, which come back old at the next boot, or make the whole restore fail`;
    const cure = savedProxyRules.map((file) => `sed -i /KUBE-/d ${file}`).join('; ');
    found.push(warning('writer.saved-rules', text, cure, ruleWays));
  }
  return found;
}

function servers({ isLoaded, foreign, ours }: IpvsReading): Finding {
  const id = 'writer.ipvs';
  if (!isLoaded)
    return skipped(id, 'ip_vs is not loaded: there are no virtual servers', kernelWays);
  if (foreign.length === 0)
    return ok(id, `${ours} virtual servers, all of a service proxy`, kernelWays);
  const shown = foreign.slice(0, 5).join(', ');
  const more = foreign.length > 5 ? ` and ${foreign.length - 5} more` : '';
  const text = `virtual servers of others: ${shown}${more}; they are left alone`;
  const cure =
    'name their addresses by --ipvs-exclude-cidrs, so that no Service takes one of them over';
  return warning(id, text, cure, ['ipvs']);
}
