import { json, text } from 'node:stream/consumers';
import type { Clock } from '../../clock.ts';
import { SwitchyardError } from '../../error.ts';
import type { ApiClient } from '../../informer/api-client.ts';
import { withWatchdog } from '../../informer/watchdog.ts';

const longestCallMs = 10_000;

/** What the API server says that it is: `v1.36.2`; everybody may ask. */
export async function serverVersion(
  client: Pick<ApiClient, 'get'>,
  clock: Clock,
  signal: AbortSignal,
): Promise<string | undefined> {
  return withWatchdog(clock, longestCallMs, signal, async (guarded) => {
    const { status, body } = await client.get('/version', {}, guarded);
    if (status === 200) return ((await json(body)) as { readonly gitVersion?: string }).gitVersion;
    // Read, and not destroyed: that would be an error of the stream, which nobody awaits and which ends the process.
    await text(body);
    throw new SwitchyardError('source', `the API server does not say its version: ${status}`, {
      retryable: true,
    });
  });
}
