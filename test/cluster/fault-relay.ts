import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ControlPlane } from './control-plane.ts';

/** What is done to each request that it fits; of several the first counts. */
export type RelayFault = {
  readonly on?: 'list' | 'watch';
  /** Only to requests with this bearer token. */
  readonly token?: string;
  /** To every n-th only. Default 1. */
  readonly every?: number;
} & (
  | {
      readonly do: 'status';
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
    }
  /** Accepted and never answered. */
  | { readonly do: 'hang' }
  /** Passed on after a time. */
  | { readonly do: 'delay'; readonly ms: number }
  /** The answer comes by so many bytes each time. */
  | { readonly do: 'trickle'; readonly bytes: number; readonly ms: number }
  /** The connection is cut after so many bytes of the answer. */
  | { readonly do: 'cut'; readonly bytes: number }
);

/** A request of the agent. */
export interface RelayedRequest {
  /** `page` is a list that goes on. */
  readonly verb: 'list' | 'page' | 'watch';
  readonly resource: string;
  /** On the relay's own clock, never set back. */
  readonly atMs: number;
  /** 0: no answer so far. A watch that was told that its version expired has 410. */
  readonly status: number;
}

const script = join(import.meta.dirname, 'fault-relay.mjs');

/** A relay between an agent and the API server, which can do harm to what passes. */
export class FaultRelay {
  static readonly port = 7443;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #lastId = 0;

  private constructor(plane: ControlPlane) {
    const { namespace, address, folder } = plane;
    const certs = join(folder, 'certs');
    const inNamespace = ['netns', 'exec', namespace, process.execPath, script];
    const between = ['https://127.0.0.1:6443', address, String(FaultRelay.port)];
    const pair = [join(certs, 'apiserver.crt'), join(certs, 'apiserver.key')];
    this.#child = spawn('ip', [...inNamespace, ...between, ...pair]);
    if (this.#child.stdout === null) throw new Error('the relay has no stdout');
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const { id, result } = JSON.parse(line) as { id: number; result: unknown };
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
  }

  /** The plane has to be up: its certificate is used. */
  static async start(plane: ControlPlane): Promise<FaultRelay> {
    const relay = new FaultRelay(plane);
    await new Promise<unknown>((resolve, reject) => {
      relay.#waiting.set(0, resolve);
      relay.#child.once('exit', () => reject(new Error('the relay did not start')));
    });
    return relay;
  }

  /** From now on; what is under way stays as it is. */
  async faults(...faults: readonly RelayFault[]): Promise<void> {
    await this.#call({ do: 'faults', faults });
  }

  /** Cuts all connections of the agent. In the same step the faults change, and what was asked before is forgotten where told. */
  async cut(faults: readonly RelayFault[] = [], { forget = false } = {}): Promise<void> {
    await this.#call({ do: 'cut', faults, forget });
  }

  /** Answers that are under way say nothing more, and their connections stay. */
  async mute(): Promise<void> {
    await this.#call({ do: 'mute' });
  }

  /** What was asked since it was told to {@link forget}. */
  async seen(): Promise<readonly RelayedRequest[]> {
    return (await this.#call({ do: 'seen' })) as readonly RelayedRequest[];
  }

  async forget(): Promise<void> {
    await this.#call({ do: 'forget' });
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    if (this.#child.exitCode !== null) return;
    this.#child.stdin?.end();
    await ended;
  }

  async #call(command: object): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.stdin?.write(`${JSON.stringify({ id, ...command })}\n`);
    });
  }
}
