import type { Clock } from '../../clock.ts';
import { SwitchyardError, errorText, systemCode } from '../../error.ts';
import type { Cri } from '../cri/client.ts';
import type { Container, Hook, HttpGet } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodEvents } from '../ports/pod-events.ts';
import { httpUrl, probeHeaders } from '../probes/http-probe.ts';
import { openGet } from '../probes/open-get.ts';

export interface HookSurroundings {
  readonly runtime: Pick<Cri['runtime'], 'execSync'>;
  readonly clock: Clock;
  readonly events: PodEvents;
  /** `kube-lifecycle/1.37` */
  readonly userAgent: string;
}

export interface HookTarget {
  readonly pod: Pick<Pod, 'metadata' | 'spec'>;
  readonly container: Container;
  readonly containerId: string;
  readonly podIP: string | undefined;
}

/**
 * Runs what a container asks for after its start or before its end (Kubernetes: Container Lifecycle Hooks). Rejects where it failed, or
 * `signal` came first.
 */
export async function runHook(
  hook: Hook,
  target: HookTarget,
  around: HookSurroundings,
  signal: AbortSignal,
): Promise<void> {
  if (hook.exec !== undefined) {
    await execute(hook.exec.command, target, around, signal);
  } else if (hook.httpGet !== undefined) {
    await ask(hook.httpGet, target, around, signal);
  } else if (hook.sleep !== undefined) {
    await around.clock.sleep(hook.sleep.seconds * 1000, signal);
    signal.throwIfAborted();
  }
}

async function execute(
  command: readonly string[],
  { containerId }: HookTarget,
  { runtime }: HookSurroundings,
  signal: AbortSignal,
): Promise<void> {
  const answer = await runtime.execSync(
    { containerId, cmd: [...command], timeout: 0n },
    { signal },
  );
  if (answer.exitCode === 0) return;
  const output = Buffer.concat([answer.stdout, answer.stderr]).toString();
  const text = `command ${JSON.stringify(command.join(' '))} exited with ${answer.exitCode}: ${output}`;
  throw new SwitchyardError('tool', text);
}

/** Any status is an answer; only where there is none the hook failed. */
async function ask(
  get: HttpGet,
  { pod, container, podIP }: HookTarget,
  { events, userAgent }: HookSurroundings,
  signal: AbortSignal,
): Promise<void> {
  const url = httpUrl(get, podIP, container);
  const headers = probeHeaders(get.httpHeaders ?? [], userAgent);
  try {
    await send(url, headers, signal);
  } catch (thrown) {
    signal.throwIfAborted();
    if (url.protocol !== 'https:' || !speaksPlainly(thrown)) throw thrown;
    const message = `request to HTTPS lifecycle hook got HTTP response, retry with HTTP succeeded`;
    const { authorization: _, ...others } = headers;
    await send(new URL(url.href.replace(/^https:/, 'http:')), others, signal);
    events.tell(pod, {
      type: 'Warning',
      reason: 'LifecycleHTTPFallback',
      message: `${message} (${errorText(thrown)})`,
      container: container.name,
    });
  }
}

async function send(
  url: URL,
  headers: Readonly<Record<string, string[]>>,
  signal: AbortSignal,
): Promise<void> {
  const response = await openGet(url, headers, signal);
  response.destroy();
}

/** Whether what answered to a TLS greeting was a server without TLS. */
function speaksPlainly(thrown: unknown): boolean {
  const code = systemCode(thrown);
  return (
    code === 'EPROTO' ||
    code === 'ERR_SSL_WRONG_VERSION_NUMBER' ||
    code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG'
  );
}
