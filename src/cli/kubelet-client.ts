import type { FlagValues } from '../config/flag-table.ts';
import type { PodsDocument } from '../kubelet/admin/pods-document.ts';
import { AdminClient, NoAgentError, findAnswering } from './admin-client.ts';
import { isProxys, wrongHalf } from './answering-half.ts';
import type { AnyStatus } from './answering-half.ts';

const command = 'switchyard kubelet';

/** Asks the kubelet at its admin socket. */
export class KubeletClient extends AdminClient {
  constructor(path: string) {
    super(path, command);
  }

  /** Rejects where it is no kubelet that answers. */
  async pods(): Promise<PodsDocument> {
    try {
      return JSON.parse(await this.get('/v1/pods')) as PodsDocument;
    } catch (error) {
      if (error instanceof NoAgentError || !(await this.#isProxys())) throw error;
      throw wrongHalf(this.path, 'kubelet');
    }
  }

  async #isProxys(): Promise<boolean> {
    return isProxys(JSON.parse(await this.get('/v1/status')) as AnyStatus);
  }
}

/** The kubelet that flags or habit name, and its pods. */
export async function findKubelet(
  flags: FlagValues,
  env: Readonly<Record<string, string | undefined>>,
): Promise<{ readonly client: KubeletClient; readonly document: PodsDocument }> {
  const place = { name: 'kubelet', given: flags.text('adminSocket'), command } as const;
  return findAnswering(place, env, async (path) => {
    const client = new KubeletClient(path);
    return { client, document: await client.pods() };
  });
}
