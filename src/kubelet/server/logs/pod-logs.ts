import type { Client } from '@connectrpc/connect';
import { Code } from '@connectrpc/connect';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Clock } from '../../../clock.ts';
import { errorText } from '../../../error.ts';
import { CriError, criText } from '../../cri/cri-error.ts';
import type { RuntimeService } from '../../cri/gen/api_pb.ts';
import { ContainerState } from '../../cri/gen/api_pb.ts';
import { allContainers } from '../../pod/pod.ts';
import type { Pod } from '../../pod/pod.ts';
import { sayText } from '../say.ts';
import { logContainer } from './log-container.ts';
import { parseLogOptions } from './log-options.ts';
import type { LogOptions } from './log-options.ts';
import { readLog } from './log-reader.ts';
import { containerTarget } from '../pod-target.ts';
import type { Exchange } from '../routes.ts';

export interface PodLogsOptions {
  readonly runtime: Pick<Client<typeof RuntimeService>, 'containerStatus'>;
  /** A pod of the sources by its names, with the status that counts now. */
  readonly findPod: (namespace: string, name: string) => Pod | undefined;
  readonly clock: Clock;
}

/** `/containerLogs/NAMESPACE/POD/CONTAINER`: what a container has said. */
export class PodLogs {
  readonly #options: PodLogsOptions;

  constructor(options: PodLogsOptions) {
    this.#options = options;
  }

  async answer({ request, response, url, signal }: Exchange): Promise<void> {
    const target = containerTarget(url.pathname);
    if (target === undefined || target.uid !== undefined) {
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
}

function hasContainer({ spec }: Pod, name: string): boolean {
  return allContainers(spec).some((each) => each.name === name);
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
