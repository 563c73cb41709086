import { randomBytes } from 'node:crypto';
import { BackendAround } from '../backends/backend-around.ts';
import type { Backend } from '../backends/backend.ts';
import type { ApplyPort } from '../backends/iptables/apply.ts';
import { inspectFeatures } from '../backends/iptables/features.ts';
import { IpvsBackend } from '../backends/ipvs/backend.ts';
import type { IpvsBackendParts, SchedulerInquiry } from '../backends/ipvs/backend.ts';
import { ipvsRuleFeatures } from '../backends/ipvs/features.ts';
import { IpvsLowering } from '../backends/ipvs/lower.ts';
import type { IpvsOptions } from '../backends/ipvs/options.ts';
import { missingForIpvs, refuseMissing } from '../backends/ipvs/preflight.ts';
import { Schedulers, ipv6Problem } from '../backends/ipvs/schedulers.ts';
import { preferredSchedulers, usualChoice } from '../backends/ipvs/scheduling.ts';
import { ServerTraffic } from '../backends/ipvs/server-traffic.ts';
import type { IpvsState } from '../backends/ipvs/state.ts';
import { applyIpvsSysctls, setIpvsTimeouts } from '../backends/ipvs/sysctls.ts';
import type { GraphDelta, RuleGraph } from '../graph/rule-graph.ts';
import type { Address } from '../ip/address.ts';
import type { BackendsOptions, FamilyBackend, Reservations } from './open-mode.ts';
import { openFamilyBackends } from './family-backends.ts';
import type { FamilyBackendsOptions } from './family-backends.ts';
import { isConntrackLiberal } from './iptables-backends.ts';
import { NoLocalhostNodePorts } from './localhost-node-ports.ts';

export interface IpvsBackendsOptions extends FamilyBackendsOptions {
  readonly makeBackend?: (parts: IpvsBackendParts, lowering: IpvsOptions) => Backend;
}

/** What the families of one agent share. */
interface Shared {
  readonly schedulers: Schedulers;
  readonly onApplied: (state: IpvsState) => void;
}

/**
 * A backend for each family that kernel and tools can do, after everything that needs privileges. Both families share
 * the kernel's table and kube-ipvs0. `signal` ends their work. Throws, naming each missing thing with its cure, where
 * the mode cannot be used.
 */
export async function openIpvs(
  options: IpvsBackendsOptions,
  signal: AbortSignal,
): Promise<readonly FamilyBackend[]> {
  await checkIpvs(options, signal);
  const schedulers = new Schedulers(options.tools, options.clock);
  const { traffic, tools } = options;
  const counters = traffic && new ServerTraffic(tools, traffic);
  const onApplied = (state: IpvsState): void => counters?.applied(state);
  const open = async (port: ApplyPort) =>
    openBackend(port, { schedulers, onApplied }, options, signal);
  if (counters !== undefined) traffic?.watch(counters);
  const families = await openFamilyBackends(options, open, signal);
  // One table of connections for both families.
  const [first, ...others] = families;
  if (first === undefined) return families;
  return [{ ...first, backend: new SettingTimeouts(first.backend, options) }, ...others];
}

/** What needs privileges and comes before rules, for --init-only: modules, sysctls and time-outs. */
export async function prepareIpvs(options: BackendsOptions, signal: AbortSignal): Promise<void> {
  await checkIpvs(options, signal);
  const { config, tools, log } = options;
  await setIpvsTimeouts(config.ipvs, tools, log, signal);
}

async function checkIpvs(
  { config: { ipvs }, tools, sysctls, log }: BackendsOptions,
  signal: AbortSignal,
): Promise<void> {
  const scheduler = usualChoice(ipvs.scheduler);
  refuseMissing(await missingForIpvs({ tools, scheduler }, signal));
  await applyIpvsSysctls(ipvs, sysctls, log);
}

/** Sets the time-outs with the first sync: an agent that never comes to work leaves those of the one that does. */
class SettingTimeouts extends BackendAround {
  readonly #options: BackendsOptions;
  #isDone = false;

  constructor(backend: Backend, options: BackendsOptions) {
    super(backend);
    this.#options = options;
  }

  override async sync(...args: Parameters<Backend['sync']>): ReturnType<Backend['sync']> {
    const { config, tools, log } = this.#options;
    if (!this.#isDone) await setIpvsTimeouts(config.ipvs, tools, log, args[2]);
    this.#isDone = true;
    return super.sync(...args);
  }
}

/** The backend, or why there can be none for this family. */
async function openBackend(
  port: ApplyPort,
  { schedulers, onApplied }: Shared,
  {
    config,
    sysctls,
    record,
    clock,
    tools,
    log,
    reserved,
    onDraining,
    makeBackend = (each) => new IpvsBackend(each),
  }: IpvsBackendsOptions,
  signal: AbortSignal,
): Promise<Backend | string> {
  const { family } = port.iptables;
  const own = family === 'ipv6' ? await ipv6Problem(tools, signal) : undefined;
  if (own !== undefined) return `${own.name}: ${own.reason}; ${own.cure}`;
  const { features, missing, warnings } = ipvsRuleFeatures(await inspectFeatures(port, signal));
  for (const warning of warnings) log.warn({ family }, warning);
  if (missing.length > 0) {
    const each = missing.map(({ name, reason, cure }) => `${name} (${reason}; ${cure})`);
    return `rules need what is missing: ${each.join(', ')}`;
  }
  log.info({ family, features }, 'features of kernel and tools');
  const settings: IpvsOptions = {
    features,
    masqueradeMark: 2 ** config.masqueradeBit,
    conntrackBeLiberal: await isConntrackLiberal(sysctls),
    scheduler: config.ipvs.scheduler,
    schedulerProblem: (choice) => schedulers.problem(choice),
    reserved: (address) => reserved?.reason(address),
  };
  const parts: IpvsBackendParts = {
    ...port,
    family,
    lowering: new IpvsLowering(settings),
    schedulers: inquiry(schedulers, config.ipvs.scheduler),
    clock,
    instanceId: randomBytes(4).toString('hex'),
    drainSeconds: Math.ceil(config.ipvs.drainMs / 1000),
    excludeCidrs: config.ipvs.excludeCidrs,
    lifetime: signal,
    onApplied,
    onDraining: (draining) => onDraining?.(family, draining),
  };
  const backend =
    family === 'ipv6'
      ? makeBackend(parts, settings)
      : new NoLocalhostNodePorts(port.iptables.variant, { sysctls, record, log }, (ownsGuard) =>
          makeBackend({ ...parts, ownsGuard }, settings),
        );
  return reserved === undefined ? backend : new Reserving(backend, reserved);
}

function inquiry(schedulers: Schedulers, usual: string): SchedulerInquiry {
  return {
    get version() {
      return schedulers.version;
    },
    async ready(pools, until) {
      const choices = [...pools].flatMap((pool) => preferredSchedulers(pool, usual));
      await schedulers.ready(choices, until);
    },
  };
}

/** Makes everything anew where another Node or API server came or went: no object of ours tells of that. */
export class Reserving extends BackendAround {
  readonly #reserved: Reservations;
  #version: number;

  constructor(backend: Backend, reserved: Reservations) {
    super(backend);
    this.#reserved = reserved;
    this.#version = reserved.version;
  }

  override async sync(
    ...[graph, delta, signal]: Parameters<Backend['sync']>
  ): ReturnType<Backend['sync']> {
    await this.#reserved.ready(takenAddresses(graph, delta), signal);
    const { version } = this.#reserved;
    const everything = delta.everything || version !== this.#version;
    const report = await super.sync(graph, { ...delta, everything }, signal);
    this.#version = version;
    return report;
  }
}

/** What Services take from outside, of the frontends that are new or changed. */
function takenAddresses(graph: RuleGraph, delta: GraphDelta): readonly Address[] {
  const ids = delta.everything ? graph.frontends.keys() : delta.frontends;
  const addresses = new Set<Address>();
  for (const id of ids) {
    const frontend = graph.frontends.get(id);
    if (frontend?.address === undefined || frontend.kind === 'clusterIP') continue;
    addresses.add(frontend.address);
  }
  return [...addresses];
}
