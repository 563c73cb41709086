import type { Client } from '@connectrpc/connect';
import { Code } from '@connectrpc/connect';
import { CriError, criText } from '../../cri/cri-error.ts';
import type { RuntimeService } from '../../cri/gen/api_pb.ts';
import { allContainers } from '../../pod/pod.ts';
import type { Pod } from '../../pod/pod.ts';
import type { RuntimePod } from '../../runtime/runtime-pod.ts';
import { newest } from '../../runtime/runtime-pod.ts';
import { containerTarget, podTarget } from '../pod-target.ts';
import type { PodTarget } from '../pod-target.ts';
import type { Exchange } from '../routes.ts';
import { sayText } from '../say.ts';
import { ownStreamingUrl, tunnel } from './tunnel.ts';

export interface PodStreamsOptions {
  readonly runtime: Pick<
    Client<typeof RuntimeService>,
    'exec' | 'attach' | 'portForward' | 'execSync'
  >;
  /** A pod of the sources by its names, with the status that counts now. */
  readonly findPod: (namespace: string, name: string) => Pod | undefined;
  /** As it is now: a client may come as soon as a status says that something runs. Rejects where the runtime does not answer. */
  readonly runtimePod: (uid: string, signal: AbortSignal) => Promise<RuntimePod | undefined>;
  /** The node's, where the runtime's streaming server may listen instead of on loopback. */
  readonly ownAddresses: () => readonly string[];
  /** `streamingConnectionIdleTimeout`. */
  readonly idleMs: number;
}

/** Paths of {@link PodStreams}, all of which do something in a pod. */
export type StreamVerb = 'exec' | 'attach' | 'portForward' | 'run';

/** What is done in a pod: commands, its first process' own streams, its ports. The client speaks to the runtime itself, through a tunnel. */
export class PodStreams {
  readonly #options: PodStreamsOptions;

  constructor(options: PodStreamsOptions) {
    this.#options = options;
  }

  async answer(verb: StreamVerb, exchange: Exchange): Promise<void> {
    switch (verb) {
      case 'exec':
        return this.#exec(exchange);
      case 'attach':
        return this.#attach(exchange);
      case 'portForward':
        return this.#portForward(exchange);
      case 'run':
        return this.#run(exchange);
    }
  }

  async #exec(exchange: Exchange): Promise<void> {
    const asked = await this.#asked(exchange);
    if (asked === undefined) return;
    const { found, streams } = asked;
    const { url, signal } = exchange;
    const cmd = url.searchParams.getAll('command');
    await this.#tunnel(exchange, async () =>
      this.#options.runtime.exec({ containerId: found.id, cmd, ...streams }, { signal }),
    );
  }

  /** Whether there is a terminal was decided when the container was made. */
  async #attach(exchange: Exchange): Promise<void> {
    const asked = await this.#asked(exchange);
    if (asked === undefined) return;
    const { found, streams } = asked;
    const { tty } = found;
    const wanted = { ...streams, tty, stderr: streams.stderr && !tty };
    await this.#tunnel(exchange, async () =>
      this.#options.runtime.attach(
        { containerId: found.id, ...wanted },
        { signal: exchange.signal },
      ),
    );
  }

  /** The container and the streams that are asked for. undefined: what is wrong with that has been answered. */
  async #asked(exchange: Exchange) {
    const streams = streamsOf(exchange.url.searchParams);
    if (streams === undefined) {
      sayText(exchange.response, 400, noStreams);
      return undefined;
    }
    const found = await this.#runningContainer(exchange);
    return found && { found, streams };
  }

  async #portForward(exchange: Exchange): Promise<void> {
    const { response, url, signal } = exchange;
    const port = portsOf(url.searchParams);
    if (port === undefined) {
      sayText(response, 400, 'ports have to be numbers from 1 to 65535');
      return;
    }
    const pod = this.#pod(podTarget(url.pathname));
    if (pod === undefined) {
      sayText(response, 404, 'pod does not exist');
      return;
    }
    const found = await this.#runtimePod(pod, exchange);
    if (found === 'failed') return;
    const sandbox = found?.sandboxes.find(({ state }) => state === 'ready');
    if (sandbox === undefined) {
      sayText(response, 500, `pod "${pod.metadata.name}" is not running`);
      return;
    }
    await this.#tunnel(exchange, async () =>
      this.#options.runtime.portForward({ podSandboxId: sandbox.id, port: [...port] }, { signal }),
    );
  }

  /** Runs a command and gives what it said. */
  async #run(exchange: Exchange): Promise<void> {
    const { request, response, url, signal } = exchange;
    if (request.method !== 'POST') {
      sayText(response, 405, '405: Method Not Allowed');
      return;
    }
    const found = await this.#runningContainer(exchange);
    if (found === undefined) return;
    const cmd = (url.searchParams.get('cmd') ?? '').split(' ');
    try {
      const call = { containerId: found.id, cmd, timeout: 0n };
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
      sayText(response, failureStatus(error), criText(error));
    }
  }

  /** Has the runtime name the place where it waits for the client, and joins the two. */
  async #tunnel(
    { request, response, take }: Exchange,
    ask: () => Promise<{ readonly url: string }>,
  ): Promise<void> {
    if (take === undefined) {
      sayText(response, 400, 'Upgrade request required');
      return;
    }
    const { ownAddresses, idleMs } = this.#options;
    let streaming: URL;
    try {
      const { url } = await ask();
      streaming = ownStreamingUrl(url, ownAddresses());
    } catch (error) {
      sayText(response, failureStatus(error), criText(error));
      return;
    }
    await tunnel({ url: streaming, request, idleMs, take });
  }

  async #runningContainer(
    exchange: Exchange,
  ): Promise<{ readonly id: string; readonly tty: boolean } | undefined> {
    const { response, url } = exchange;
    const target = containerTarget(url.pathname);
    const pod = this.#pod(target);
    if (target === undefined || pod === undefined) {
      sayText(response, 404, 'pod does not exist');
      return undefined;
    }
    const inRuntime = await this.#runtimePod(pod, exchange);
    if (inRuntime === 'failed') return undefined;
    const found = newest(inRuntime, target.container);
    if (found?.state === 'running') return { id: found.id, tty: hasTerminal(pod, found.name) };
    sayText(response, 500, `container not found ("${target.container}")`);
    return undefined;
  }

  /** `failed`: the client was told why. */
  async #runtimePod(
    { metadata }: Pod,
    { response, signal }: Exchange,
  ): Promise<RuntimePod | undefined | 'failed'> {
    try {
      return await this.#options.runtimePod(metadata.uid, signal);
    } catch (error) {
      sayText(response, failureStatus(error), criText(error));
      return 'failed';
    }
  }

  #pod(target: PodTarget | undefined): Pod | undefined {
    const pod = target && this.#options.findPod(target.namespace, target.pod);
    const isOther = target?.uid !== undefined && pod?.metadata.uid !== target.uid;
    return isOther ? undefined : pod;
  }
}

const noStreams = 'you must specify at least 1 of stdin, stdout, stderr';

function hasTerminal({ spec }: Pod, name: string): boolean {
  const all = allContainers(spec);
  return all.find((each) => each.name === name)?.tty ?? false;
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

function failureStatus(error: unknown): number {
  if (!(error instanceof CriError)) return 500;
  if (error.grpcCode === Code.NotFound) return 404;
  return error.grpcCode === Code.ResourceExhausted ? 429 : 500;
}

/** Those of a WebSocket are in its address, those of SPDY come with its streams; undefined: one is none. */
function portsOf(query: URLSearchParams): readonly number[] | undefined {
  const ports = query
    .getAll('port')
    .flatMap((text) => text.split(','))
    .filter((text) => text !== '')
    .map((text) => (/^\d{1,5}$/.test(text) ? Number(text) : 0));
  return ports.every((port) => port >= 1 && port <= 65_535) ? ports : undefined;
}
