import process from 'node:process';
import type { Clock } from '../clock.ts';
import { InstanceName } from '../host/instance.ts';
import type { Log } from '../telemetry/log.ts';

export interface OnlyInstanceOptions {
  readonly clock: Clock;
  readonly log: Log;
}

/** Asked again so often, should the end of the other one not be noticed. */
const askEveryMs = 10_000;

/**
 * Takes the name of the one agent that may work in this network namespace; while another one has it, says so and waits until
 * that ends or begins to drain. Rejects where `signal` aborts meanwhile.
 */
export async function becomeOnly(
  name: string,
  { clock, log }: OnlyInstanceOptions,
  signal: AbortSignal,
): Promise<InstanceName> {
  const since = new Date(clock.now()).toISOString();
  const says = `process ${process.pid}, since ${since}`;
  let toldOf: string | undefined;
  for (;;) {
    const answer = await InstanceName.take(name, says);
    if (answer instanceof InstanceName) return answer;
    const who = answer.said ?? 'a process that does not answer';
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

/** Says that another agent is at work, without waiting for it; undefined where the name is ours now. */
export async function nameOther(
  name: string,
  { clock }: OnlyInstanceOptions,
): Promise<
  | { readonly other: string; readonly instance: undefined }
  | { readonly other: undefined; readonly instance: InstanceName }
> {
  const since = new Date(clock.now()).toISOString();
  const answer = await InstanceName.take(name, `process ${process.pid}, since ${since}`);
  if (answer instanceof InstanceName) return { other: undefined, instance: answer };
  answer.forget();
  return { other: otherText(answer.said ?? 'a process that does not answer'), instance: undefined };
}

function otherText(who: string): string {
  return `another Switchyard in userspace mode (${who}) runs in this network namespace`;
}
