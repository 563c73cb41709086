import type { Client } from '@connectrpc/connect';
import { Code } from '@connectrpc/connect';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import { CriError, criText } from '../cri/cri-error.ts';
import type { RuntimeService } from '../cri/gen/api_pb.ts';
import { ContainerState } from '../cri/gen/api_pb.ts';
import type { Pod } from '../pod/pod.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';
import { newest } from '../runtime/runtime-pod.ts';
import { sayText } from './say.ts';
import { logContainer } from './log-container.ts';
import { parseLogOptions } from './log-options.ts';
import type { LogOptions } from './log-options.ts';
import { readLog } from './log-reader.ts';
import type { Exchange } from './routes.ts';
import { ownStreamingUrl, tunnel } from './tunnel.ts';

export interface PodRoutesOptions {
  readonly runtime: Pick<Client<typeof RuntimeService>, 'containerStatus' | 'exec' | 'execSync'>;
  /** A pod of the sources by its names, with the status that counts now. */
  readonly findPod: (namespace: string, name: string) => Pod | undefined;
  readonly runtimePod: (uid: string) => RuntimePod | undefined;
  /** The node's, where the runtime's streaming server may listen instead of on loopback. */
  readonly ownAddresses: () => readonly string[];
  /** `streamingConnectionIdleTimeout`. */
  readonly idleMs: number;
  readonly clock: Clock;
}

/** What a path names after its verb: `/exec/NAMESPACE/POD[/UID]/CONTAINER`. */
interface Target {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string | undefined;
  readonly container: string;
}

/** What is done with one container of a pod: its log, and commands in it (spec 10.3). */
export class PodRoutes {
  readonly #options: PodRoutesOptions;

  constructor(options: PodRoutesOptions) {
    this.#options = options;
  }

  async logs({ request, response, url, signal }: Exchange): Promise<void> {
    const target = targetOf(url.pathname, 3);
    if (target === undefined) {
      sayText(response, 404, '404 page not found');
      return;
    }
    const { clock, findPod } = this.#options;
    const parsed = parseLogOptions(url.searchParams, clock.now());
    if (parsed.kind === 'refused') {
      sayText(response, parsed.status, parsed.text);
      return;
    }
    const pod = findPod(target.namespace, target.pod);
    if (pod === undefined) {
      sayText(response, 404, `pod "${target.pod}" does not exist\n`);
      return;
    }
    if (!hasContainer(pod, target.container)) {
      const text = `container "${target.container}" not found in pod "${target.pod}"\n`;
      sayText(response, 404, text);
      return;
    }
    const chosen = logContainer(pod, target.container, parsed.options.previous);
    if (chosen.kind === 'none') {
      sayText(response, 400, chosen.text);
      return;
    }
    if (request.method === 'HEAD') response.end();
    else await this.#sendLog(chosen.id, parsed.options, response, signal);
  }

  async #sendLog(
    id: string,
    options: LogOptions,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#options;
    let pieces: AsyncGenerator<Buffer>;
    let first: IteratorResult<Buffer, void> | undefined;
    try {
      const { logPath } = await this.#statusOf(id, signal);
      const isRunning = async (): Promise<boolean> => this.#isRunning(id, signal);
      pieces = readLog({ path: logPath, options, isRunning, clock, signal });
      // What cannot be read is said before anything is sent; a follower of a silent container gets its headers all the same.
      if (!options.follow) first = await pieces.next();
    } catch (error) {
      sayText(response, 400, logFailure(error));
      return;
    }
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Transfer-Encoding': 'chunked' });
    response.flushHeaders();
    if (first?.value !== undefined) await send(response, first.value, signal);
    for await (const piece of pieces) await send(response, piece, signal);
    response.end();
  }

  async #statusOf(
    id: string,
    signal: AbortSignal,
  ): Promise<{ readonly logPath: string; readonly state: ContainerState }> {
    const { status } = await this.#options.runtime.containerStatus({ containerId: id }, { signal });
    if (status === undefined || status.logPath === '')
      throw new Error(`container ${id} has no log`);
    return status;
  }

  /** A runtime that is away for a moment does not end who follows. */
  async #isRunning(id: string, signal: AbortSignal): Promise<boolean> {
    try {
      const { state } = await this.#statusOf(id, signal);
      return state === ContainerState.CONTAINER_RUNNING;
    } catch (error) {
      return error instanceof CriError && error.grpcCode === Code.Unavailable;
    }
  }

  /** The client speaks to the runtime itself, through a tunnel. */
  async exec({ request, response, url, take, signal }: Exchange): Promise<void> {
    const { runtime, ownAddresses, idleMs } = this.#options;
    const streams = streamsOf(url.searchParams);
    if (streams === undefined) {
      sayText(response, 400, 'you must specify at least 1 of stdin, stdout, stderr');
      return;
    }
    const id = this.#runningContainer(url, response);
    if (id === undefined) return;
    if (take === undefined) {
      sayText(response, 400, 'Upgrade request required');
      return;
    }
    const cmd = url.searchParams.getAll('command');
    let streaming: URL;
    try {
      const answer = await runtime.exec({ containerId: id, cmd, ...streams }, { signal });
      streaming = ownStreamingUrl(answer.url, ownAddresses());
    } catch (error) {
      sayText(response, execStatus(error), criText(error));
      return;
    }
    await tunnel({ url: streaming, request, idleMs, take });
  }

  /** Runs a command and gives what it said. */
  async run({ request, response, url, signal }: Exchange): Promise<void> {
    if (request.method !== 'POST') {
      sayText(response, 405, '405: Method Not Allowed');
      return;
    }
    const id = this.#runningContainer(url, response);
    if (id === undefined) return;
    const cmd = (url.searchParams.get('cmd') ?? '').split(' ');
    try {
      const call = { containerId: id, cmd, timeout: 0n };
      const { stdout, stderr, exitCode } = await this.#options.runtime.execSync(call, { signal });
      const output = Buffer.concat([stdout, stderr]);
      if (exitCode === 0) response.writeHead(200, { 'Content-Type': 'text/plain' }).end(output);
      else
        sayText(
          response,
          500,
          `command '${cmd.join(' ')}' exited with ${exitCode}: ${output.toString()}`,
        );
    } catch (error) {
      sayText(response, execStatus(error), criText(error));
    }
  }

  #runningContainer(url: URL, response: ServerResponse): string | undefined {
    const target = targetOf(url.pathname, 4);
    const pod = target && this.#options.findPod(target.namespace, target.pod);
    const isOther = target?.uid !== undefined && pod?.metadata.uid !== target.uid;
    if (target === undefined || pod === undefined || isOther) {
      sayText(response, 404, 'pod does not exist');
      return undefined;
    }
    const found = newest(this.#options.runtimePod(pod.metadata.uid), target.container);
    if (found?.state === 'running') return found.id;
    sayText(response, 500, `container not found ("${target.container}")`);
    return undefined;
  }
}

function targetOf(path: string, maxParts: number): Target | undefined {
  const parts = path.split('/').slice(2).map(decoded);
  if (parts.some((part) => part === '') || parts.length < 3 || parts.length > maxParts)
    return undefined;
  const [namespace = '', pod = '', third = '', fourth] = parts;
  if (fourth === undefined) return { namespace, pod, uid: undefined, container: third };
  return { namespace, pod, uid: third, container: fourth };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}

function hasContainer({ spec }: Pod, name: string): boolean {
  return [...spec.containers, ...spec.initContainers].some((each) => each.name === name);
}

interface Streams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

/** undefined: none was asked for. A terminal has no error stream of its own. */
function streamsOf(query: URLSearchParams): Streams | undefined {
  const asked = (...names: readonly string[]): boolean =>
    names.some((name) => /^(1|t|true)$/i.test(query.get(name) ?? ''));
  const tty = asked('tty');
  const stdin = asked('input', 'stdin');
  const stdout = asked('output', 'stdout');
  const stderr = asked('error', 'stderr') && !tty;
  return stdin || stdout || stderr ? { stdin, stdout, stderr, tty } : undefined;
}

function execStatus(error: unknown): number {
  if (!(error instanceof CriError)) return 500;
  if (error.grpcCode === Code.NotFound) return 404;
  return error.grpcCode === Code.ResourceExhausted ? 429 : 500;
}

function logFailure(error: unknown): string {
  return error instanceof CriError ? criText(error) : errorText(error);
}

/** Waits for a slow reader: no more than this piece is held for it. */
async function send(response: ServerResponse, piece: Buffer, signal: AbortSignal): Promise<void> {
  if (response.write(piece) || signal.aborted) return;
  try {
    await once(response, 'drain', { signal });
  } catch {
    // Gone; the reader ends by the same signal.
  }
}
