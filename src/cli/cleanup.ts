import type { CleanupScope } from '../backends/cleanup.ts';
import { systemClock } from '../clock.ts';
import type { FlagSpec, FlagValues } from '../config/flag-table.ts';
import { excludeCidrsFlag } from '../config/ipvs-flags.ts';
import { stateFileFlag } from '../config/proxy-flags.ts';
import { userspaceStateFileFlag, usualPortsFile } from '../config/userspace-flags.ts';
import { SwitchyardError } from '../error.ts';
import { KeptFile } from '../host/kept-file.ts';
import { NodeRecordFile, kernelIdentity } from '../host/node-record.ts';
import { endOrphanedTools } from '../host/orphaned-tools.ts';
import { findProxyProcesses } from '../host/proxy-processes.ts';
import type { ProxyProcess } from '../host/proxy-processes.ts';
import { systemTools } from '../host/run-tool.ts';
import { parseCidr } from '../ip/cidr.ts';
import type { Cidr } from '../ip/cidr.ts';
import { createSysctls } from '../host/sysctl.ts';
import { NodeCleanup } from '../proxy/cleanup.ts';
import type { NodePlan } from '../proxy/cleanup.ts';
import { silentLog } from '../telemetry/log.ts';
import type { Log } from '../telemetry/log.ts';
import type { Command, CommandIo } from './command.ts';

const planFlag: FlagSpec = {
  name: 'plan',
  type: 'bool',
  default: false,
  help: 'Say what would be removed and what would stay, and change nothing.',
};

const leftoversFlag: FlagSpec = {
  name: 'leftovers',
  type: 'bool',
  default: false,
  help: 'Another service proxy has taken over: remove only what its rules do not use.',
};

const forceFlag: FlagSpec = {
  name: 'force',
  type: 'bool',
  default: false,
  help: 'Go on although a service proxy runs here: its rules go too, in any mode, until it writes them again. Beside one that has taken over, --leftovers is meant.',
};

/** `switchyard cleanup`: removes what any mode has put on the node. */
export const command: Command = {
  name: 'cleanup',
  summary: 'Removes the rules, sets and settings that a service proxy has put on this node.',
  flags: [
    planFlag,
    leftoversFlag,
    forceFlag,
    stateFileFlag,
    userspaceStateFileFlag,
    excludeCidrsFlag,
  ],
  details: [
    'Chains of kube-proxy’s names go whoever wrote them; what a kubelet or somebody else made stays and is named.',
    'Exit status 0: nothing of it is left; 1: something had to stay, or a proxy still runs.',
    '',
    'examples:',
    '  switchyard cleanup --plan         # looks, and changes nothing',
    '  switchyard cleanup                # after the proxy has ended',
    '  switchyard cleanup --leftovers    # after kube-proxy has taken over from Switchyard, while it runs',
  ].join('\n'),
  run: async ({ flags }, io) =>
    cleanUp(
      {
        plan: flags.bool('plan'),
        force: flags.bool('force'),
        scope: flags.bool('leftovers') ? 'leftovers' : 'all',
        stateFile: flags.text('stateFile'),
        excludeCidrs: excludedCidrsOf(flags),
        portsFile: portsFileOf(flags),
      },
      io,
    ),
};

/** Where the ports of userspace mode are kept. */
export function portsFileOf(flags: FlagValues): string {
  const isGiven = flags.given('userspaceStateFile');
  return isGiven ? flags.text('userspaceStateFile') : usualPortsFile;
}

/** What of ipvs is left alone. */
function excludedCidrsOf(flags: FlagValues): readonly Cidr[] {
  return flags.list('ipvsExcludeCidrs').map((text) => {
    const cidr = parseCidr(text);
    if (cidr !== undefined) return cidr;
    throw new SwitchyardError('usage', `--ipvs-exclude-cidrs: ${JSON.stringify(text)} is no CIDR`, {
      hint: 'give a prefix such as 203.0.113.0/24',
    });
  });
}

/** What the command line asks for. */
export interface CleanupRequest {
  readonly plan: boolean;
  /** Also while a service proxy runs. */
  readonly force: boolean;
  readonly scope: CleanupScope;
  readonly stateFile: string;
  /** Virtual servers and addresses of ipvs in these stay. */
  readonly excludeCidrs: readonly Cidr[];
  /** '': there is none. */
  readonly portsFile: string;
}

/** The clean-up as a command; resolves with the exit status. */
export async function cleanUp(
  { plan: planOnly, force, scope, stateFile, excludeCidrs, portsFile }: CleanupRequest,
  io: CommandIo,
): Promise<number> {
  const warn = (_: object, message: string): void => io.stderr(`warning: ${message}\n`);
  const log: Log = { ...silentLog, warn, error: warn };
  const cleanup = new NodeCleanup({
    tools: systemTools,
    sysctls: createSysctls(),
    record: new NodeRecordFile({ path: stateFile, identity: await kernelIdentity(), log }),
    ports: portsFile === '' ? undefined : new KeptFile(portsFile),
    env: io.env,
    log,
    scope,
    excludeCidrs,
  });
  const running = (await findProxyProcesses()).filter(
    ({ kind }) => scope === 'all' || kind === 'Switchyard',
  );
  if (!planOnly && !force && running.length > 0) throw stillRunning(running);
  const plan = await cleanup.plan(io.signal);
  io.stdout(planText(plan, planOnly));
  if (planOnly) {
    if (running.length > 0) io.stderr(`warning: ${runningText(running)}\n`);
    return isComplete(plan) ? 0 : 1;
  }
  // A restore that a killed agent left waiting for the lock would write its rules afterwards.
  await endOrphanedTools(systemClock);
  const problems = await cleanup.run(io.signal);
  for (const problem of problems) io.stderr(`error: ${problem}\n`);
  return problems.length === 0 && isComplete(plan) ? 0 : 1;
}

function stillRunning(running: readonly ProxyProcess[]): SwitchyardError {
  const ours = running.some(({ kind }) => kind === 'Switchyard');
  const hint = ours
    ? 'end it first'
    : 'end it first; where it has taken over from Switchyard, --leftovers removes what its rules do not use';
  return new SwitchyardError('tool', runningText(running), { hint });
}

function runningText(running: readonly ProxyProcess[]): string {
  const who = running.map(({ kind, pid }) => `${kind} (process ${pid})`).join(', ');
  return `${who} runs on this node and would write the rules again`;
}

function isComplete({ keeps }: NodePlan): boolean {
  return !keeps.some(({ isObstacle }) => isObstacle);
}

function planText({ removes, restores, keeps }: NodePlan, planOnly: boolean): string {
  const lines = [
    ...section(planOnly ? 'would remove:' : 'removing:', removes),
    ...section(planOnly ? 'would put back:' : 'putting back:', restores),
    ...section(
      'stays:',
      keeps.map(({ what, why }) => `${what}: ${why}`),
    ),
  ];
  const nothing = removes.length + restores.length === 0;
  return [...(nothing ? ['nothing to remove'] : []), ...lines, ''].join('\n');
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [title, ...lines.map((line) => `  ${line}`)];
}
