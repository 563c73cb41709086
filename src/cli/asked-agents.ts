import type { FlagValues } from '../config/flag-table.ts';
import type { KubeletStatus } from '../kubelet/admin/kubelet-status.ts';
import type { StatusDocument } from '../proxy/admin/status-document.ts';
import { AdminClient, NoAgentError, findAnswering } from './admin-client.ts';
import { isProxys } from './answering-half.ts';
import type { AnyStatus } from './answering-half.ts';

/** How the agents of a node are; one of them is there at least. */
export interface AskedAgents {
  readonly proxy: StatusDocument | undefined;
  readonly kubelet: KubeletStatus | undefined;
}

/** Asks the proxy and the kubelet, be they one process or two; where a socket is named, what answers there. Rejects where nobody does. */
export async function askAgents(
  flags: FlagValues,
  env: Readonly<Record<string, string | undefined>>,
): Promise<AskedAgents> {
  const given = flags.text('adminSocket');
  const ask = async (name: 'admin' | 'kubelet', command: string): Promise<AnyStatus> =>
    findAnswering({ name, given, command }, env, async (path) =>
      JSON.parse(await new AdminClient(path, command).get('/v1/status')),
    );
  const command = 'switchyard proxy, kubelet or node';
  if (given !== '') return kept([await ask('admin', command)]);
  const asked = await Promise.allSettled([ask('admin', command), ask('kubelet', command)]);
  const answers: AnyStatus[] = [];
  const failures: unknown[] = [];
  for (const each of asked) {
    if (each.status === 'fulfilled') answers.push(each.value);
    else failures.push(each.reason);
  }
  // One that is there and cannot be understood is no agent less.
  const worst = failures.find((each) => !(each instanceof NoAgentError));
  if (worst !== undefined || answers.length === 0) throw worst ?? failures[0];
  return kept(answers);
}

function kept(answers: readonly AnyStatus[]): AskedAgents {
  return { proxy: answers.find(isProxys), kubelet: answers.find(isKubelets) };
}

function isKubelets(status: AnyStatus): status is KubeletStatus {
  return !isProxys(status);
}
