import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import process from 'node:process';
import type { Readable, Writable } from 'node:stream';
import type { PodEntry, PodsDocument } from '../../src/kubelet/admin/pods-document.ts';
import type { KubeletProcess } from './kubelet-process.ts';
import { said } from './said.ts';
import type { Said } from './said.ts';

const program = join(import.meta.dirname, '../../src/cli/main.ts');

/** A command that goes on. */
export interface Going {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Its exit status; null: a signal ended it. */
  readonly ended: Promise<number | null>;
  /** What it has printed so far. */
  out(): string;
}

/** `switchyard ps`, `logs`, `exec` and `status`, asked of one kubelet at its admin socket. */
export class AgentCommands {
  readonly #kubelet: KubeletProcess;

  constructor(kubelet: KubeletProcess) {
    this.#kubelet = kubelet;
  }

  /** What follows the name of the program that runs it. */
  words(command: string, args: readonly string[] = []): readonly string[] {
    return [program, command, `--admin-socket=${this.#kubelet.adminSocket}`, ...args];
  }

  /** A command, whatever it ends with. */
  async ask(command: string, ...args: readonly string[]): Promise<Said> {
    return said(process.execPath, this.words(command, args));
  }

  /** The same by another user and group, who has no right beside. */
  async askAs(user: number, ...[command = '', ...args]: readonly string[]): Promise<Said> {
    const who = [`--reuid=${user}`, `--regid=${user}`, '--clear-groups'];
    return said('setpriv', [...who, process.execPath, ...this.words(command, args)]);
  }

  /** The same with an input; what it prints as it comes. */
  start(command: string, ...args: readonly string[]): Going {
    const child = spawn(process.execPath, this.words(command, args));
    const parts: Buffer[] = [];
    child.stdout.on('data', (part: Buffer) => void parts.push(part));
    const ended = once(child, 'close').then(([code]) => code as number | null);
    return { child, ended, out: () => Buffer.concat(parts).toString() };
  }

  /** What `ps` has of pods; rejects with what it says where it fails. */
  async pods(): Promise<readonly PodEntry[]> {
    const { out, err } = await this.ask('ps', '-o', 'json');
    if (out === '') throw new Error(err);
    return (JSON.parse(out) as PodsDocument).pods;
  }

  /** Waits while the kubelet runs. */
  async untilPods(what: string, holds: (all: readonly PodEntry[]) => boolean): Promise<void> {
    await this.#kubelet.until(what, async () => holds(await this.pods().catch(() => [])));
  }

  /** Of all containers. */
  async ids(): Promise<readonly string[]> {
    return (await this.pods()).flatMap(({ containers }) => containers.map(({ id }) => id));
  }
}

export const isReady = ({ status, ready, total }: PodEntry): boolean =>
  status === 'Running' && ready === total;
