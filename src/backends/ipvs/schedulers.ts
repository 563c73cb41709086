import type { Clock } from '../../clock.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import { Turns } from '../turns.ts';
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
 * removed again: that also loads the scheduler's module. One run does both, so that an agent that is
 * killed meanwhile leaves nothing.
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
  const gone = `-D -t ${place}`;
  // The first for what an earlier one has left: the tool goes on where there is nothing.
  const lines = [gone, `-A -t ${place} ${how.join(' ')}`, gone].map((line) => `${line}\n`);
  const answer = await ask(tools, 'ipvsadm', ['--restore'], signal, lines.join(''));
  if (isMissing(answer)) return answer;
  const words = answer.stderr.split('\n').filter((line) => !isAbsence(line));
  // A machine may have nothing to say but the status of the last line, which is good only where the second was.
  if (answer.exitCode === 0 && words.length === 0) return undefined;
  return refusal(name, { stderr: words.length === 0 ? answer.stderr : words.join('\n') }, cure);
}

/** What the kernel says of a virtual server that is not there. */
function isAbsence(line: string): boolean {
  return line.trim() === '' || /No such service|Service not defined/i.test(line);
}

/** How soon a scheduler that was not there is tried again: somebody may have loaded its module. */
const retryMs = 300_000;

interface Answer {
  readonly choice: SchedulerChoice;
  readonly problem: Missing | undefined;
  readonly atMs: number;
}

/** Which schedulers the kernel has; each is tried when it is first met. Both families ask the same. */
export class Schedulers {
  readonly #tools: ToolRunner;
  readonly #clock: Clock;
  readonly #answers = new Map<string, Answer>();
  /** Two must not try at once: they would do so at one place. */
  readonly #turns = new Turns();
  #version = 0;

  constructor(tools: ToolRunner, clock: Clock) {
    this.#tools = tools;
    this.#clock = clock;
  }

  /** Changes with answers: who keeps one asks anew. */
  get version(): number {
    return this.#version;
  }

  /** Why the scheduler cannot be used; undefined: it can, or was not tried yet. */
  problem(choice: SchedulerChoice): Missing | undefined {
    return this.#answers.get(keyOf(choice))?.problem;
  }

  /** Tries those that were not tried before, and again after a while those that were missing. Rejects only where `signal` aborts. */
  async ready(choices: Iterable<SchedulerChoice>, signal: AbortSignal): Promise<void> {
    const unknown = new Map<string, SchedulerChoice>();
    for (const each of choices) if (!this.#answers.has(keyOf(each))) unknown.set(keyOf(each), each);
    if (unknown.size === 0 && this.#stale().length === 0) return;
    await this.#turns.take(async () => {
      // meanwhile the other family may have tried them
      const untried = [...unknown].filter(([key]) => !this.#answers.has(key));
      const due = [...untried.map(([, choice]) => choice), ...this.#stale()];
      for (const choice of due) await this.#try(choice, signal);
    });
  }

  #stale(): readonly SchedulerChoice[] {
    const nowMs = this.#clock.monotonic();
    const missing = [...this.#answers.values()].filter(({ problem }) => problem !== undefined);
    return missing.filter(({ atMs }) => nowMs - atMs >= retryMs).map(({ choice }) => choice);
  }

  async #try(choice: SchedulerChoice, signal: AbortSignal): Promise<void> {
    const key = keyOf(choice);
    const before = this.#answers.get(key);
    const problem = await this.#problemOf(choice, signal);
    this.#answers.set(key, { choice, problem, atMs: this.#clock.monotonic() });
    if (before !== undefined && before.problem?.reason !== problem?.reason) this.#version++;
  }

  /** A tool that fails at what one Service asks for must not keep the others waiting. */
  async #problemOf(choice: SchedulerChoice, signal: AbortSignal): Promise<Missing | undefined> {
    try {
      return await schedulerProblem(choice, this.#tools, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof SwitchyardError)) throw error;
      const cure = error.hint ?? 'name another scheduler';
      return { name: `scheduler ${choice.scheduler}`, reason: errorText(error), cure };
    }
  }
}

function keyOf({ scheduler, flags }: SchedulerChoice): string {
  return [scheduler, ...flags].join(' ');
}
