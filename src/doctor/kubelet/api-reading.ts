import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import { runProgram } from '../../host/run-program.ts';
import { apiPath, getAnswer } from '../../informer/api-answer.ts';
import { loadApiClients } from '../../informer/api-client.ts';
import type { ApiClient, ApiClients } from '../../informer/api-client.ts';
import { silentLog } from '../../telemetry/log.ts';
import { withoutPassword } from '../api-readings.ts';
import { readClient } from './client-reading.ts';
import type { KubeletApiReading, KubeletSubject } from './readings.ts';

const timeoutMs = 10_000;
const nodes = { group: '', resource: 'nodes' } as const;

/** What asking takes. */
export interface ApiLook {
  readonly subject: KubeletSubject;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

/** Asks who answers, what time it is there, and for this Node. */
export async function readKubeletApi(look: ApiLook): Promise<KubeletApiReading> {
  const { clock, env, signal } = look;
  const { kubeconfig } = look.subject.config;
  if (kubeconfig === '') return { kind: 'unused', why: 'no API server is wanted' };
  let clients: ApiClients;
  try {
    clients = await loadApiClients({ kubeconfig, log: silentLog, clock, env, runProgram });
  } catch (error) {
    return { kind: 'unused', why: `the kubeconfig cannot be used yet: ${errorText(error)}` };
  }
  const { client, useClientFile } = clients;
  const { file } = await readClient(look.subject, clock.now());
  const limited = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  try {
    // As the kubelet asks.
    await useClientFile(file);
    return await asked(client, look, limited);
  } catch (error) {
    signal.throwIfAborted();
    const server = withoutPassword(client.server);
    const problem = limited.aborted ? 'no answer in time' : errorText(error);
    return { kind: 'silent', server, problem: problem.replaceAll(client.server, server) };
  } finally {
    await client.close();
  }
}

async function asked(
  client: ApiClient,
  { subject, clock }: ApiLook,
  signal: AbortSignal,
): Promise<KubeletApiReading> {
  const startMs = clock.monotonic();
  const version = await getAnswer(
    client,
    '/version',
    {},
    { ...nodes, resource: 'version' },
    signal,
  );
  // The date has whole seconds, and was written some time while we waited.
  const ourMs = clock.now() - (clock.monotonic() - startMs) / 2;
  const path = `${apiPath(nodes)}/${encodeURIComponent(subject.nodeName)}`;
  const node = await getAnswer(client, path, {}, nodes, signal);
  const { gitVersion } = (version.value ?? {}) as { readonly gitVersion?: unknown };
  return {
    kind: 'answered',
    server: withoutPassword(client.server),
    version: typeof gitVersion === 'string' ? gitVersion : '',
    aheadMs: version.dateMs === undefined ? undefined : ourMs - (version.dateMs + 500),
    nodeStatus: node.status,
    reason: node.reason,
  };
}
