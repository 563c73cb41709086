import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type {
  ListenFailure,
  Listener,
  ListenerKey,
  ListenerStats,
  RelayChange,
} from '../../src/relay/relay.ts';

interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export type RelayRequest = { readonly id: number } & (
  | { readonly do: 'change'; readonly change: RelayChange }
  | { readonly do: 'admit'; readonly keys: readonly ListenerKey[] }
  | { readonly do: 'stats' | 'close' }
);

export type RelayReply =
  | { readonly id: number; readonly value: unknown }
  | { readonly log: LogLine };

type Asked<T> = T extends unknown ? Omit<T, 'id'> : never;

export const relayProgram = join(import.meta.dirname, 'relay-program.ts');

export interface RelayProcessOptions {
  readonly program?: string;
  readonly cwd?: string;
  readonly workers?: number;
  readonly wires?: 'handles' | 'sockets';
  /** File descriptors it may have. */
  readonly files?: number;
}

/** A relay in a process of its own. */
export class RelayProcess {
  readonly log: LogLine[] = [];
  readonly #child: ChildProcess;
  readonly #open = new Map<number, (value: unknown) => void>();
  #lastId = 0;

  constructor({ program = relayProgram, cwd, workers, wires, files }: RelayProcessOptions = {}) {
    const command = [process.execPath, program, JSON.stringify({ workers, wires, files })];
    const limited = files === undefined ? command : ['prlimit', `--nofile=${files}`, ...command];
    const [file = '', ...args] = limited;
    this.#child = spawn(file, args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.#child.on('message', (reply: RelayReply) => {
      if ('log' in reply) this.log.push(reply.log);
      else this.#open.get(reply.id)?.(reply.value);
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async open(...listeners: readonly Listener[]): Promise<readonly ListenFailure[]> {
    const change = { close: [], open: listeners };
    const failures = await this.#ask({ do: 'change', change });
    await this.#ask({ do: 'admit', keys: listeners.map(({ key }) => key) });
    return failures as readonly ListenFailure[];
  }

  async stats(): Promise<ReadonlyMap<string, ListenerStats>> {
    return (await this.#ask({ do: 'stats' })) as ReadonlyMap<string, ListenerStats>;
  }

  /** Resident memory, KiB. */
  residentKiB(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
  }

  /** Seconds of processor time that it has used. */
  cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8').replace(/.*\) /, '').split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    await Promise.race([this.#ask({ do: 'close' }), ended]);
    await ended;
  }

  async #ask(request: Asked<RelayRequest>): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      this.#open.set(id, resolve);
      this.#child.send({ id, ...request });
    });
  }
}
