import { SwitchyardError } from '../../error.ts';
import { serviceLink } from '../../host/interfaces.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import { schedulerProblem } from './schedulers.ts';
import type { SchedulerChoice } from './schedulers.ts';
import { ask, isMissing, refusal } from './tool-problems.ts';
import type { Missing } from './tool-problems.ts';

/** What is looked at. */
export interface PreflightOptions {
  readonly tools: ToolRunner;
  /** The one that Services without an annotation get. */
  readonly scheduler: SchedulerChoice;
}

/**
 * Everything that is missing for ipvs mode, beside what rules need: tools, ip_vs and the scheduler, set types, the
 * dummy link, rights. Nothing is left behind but modules that were loaded. Tools that fail in another way reject.
 */
export async function missingForIpvs(
  { tools, scheduler }: PreflightOptions,
  signal: AbortSignal,
): Promise<readonly Missing[]> {
  // All are waited for, whatever becomes of one: what is tried is removed again only where it ends.
  const settled = await Promise.allSettled([
    ipvsProblems(tools, scheduler, signal),
    setProblems(tools, signal),
    linkProblem(tools, signal),
  ]);
  return settled.flatMap((each) => {
    if (each.status === 'rejected') throw each.reason;
    return each.value ?? [];
  });
}

/** Throws where something is missing, with each by name and what to do about it. Another mode is never taken instead. */
export function refuseMissing(missing: readonly Missing[]): void {
  if (missing.length === 0) return;
  const what = missing.map(({ name, reason }) => (reason === '' ? name : `${name}: ${reason}`));
  const cures = new Set(missing.map(({ cure }) => cure));
  throw new SwitchyardError('missing', `mode ipvs cannot be used: ${what.join('; ')}`, {
    hint: [...cures].join('; '),
  });
}

const ipvsCure =
  'load the kernel module ip_vs on the host (modprobe ip_vs; a container needs /lib/modules of the host for that), or use a kernel with CONFIG_IP_VS';

async function ipvsProblems(
  tools: ToolRunner,
  scheduler: SchedulerChoice,
  signal: AbortSignal,
): Promise<Missing | undefined> {
  return (await ipvsProblem(tools, signal)) ?? schedulerProblem(scheduler, tools, signal);
}

/** ipvsadm loads ip_vs where it can; where not, modprobe may still: an image has it in another place than the host. */
async function ipvsProblem(tools: ToolRunner, signal: AbortSignal): Promise<Missing | undefined> {
  const look = async () => ask(tools, 'ipvsadm', ['-L', '--timeout'], signal);
  const first = await look();
  if (isMissing(first)) return first;
  if (first.exitCode === 0) return undefined;
  const problem = refusal('ip_vs', first, ipvsCure);
  const loaded = await ask(tools, 'modprobe', ['ip_vs'], signal);
  if (isMissing(loaded) || loaded.exitCode !== 0) return problem;
  const second = await look();
  return isMissing(second) || second.exitCode === 0
    ? undefined
    : refusal('ip_vs', second, ipvsCure);
}

async function setProblems(tools: ToolRunner, signal: AbortSignal): Promise<readonly Missing[]> {
  const problem = await ipsetProblem(tools, signal);
  return problem === undefined ? setTypeProblems(tools, signal) : [problem];
}

/** Before 6.0 ipset has no `restore` that this mode could use. */
async function ipsetProblem(tools: ToolRunner, signal: AbortSignal): Promise<Missing | undefined> {
  const answer = await ask(tools, 'ipset', ['--version'], signal);
  if (isMissing(answer)) return answer;
  const [version, major] = /v(\d+)\.\d+/.exec(answer.stdout) ?? [];
  if (major !== undefined && Number(major) >= 6) return undefined;
  const cure = 'install ipset 6.0 or newer';
  if (version === undefined) return refusal('ipset', answer, cure);
  return { name: 'ipset 6.0 or newer', reason: `this one is ${version}`, cure };
}

/** The types of docs/adr/0008-ipvs-layout.md, and the modules they are in. */
const setTypeArgs = {
  'hash:ip': 'family inet',
  'hash:ip,port': 'family inet',
  'hash:ip,port,ip': 'family inet',
  'hash:ip,port,net': 'family inet',
  'bitmap:port': 'range 0-65535',
} as const;

/** A set of a name of its own, so that one that a killed agent left goes with the next start. */
const probeSet = 'KUBE-SWITCHYARD-PROBE-I';

/** All of them in one run, which most machines can do; what cannot be is then found one by one. */
async function setTypeProblems(
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<readonly Missing[]> {
  const scripts = Object.entries(setTypeArgs).map(
    ([type, args]) => [type, `create ${probeSet} ${type} ${args}\ndestroy ${probeSet}\n`] as const,
  );
  const restore = async (script: string) => ask(tools, 'ipset', ['restore'], signal, script);
  const all = await restore(scripts.map(([, script]) => script).join(''));
  if (isMissing(all)) return [all];
  if (all.exitCode === 0) return [];
  const missing: Missing[] = [];
  for (const [type, script] of scripts) {
    await ask(tools, 'ipset', ['destroy', probeSet], signal);
    const answer = await restore(script);
    if (isMissing(answer) || answer.exitCode === 0) continue;
    const module = `ip_set_${type.replace(':', '_').replaceAll(',', '')}`;
    const cure = `load the kernel modules ip_set and ${module}`;
    missing.push(refusal(`ipset's type ${type}`, answer, cure));
  }
  return missing;
}

const probeLink = 'kube-ipvs-probe';

/**
 * One run tries it and takes it away, so that an agent that is killed meanwhile leaves nothing. The first line is for what an earlier
 * one has left, and fails elsewhere.
 */
const probeScript = [
  `link del ${probeLink}`,
  `link add ${probeLink} type dummy`,
  `link del ${probeLink}`,
  '',
].join('\n');

async function linkProblem(tools: ToolRunner, signal: AbortSignal): Promise<Missing | undefined> {
  const ip = async (...args: readonly string[]) => ask(tools, 'ip', args, signal);
  const there = await ip('-d', 'link', 'show', 'dev', serviceLink);
  if (isMissing(there)) return there;
  if (there.exitCode === 0) {
    if (/\bdummy\b/.test(there.stdout)) return undefined;
    const reason = 'there is a link of this name that is none';
    return { name: `the dummy link ${serviceLink}`, reason, cure: `ip link del ${serviceLink}` };
  }
  const made = await ask(tools, 'ip', ['-force', '-batch', '-'], signal, probeScript);
  if (isMissing(made)) return made;
  const words = /^(.*)\nCommand failed -:2$/m.exec(made.stderr)?.[1];
  if (words === undefined && /Command failed/.test(made.stderr)) return undefined;
  if (words === undefined && made.exitCode === 0) return undefined;
  const stderr = words ?? made.stderr;
  return refusal('a dummy link', { stderr }, 'load the kernel module dummy (modprobe dummy)');
}
