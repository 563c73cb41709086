import type { CleanupPlan, CleanupScope, Kept, ModeCleanup } from '../backends/cleanup.ts';
import { IptablesCleanup } from '../backends/iptables/cleanup.ts';
import { NfacctCleanup } from '../backends/iptables/nfacct-cleanup.ts';
import { IpvsCleanup } from '../backends/ipvs/cleanup.ts';
import type { TableReader } from '../backends/ipvs/kernel-table.ts';
import { NftablesCleanup, hasAnyProxyTable } from '../backends/nftables/cleanup.ts';
import { errorText } from '../error.ts';
import type { KeptFile } from '../host/kept-file.ts';
import type { ChangedSysctl, NodeRecord, NodeRecordFile } from '../host/node-record.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { Sysctls } from '../host/sysctl.ts';
import { defaultLockPaths } from '../host/xtables-lock.ts';
import type { Cidr } from '../ip/cidr.ts';
import type { Log } from '../telemetry/log.ts';
import { localnetKey } from './localhost-node-ports.ts';

export interface CleanupOptions {
  readonly tools: ToolRunner;
  /** As they are: what is put back is not recorded. */
  readonly sysctls: Sysctls;
  readonly record: NodeRecordFile;
  /** Where userspace mode keeps its ports; undefined: nowhere. */
  readonly ports?: KeptFile | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  readonly scope: CleanupScope;
  /** What is there of ipvs stays. */
  readonly excludeCidrs: readonly Cidr[];
  /** The kernel's table of ipvs. */
  readonly ipvsTable?: TableReader;
}

/** What the clean-up would do, for people. */
export interface NodePlan {
  readonly removes: readonly string[];
  /** Settings that are put back: `net/ipv4/conf/all/route_localnet: 1 → 0`. */
  readonly restores: readonly string[];
  readonly keeps: readonly Kept[];
}

interface SysctlChange extends ChangedSysctl {
  readonly key: string;
}

interface SysctlPlan {
  readonly changes: readonly SysctlChange[];
  readonly keeps: readonly Kept[];
}

const noChanges: SysctlPlan = { changes: [], keeps: [] };
const conntrackMaxKey = 'net/netfilter/nf_conntrack_max';
const conntrackCountKey = 'net/netfilter/nf_conntrack_count';

/** Removes what the modes of Switchyard have put on this node. */
export class NodeCleanup {
  readonly #options: CleanupOptions;

  constructor(options: CleanupOptions) {
    this.#options = options;
  }

  /** Looks, and changes nothing. */
  async plan(signal: AbortSignal): Promise<NodePlan> {
    const record = await this.#options.record.read();
    const { changes, keeps } = await this.#sysctlPlan(record);
    const plans: CleanupPlan[] = [];
    for (const mode of await this.#modes(record, signal)) plans.push(await mode.look(signal));
    return {
      removes: [...plans.flatMap((plan) => plan.removes), ...(await this.#portsFile())],
      restores: changes.map(({ key, before, set }) => `${key}: ${set} → ${before}`),
      keeps: [...plans.flatMap((plan) => plan.keeps), ...keeps],
    };
  }

  /** Does it; what could not be done, in words. */
  async run(signal: AbortSignal): Promise<readonly string[]> {
    const { record: file, scope } = this.#options;
    const record = await file.read();
    // The guard against the node's neighbours is the last thing to go.
    const failures = await this.#restore(await this.#sysctlPlan(record));
    const isOpen = failures.some(({ key }) => key === localnetKey);
    const problems = failures.map(({ words }) => words);
    const known = isOpen ? { ...record, firewalls: [] } : record;
    for (const mode of await this.#modes(known, signal)) {
      problems.push(...(await mode.remove(signal)));
    }
    if (problems.length > 0 || scope !== 'all') return problems;
    await this.#options.ports?.remove();
    // what had to stay is removed by another clean-up, which then needs the record
    const { keeps } = await this.plan(signal);
    if (!keeps.some(({ isObstacle }) => isObstacle)) await file.clear();
    return problems;
  }

  /** Another service proxy knows nothing of it, and ports that are kept do no harm. */
  async #portsFile(): Promise<readonly string[]> {
    const { ports, scope } = this.#options;
    if (ports === undefined || scope !== 'all') return [];
    const text = await ports.read().catch(() => undefined);
    return text === undefined ? [] : [`file ${ports.path}: the ports of userspace mode`];
  }

  /** One a mode. Those that share chains come in an order of their own. */
  async #modes({ firewalls }: NodeRecord, signal: AbortSignal): Promise<readonly ModeCleanup[]> {
    const { tools, log, env, scope, excludeCidrs, ipvsTable } = this.#options;
    // A kube-proxy in nftables mode uses none of the chains that all other modes have.
    const usesChains = scope === 'leftovers' && !(await hasAnyProxyTable(tools, signal));
    const terms = { scope: usesChains ? scope : 'all', ownFirewalls: firewalls } as const;
    return [
      new IpvsCleanup({
        tools,
        scope,
        excludeCidrs,
        ...(ipvsTable && { readTable: ipvsTable }),
      }),
      new NftablesCleanup({ tools, scope }),
      new IptablesCleanup({ tools, log, lockPaths: defaultLockPaths(env), terms }),
      // Another service proxy counts in the same ones.
      ...(scope === 'all' ? [new NfacctCleanup(tools)] : []),
    ];
  }

  /** Another service proxy lives with the settings, too: then all of them stay. */
  async #sysctlPlan(record: NodeRecord): Promise<SysctlPlan> {
    if (this.#options.scope === 'leftovers') return noChanges;
    const changes: SysctlChange[] = [];
    const keeps: Kept[] = [];
    for (const [key, { before, set }] of Object.entries(record.sysctls)) {
      const now = await this.#options.sysctls.read(key);
      if (now === undefined || now === before) continue;
      const why = await this.#whyNot({ key, before, set }, now);
      if (why === undefined) changes.push({ key, before, set });
      else keeps.push({ what: `${key} = ${now}`, why, isObstacle: false });
    }
    return { changes, keeps };
  }

  async #whyNot({ key, before, set }: SysctlChange, now: string): Promise<string | undefined> {
    if (now !== set) return `Switchyard set it to ${set}, and somebody else to this since`;
    if (key !== conntrackMaxKey) return undefined;
    const entries = Number((await this.#options.sysctls.read(conntrackCountKey)) ?? 0);
    return entries < Number(before)
      ? undefined
      : `${entries} connections are tracked, and before it was ${before}: new ones would fail`;
  }

  async #restore({
    changes,
  }: SysctlPlan): Promise<readonly { readonly key: string; readonly words: string }[]> {
    const failures: { readonly key: string; readonly words: string }[] = [];
    for (const { key, before } of changes) {
      try {
        await this.#options.sysctls.write(key, before);
      } catch (error) {
        failures.push({ key, words: errorText(error) });
      }
    }
    return failures;
  }
}
