import process from 'node:process';
import type { Clock } from '../clock.ts';
import { errorText } from '../error.ts';
import { InstanceLock } from '../host/instance-lock.ts';
import { InstanceName } from '../host/instance.ts';
import type { Log } from '../telemetry/log.ts';

export interface OnlyInstanceOptions {
  readonly clock: Clock;
  readonly log: Log;
}

/** What an agent has as long as no other one may work. */
export interface OnlyInstance {
  /** Others may begin. */
  readonly release: () => Promise<void>;
}

/** Asked again so often, should the end of the other one not be noticed. */
const askEveryMs = 10_000;
const unknown = 'a process that does not answer';

/**
 * Becomes the one agent that may work in this network namespace; while another one does, says so and waits until that ends
 * or begins to drain. `folders`: where the lock may be, of which the first that can be used is taken; agents without a folder
 * in common name each other, and go on. Rejects where `signal` aborts meanwhile.
 */
export async function becomeOnly(
  name: string,
  folders: readonly string[],
  options: OnlyInstanceOptions,
  signal: AbortSignal,
): Promise<OnlyInstance> {
  const { log } = options;
  const lock = await lockIn(folders, name, options, signal);
  if (!(lock instanceof InstanceLock)) {
    const hint = 'name a file in a folder of your own by --userspace-state-file';
    log.warn({ hint }, `nothing keeps a second agent from working here: ${lock.problem}`);
  }
  // Anybody can take that name, so it decides nothing.
  const { instance, other } = await nameOther(`switchyard-${name}`, options);
  if (other !== undefined) {
    const hint =
      'end one of the two; one would wait for the other if their --userspace-state-file were in one folder';
    log.warn({ hint }, `${other}, or somebody says so`);
  }
  return {
    release: async () => {
      instance?.release();
      if (lock instanceof InstanceLock) await lock.release();
    },
  };
}

/** Says that another agent is at work, without waiting for it; undefined where the name is ours now. */
export async function nameOther(
  name: string,
  { clock }: OnlyInstanceOptions,
): Promise<
  | { readonly other: string; readonly instance: undefined }
  | { readonly other: undefined; readonly instance: InstanceName }
> {
  const answer = await InstanceName.take(name, saysOf(clock));
  if (answer instanceof InstanceName) return { other: undefined, instance: answer };
  answer.forget();
  return { other: otherText(answer.said ?? unknown), instance: undefined };
}

/** The lock in the first folder that can be used, or why none can. */
async function lockIn(
  folders: readonly string[],
  name: string,
  options: OnlyInstanceOptions,
  signal: AbortSignal,
): Promise<InstanceLock | { readonly problem: string }> {
  const problems: string[] = [];
  const says = saysOf(options.clock);
  for (const folder of folders) {
    try {
      return await waitFor(async () => InstanceLock.take(folder, name, says), options, signal);
    } catch (error) {
      signal.throwIfAborted();
      problems.push(errorText(error));
    }
  }
  return { problem: problems.join('; ') };
}

async function waitFor(
  take: () => ReturnType<typeof InstanceLock.take>,
  { clock, log }: OnlyInstanceOptions,
  signal: AbortSignal,
): Promise<InstanceLock> {
  let toldOf: string | undefined;
  for (;;) {
    const answer = await take();
    if (answer instanceof InstanceLock) return answer;
    const who = answer.said ?? unknown;
    if (who !== toldOf) {
      const hint = 'it goes on by itself; end one of the two if this is no hand-over';
      log.warn({ other: who, hint }, `${otherText(who)}: waiting until it ends`);
    }
    toldOf = who;
    const over = new AbortController();
    try {
      const waited = clock.sleep(askEveryMs, AbortSignal.any([signal, over.signal]));
      await Promise.race([answer.gone, waited]);
    } finally {
      over.abort();
      answer.forget();
    }
    signal.throwIfAborted();
  }
}

function saysOf(clock: Clock): string {
  return `process ${process.pid}, since ${new Date(clock.now()).toISOString()}`;
}

function otherText(who: string): string {
  return `another Switchyard in userspace mode (${who}) runs in this network namespace`;
}
