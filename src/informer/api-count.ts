import { json } from 'node:stream/consumers';
import type { Clock } from '../clock.ts';
import { SwitchyardError } from '../error.ts';
import type { ApiClient } from './api-client.ts';
import { failureOfResponse } from './api-failure.ts';
import { metadataOf, resourcePath, selectorQuery } from './api-resource.ts';
import type { Kind, KubeObject } from './kind.ts';
import { SILENCE_MS, withWatchdog } from './watchdog.ts';

/** One object, and of it the metadata alone. */
const briefly =
  'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json';

/**
 * How many objects of a kind there are, for the price of one: a list of one says how many remain. Rejects where the server does not
 * answer so.
 */
export async function countObjects(
  client: ApiClient,
  kind: Kind<KubeObject>,
  clock: Clock,
  signal: AbortSignal,
): Promise<number> {
  return withWatchdog(clock, SILENCE_MS, signal, async (guarded) => {
    const query = { ...selectorQuery(kind), limit: '1' };
    const response = await client.get(resourcePath(kind), query, guarded, briefly);
    if (response.status !== 200) {
      const { reason } = await failureOfResponse(response, 'list', kind, clock.now());
      throw new SwitchyardError('source', `cannot count ${kind.resource}: ${reason}`);
    }
    const list: unknown = await json(response.body);
    const { remainingItemCount: rest = 0 } = metadataOf(list);
    const items = typeof list === 'object' && list !== null && 'items' in list ? list.items : [];
    return (Array.isArray(items) ? items.length : 0) + Number(rest);
  });
}
