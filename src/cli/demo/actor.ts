import process from 'node:process';
import { createInterface } from 'node:readline';
import { SwitchyardError } from '../../error.ts';
import type { NamespaceProcess, Namespaces } from '../../host/namespaces.ts';
import { actorProgram } from './actor-program.ts';
import type { ActorRequest, Transport } from './actor-program.ts';

/** What became of one request: who answered and which address it saw, or how it failed. */
export type Answer =
  | { readonly answeredBy: string; readonly sourceSeen: string }
  | 'refused'
  | 'timeout'
  | 'closed';

/** Where to ask, and how. */
export interface Question {
  readonly to: string;
  readonly port: number;
  readonly proto?: Transport;
  /** The source address; the kernel's choice where absent. */
  readonly from?: string;
  /** The source port, likewise. */
  readonly fromPort?: number;
  readonly timeoutMs?: number;
}

/** A server of an actor: it answers with its name and the address it was asked from. */
export interface ServerSpec {
  readonly proto: Transport;
  readonly address: string;
  readonly port: number;
  readonly name: string;
}

/** A TCP connection, or a UDP socket with its source port, that is used again and again. */
export interface HeldConnection {
  readonly first: Answer;
  again(timeoutMs?: number): Promise<Answer>;
  close(): Promise<void>;
}

// Each member of the union by itself, or the fields that not all have would be lost.
type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;

const defaultTimeoutMs = 2000;

/** A process in a namespace that serves and asks on command (JSON lines over its standard streams). */
export class NetworkActor {
  readonly #child: NamespaceProcess;
  readonly #role: string;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #lastId = 0;
  /** How its process ended; undefined while it runs. */
  #end: string | undefined;

  /** `program`: what obeys, with its arguments; ours unless a test needs one that knows more. */
  constructor(
    namespaces: Namespaces,
    role: string,
    program: readonly string[] = [process.execPath, '-e', actorProgram()],
  ) {
    const [file = '', ...args] = program;
    this.#role = role;
    this.#child = namespaces.spawn(role, file, args);
    this.#child.stdin.on('error', () => {}); // it ended: asking says so
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const { id, result } = JSON.parse(line) as { id: number; result: unknown };
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
    void this.#untilEnd();
  }

  /** Says to all who wait how it ended. */
  async #untilEnd(): Promise<void> {
    let said = '';
    this.#child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2000);
    });
    const { exitCode, signal } = await this.#child;
    const end = `its process has ended (${signal ?? `exit code ${exitCode}`}) ${said}`.trim();
    this.#end = end;
    for (const tell of this.#waiting.values()) tell({ error: end });
  }

  async serve(server: ServerSpec): Promise<void> {
    await this.#call({ do: 'serve', ...server });
  }

  async ask(question: Question): Promise<Answer> {
    const filled = { proto: 'tcp', timeoutMs: defaultTimeoutMs, ...question } as const;
    return (await this.#call({ do: 'ask', ...filled })).result as Answer;
  }

  async open(question: Question): Promise<HeldConnection> {
    const filled = { proto: 'tcp', timeoutMs: defaultTimeoutMs, ...question } as const;
    const { id: handle, result } = await this.#call({ do: 'open', ...filled });
    return {
      first: result as Answer,
      again: async (timeoutMs = defaultTimeoutMs) =>
        (await this.#call({ do: 'again', handle, timeoutMs })).result as Answer,
      close: async () => void (await this.#call({ do: 'drop', handle })),
    };
  }

  /** An HTTP GET from inside the namespace; status 0 where nobody answers. */
  async get(url: string, timeoutMs = 1000): Promise<{ status: number; body: string }> {
    const { result } = await this.#call({ do: 'get', url, timeoutMs });
    return result as { status: number; body: string };
  }

  async #call(request: WithoutId<ActorRequest>): Promise<{ id: number; result: unknown }> {
    const id = ++this.#lastId;
    const result = await new Promise<unknown>((resolve) => {
      this.#waiting.set(id, resolve);
      if (this.#end !== undefined) resolve({ error: this.#end });
      this.#child.stdin.write(`${JSON.stringify({ id, ...request })}\n`);
    });
    if (typeof result === 'object' && result !== null && 'error' in result) {
      throw new SwitchyardError('tool', `${this.#role}: ${String(result.error)}`);
    }
    return { id, result };
  }
}
