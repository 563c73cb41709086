import type { FlagValues } from '../config/flag-table.ts';
import type { StatusDocument } from '../proxy/admin/status-document.ts';
import { AdminClient, findAnswering } from './admin-client.ts';
import { isProxys, wrongHalf } from './answering-half.ts';
import type { AnyStatus } from './answering-half.ts';

const command = 'switchyard proxy';

/** Asks the proxy at its admin socket. */
export class AgentClient extends AdminClient {
  constructor(path: string) {
    super(path, command);
  }

  /** Rejects where it is no proxy that answers. */
  async status(): Promise<StatusDocument> {
    const status = JSON.parse(await this.get('/v1/status')) as AnyStatus;
    if (!isProxys(status)) throw wrongHalf(this.path, 'proxy');
    return status;
  }
}

/** The agent that flags or habit name: the first place at which one answers. */
export async function findAgent(
  flags: FlagValues,
  env: Readonly<Record<string, string | undefined>>,
): Promise<{ readonly client: AgentClient; readonly status: StatusDocument }> {
  const place = { name: 'admin', given: flags.text('adminSocket'), command } as const;
  return findAnswering(place, env, async (path) => {
    const client = new AgentClient(path);
    return { client, status: await client.status() };
  });
}
