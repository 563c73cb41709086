import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetworkActor } from '../../src/cli/demo/actor.ts';
import { Namespaces } from '../../src/host/namespaces.ts';
import type { NamespaceProcess } from '../../src/host/namespaces.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import { qemuArguments } from './qemu.ts';
import type { Hardware, Machine } from './qemu.ts';

/** The namespace the guest runs in; its loopback device is what the guest reaches of the world. */
const outside = 'outside';

/** Where the guest reaches the loopback address of its namespace. */
export const outsideAddress = '10.0.2.2';

/** How a guest is started that runs one command. */
export interface GuestOptions extends Hardware {
  /** The guest is ended after this time. */
  readonly limitMs: number;
  /** Likewise when its command has said nothing for so long. */
  readonly silenceMs?: number;
  readonly signal: AbortSignal;
  /** What its command says, as it comes. */
  readonly onOutput: (chunk: Buffer) => void;
}

/** A command failed in the guest, or the guest itself did; the console says more. */
export class GuestError extends Error {
  override readonly name = 'GuestError';
  /** The last lines of the kernel's console. */
  readonly console: string;

  constructor(message: string, console: string) {
    super(message);
    this.console = console;
  }
}

/**
 * A virtual machine without KVM: the kernel of Debian on the files of this machine, which it cannot change. It runs
 * in a network namespace of its own, without a link to anything; what else runs in there, on 127.0.0.1, is the world
 * it sees. `close` ends everything; so does the end of this process.
 */
export class Guest {
  readonly #namespaces: Namespaces;
  #folder: string | undefined;

  /** `number`: tells it from others of this process. */
  constructor(number = 0) {
    this.#namespaces = new Namespaces({ tools: systemTools, prefix: `swyvm${number}` });
  }

  /** Makes the namespace, and removes what killed runs have left. */
  async open(): Promise<void> {
    await this.#namespaces.removeLeftovers();
    this.#folder = await mkdtemp(join(tmpdir(), 'swyvm-'));
    await this.#namespaces.add([outside]);
  }

  /** The name of the namespace outside, for what else the guest shall reach there: an API server. */
  get namespace(): string {
    return this.#namespaces.name(outside);
  }

  /** Runs `ip` commands in the namespace outside. */
  async ip(commands: readonly string[]): Promise<void> {
    await this.#namespaces.ip(outside, commands);
  }

  /** A folder of this guest's own, which it sees under the same path. */
  get folder(): string {
    if (this.#folder === undefined) throw new Error('the guest is not open');
    return this.#folder;
  }

  /** Serves a word outside, on TCP; answers where the guest finds it: `10.0.2.2:PORT`. */
  async serveOutside(port: number, name: string): Promise<string> {
    const actor = new NetworkActor(this.#namespaces, outside);
    await actor.serve({ proto: 'tcp', address: '127.0.0.1', port, name });
    return `${outsideAddress}:${port}`;
  }

  /** Runs one command in the checkout, in a guest that is started for it; answers its exit status. */
  async run(command: readonly string[], options: GuestOptions): Promise<number> {
    const job = this.folder;
    await writeFile(join(job, 'command'), command.map((word) => `${word}\0`).join(''));
    await Promise.all(['status', 'console'].map(async (name) => writeFile(join(job, name), '')));
    const qemu = this.boot({
      ...options,
      script: 'test/vm/guest.sh',
      ports: { output: 'stdio,signal=off', status: `file,path=${join(job, 'status')}` },
    });
    const why = await followed(qemu, options);
    const console = (await readFile(join(job, 'console'), 'latin1')).slice(-4000).trim();
    const status = (await readFile(join(job, 'status'), 'latin1')).trim();
    if (why !== undefined) throw new GuestError(why, console);
    if (!/^\d+$/.test(status)) {
      throw new GuestError('the guest ended before its command did', console);
    }
    return Number(status);
  }

  /** Starts a guest; it ends with this process at the latest. Its standard input stays open: its end would be that of a reader of the output. */
  boot(machine: Machine): NamespaceProcess {
    const words = [
      '--pdeathsig',
      'KILL',
      'qemu-system-x86_64',
      ...qemuArguments(this.folder, machine),
    ];
    return this.#namespaces.spawn(outside, 'setpriv', words);
  }

  async close(): Promise<void> {
    await this.#namespaces.close();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Waits until the machine is off; answers why it was ended, or failed, or undefined. */
async function followed(
  qemu: NamespaceProcess,
  { limitMs, silenceMs, signal, onOutput }: GuestOptions,
): Promise<string | undefined> {
  let why: string | undefined;
  let said = '';
  const end = (reason: string): void => {
    why ??= reason;
    qemu.kill('SIGKILL');
  };
  const timer = setTimeout(() => end(`the guest did not end within ${limitMs / 1000} s`), limitMs);
  const silence =
    silenceMs === undefined
      ? undefined
      : setTimeout(() => end(`the guest said nothing for ${silenceMs / 1000} s`), silenceMs);
  const stop = (): void => end('the guest was stopped');
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  qemu.stdout.on('data', (chunk: Buffer) => {
    silence?.refresh();
    onOutput(chunk);
  });
  qemu.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2000);
  });
  try {
    const { exitCode } = await qemu;
    if (why === undefined && exitCode !== 0) why = `qemu ended with ${exitCode}: ${said.trim()}`;
    return why;
  } finally {
    clearTimeout(timer);
    clearTimeout(silence);
    signal.removeEventListener('abort', stop);
  }
}
