import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import type { NamespaceProcess } from '../../src/host/namespaces.ts';
import { until } from '../kubelet/node-machine.ts';
import type { Said } from '../kubelet/said.ts';
import { Guest } from '../vm/guest.ts';
import { guestKernel } from '../vm/guest-kernel.ts';
import { buildInitrd } from '../vm/initrd.ts';

/** Nothing of it waits for longer, in seconds: what a program does here takes ten times longer there, and more beside other work. */
const patience = 400;

/** It is ended after this time, whatever goes on in there. */
const limitMs = 1_500_000;

/** What systemd is told; the journal is on the console, too, where it can be read when the machine is off. */
const parameters = [
  'systemd.unit=multi-user.target',
  'systemd.condition-needs-update=false',
  'systemd.journald.forward_to_console=1',
  'systemd.firstboot=off',
  'printk.time=1',
  'fstab=no',
];

/** Why there can be none here; undefined: there can. */
export function whyNoMachine(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'needs Linux on x86-64';
  if (process.getuid?.() !== 0) return 'needs root: the guest runs in a network namespace';
  const needed = ['/lib/systemd/systemd', '/usr/bin/dbus-daemon', '/usr/bin/qemu-system-x86_64'];
  const first = needed.find((path) => !existsSync(path));
  return first === undefined ? undefined : `needs ${first}: npm run test:vm:systemd installs it`;
}

/**
 * A virtual machine (test/vm) with systemd as its process 1, Debian's packages as they are on this machine, and nothing set up. Commands are
 * run in it as a user's would be, one after the other.
 */
export class SystemdMachine {
  readonly #guest = new Guest();
  #qemu: NamespaceProcess | undefined;
  #commands: Socket | undefined;
  #limit: ReturnType<typeof setTimeout> | undefined;
  readonly #answers: Said[] = [];
  /** What qemu itself ended with, once it has. */
  #ended: { readonly exitCode?: number } | undefined;

  /** Makes what lies outside of it. */
  async open(): Promise<void> {
    await this.#guest.open();
    mkdirSync(this.shared);
  }

  /** What is put in there before it boots it finds under the same path. */
  get folder(): string {
    return this.#guest.folder;
  }

  /** The folder that both may write to, under the same path. */
  get shared(): string {
    return join(this.folder, 'shared');
  }

  /** Everything that its kernel and its journal have said. */
  get console(): string {
    return readFileSync(join(this.folder, 'console'), 'utf8');
  }

  /** Until it takes commands, and systemd has started what it starts. */
  async boot(): Promise<void> {
    const kernel = await guestKernel((text) => process.stderr.write(`systemd: ${text}\n`));
    const path = join(this.folder, 'commands');
    this.#qemu = this.#guest.boot({
      kernel,
      initrd: await buildInitrd(kernel),
      script: 'test/systemd/boot.sh',
      ports: { commands: `socket,path=${path},server=on,wait=off` },
      shares: { shared: this.shared },
      parameters,
    });
    this.#limit = setTimeout(() => this.#qemu?.kill('SIGKILL'), limitMs);
    void this.#qemu.then((ended) => (this.#ended = ended));
    await this.until('qemu listens', () => existsSync(path) || this.#ended !== undefined);
    this.#commands = connect(path);
    createInterface({ input: this.#commands }).on('line', (line) => {
      this.#answers.push(JSON.parse(line) as Said);
    });
    await this.#answer('it boots');
    await this.run('systemctl', 'is-system-running', '--wait');
  }

  /** Runs a command to its end, whatever that is. */
  async run(...words: readonly string[]): Promise<Said> {
    this.#commands?.write(`${JSON.stringify(words)}\n`);
    return this.#answer(words.join(' '));
  }

  /** The same; one that fails is an error. */
  async does(...words: readonly string[]): Promise<string> {
    const { code, out, err } = await this.run(...words);
    if (code !== 0) throw this.#problem(`${words.join(' ')}: ended with ${code}: ${out}${err}`);
    return out;
  }

  /** Waits until a condition holds; a failure shows what the journal has said. */
  async until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    try {
      await until(what, condition, patience);
    } catch (cause) {
      throw this.#problem(String(cause), { cause });
    }
  }

  /** Until it has switched itself off. */
  async isOff(): Promise<void> {
    await this.until('the machine is off', () => this.#ended !== undefined);
    if (this.#ended?.exitCode !== 0) throw this.#problem('qemu failed');
  }

  /** Pulls the plug where it still runs, and leaves nothing behind. */
  async close(): Promise<void> {
    clearTimeout(this.#limit);
    this.#commands?.destroy();
    this.#qemu?.kill('SIGKILL');
    await this.#guest.close();
  }

  /** What the command that was sent last has ended with. */
  async #answer(what: string): Promise<Said> {
    await this.until(what, () => this.#answers.length > 0 || this.#ended !== undefined);
    const answer = this.#answers.shift();
    if (answer === undefined) throw this.#problem(`${what}: the machine ended`);
    return answer;
  }

  #problem(what: string, options: ErrorOptions = {}): Error {
    return new Error(
      `${what}; the last lines of its console:\n${this.console.slice(-6000)}`,
      options,
    );
  }
}
