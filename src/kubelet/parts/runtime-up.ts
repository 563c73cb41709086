import { SwitchyardError, errorText } from '../../error.ts';
import { checkVersion } from '../cri/client.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';

const firstRetryMs = 100;
const lastRetryMs = 5000;

/**
 * Does `work` when the runtime answers; what fails because it has gone away meanwhile is done again. `waits` is told why it is waited for.
 * undefined: `signal` came first. Throws where no waiting helps.
 */
export async function onceRuntimeAnswers<T>(
  { cri, clock, log }: Pick<KubeletBase, 'cri' | 'clock' | 'log'>,
  work: () => Promise<T>,
  waits: (problem: string) => void,
  signal: AbortSignal,
): Promise<T | undefined> {
  let waitMs = firstRetryMs;
  while (!signal.aborted) {
    try {
      const { name, version } = await checkVersion(cri, signal);
      log.info({ runtime: name, version, endpoint: cri.endpoint }, 'container runtime');
      return await work();
    } catch (error) {
      if (signal.aborted) break;
      if (!(error instanceof SwitchyardError)) throw error;
      if (error.code === 'missing' && !error.retryable) throw error;
      const problem = `the container runtime is waited for: ${errorText(error)}`;
      waits(problem);
      if (waitMs === firstRetryMs || waitMs >= lastRetryMs) log.warn({}, problem);
      await clock.sleep(waitMs, signal);
      waitMs = Math.min(waitMs * 2, lastRetryMs);
    }
  }
  return undefined;
}
