import type { FlagValues } from '../config/flag-table.ts';
import type { KubeletStatus } from '../kubelet/admin/kubelet-status.ts';
import type { PodsDocument } from '../kubelet/admin/pods-document.ts';
import { AdminClient, findAnswering } from './admin-client.ts';

const command = 'switchyard kubelet';

/** Asks the kubelet at its admin socket. */
export class KubeletClient extends AdminClient {
  constructor(path: string) {
    super(path, command);
  }

  async status(): Promise<KubeletStatus> {
    return JSON.parse(await this.get('/v1/status')) as KubeletStatus;
  }

  async pods(): Promise<PodsDocument> {
    return JSON.parse(await this.get('/v1/pods')) as PodsDocument;
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
