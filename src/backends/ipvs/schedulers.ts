import type { Clock } from '../../clock.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import { ask, isMissing, refusal } from './tool-problems.ts';
import type { Missing } from './tool-problems.ts';

/** A scheduler with its flags, as `ipvsadm` takes them. */
export interface SchedulerChoice {
  readonly scheduler: string;
  readonly flags: readonly string[];
}

/** Of the prefixes for documentation, which nobody routes (RFC 5737, RFC 3849): what is there cannot matter. */
const placeV4 = '198.51.100.0:20000';
const placeV6 = '[2001:db8::]:20000';

/**
 * Why a virtual server with the scheduler cannot be made, or undefined. It is tried with one that nobody can reach, and
 * removed again (spec/kube-proxy.md 4.1): that also loads the scheduler's module.
 */
export async function schedulerProblem(
  { scheduler, flags }: SchedulerChoice,
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<Missing | undefined> {
  const how = ['-s', scheduler, ...(flags.length === 0 ? [] : ['-b', flags.join(',')])];
  const cure = `load the kernel module ip_vs_${scheduler} (modprobe ip_vs_${scheduler}), or name another scheduler`;
  return serverProblem(`scheduler ${[scheduler, ...flags].join(' ')}`, placeV4, how, cure, {
    tools,
    signal,
  });
}

/** Why there can be no virtual server of IPv6, or undefined. */
export async function ipv6Problem(
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<Missing | undefined> {
  const cure = 'use a kernel whose ipvs has CONFIG_IP_VS_IPV6';
  return serverProblem('ipvs for IPv6', placeV6, ['-s', 'rr'], cure, { tools, signal });
}

async function serverProblem(
  name: string,
  place: string,
  how: readonly string[],
  cure: string,
  { tools, signal }: { readonly tools: ToolRunner; readonly signal: AbortSignal },
): Promise<Missing | undefined> {
  const run = async (...args: readonly string[]) => ask(tools, 'ipvsadm', args, signal);
  let answer = await run('-A', '-t', place, ...how);
  if (!isMissing(answer) && /already exists/i.test(answer.stderr)) {
    // one that an agent left that was killed
    await run('-D', '-t', place);
    answer = await run('-A', '-t', place, ...how);
  }
  if (isMissing(answer)) return answer;
  if (answer.exitCode !== 0) return refusal(name, answer, cure);
  await run('-D', '-t', place);
  return undefined;
}

/** How soon a scheduler that was not there is tried again: somebody may have loaded its module. */
const retryMs = 300_000;

/** Which schedulers the kernel has; each is tried when it is first met. */
export class Schedulers {
  readonly #tools: ToolRunner;
  readonly #clock: Clock;
  readonly #answers = new Map<string, { readonly problem: Missing | undefined; atMs: number }>();

  constructor(tools: ToolRunner, clock: Clock) {
    this.#tools = tools;
    this.#clock = clock;
  }

  /** Why the scheduler cannot be used, or undefined. */
  async problem(choice: SchedulerChoice, signal: AbortSignal): Promise<Missing | undefined> {
    const key = [choice.scheduler, ...choice.flags].join(' ');
    const nowMs = this.#clock.monotonic();
    const known = this.#answers.get(key);
    if (known && (known.problem === undefined || nowMs - known.atMs < retryMs))
      return known.problem;
    const problem = await schedulerProblem(choice, this.#tools, signal);
    this.#answers.set(key, { problem, atMs: nowMs });
    return problem;
  }
}
