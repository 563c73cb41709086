import { Agent } from './agent.ts';
import type { AgentOptions } from './agent-options.ts';
import { LastingParts } from './lasting-parts.ts';

/**
 * Runs the proxy until `signal` aborts: rules follow the objects of the configured source. Stopping
 * waits for the running sync and leaves the rules in place. Rejects where the start cannot succeed.
 */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  const lasting = new LastingParts(options);
  const agent = new Agent(options, lasting);
  const stop = new AbortController();
  const onStop = (): void => {
    stop.abort();
  };
  signal.addEventListener('abort', onStop, { once: true });
  if (signal.aborted) stop.abort();
  try {
    await agent.run(stop);
  } finally {
    // Whatever ended the run, everything it started ends too.
    stop.abort();
    signal.removeEventListener('abort', onStop);
    await Promise.all([agent.close(), lasting.close()]);
  }
}
