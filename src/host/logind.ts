import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { SwitchyardError, errorText } from '../error.ts';
import { firstBoolean, firstText, firstUint64 } from './dbus-message.ts';
import type { BusMessage } from './dbus-message.ts';
import { KeptFile } from './kept-file.ts';
import { MessageBus, systemBusPath } from './system-bus.ts';

/** A shutdown that is held back. */
export interface HeldShutdown {
  /** Resolves when it is held back no more, by whomever. */
  readonly ended: Promise<void>;
  release(): Promise<void>;
}

/** Who shuts the machine down: heard of, and held back for a while. */
export interface ShutdownHost {
  /**
   * Tells whether the machine is being shut down, at first and when that changes: a shutdown begins (`true`), or is called off; until
   * `signal`. `lost` resolves when nothing is heard any more. Rejects where there is nobody to be heard.
   */
  follow(
    onShutdown: (begins: boolean) => void,
    signal: AbortSignal,
  ): Promise<{ readonly lost: Promise<void> }>;
  /** Holds the next shutdown back, for as long as {@link longestMs} says at most. */
  hold(): Promise<HeldShutdown>;
  /** Sees to it that a shutdown can be held back for as long as `ms`; gives for how long it can. */
  allow(ms: number): Promise<number>;
}

const login = 'org.freedesktop.login1';
const loginPath = '/org/freedesktop/login1';
const manager = `${login}.Manager`;
const bus = 'org.freedesktop.DBus';
const busPath = '/org/freedesktop/DBus';

export interface LogindOptions {
  readonly busPath?: string;
  /** Where its configuration lies. */
  readonly configFolder?: string;
  /** What takes a lock, and how. */
  readonly inhibit?: readonly string[];
}

/** What is run with the lock: it says that it has it, and ends with this process, whatever that dies of. */
const holding = ['sh', '-c', 'echo held; exec cat'];
const usualInhibit = [
  'systemd-inhibit',
  '--what=shutdown',
  '--who=kubelet',
  '--why=Kubelet needs time to handle node shutdown',
  '--mode=delay',
];

/** systemd-logind, over the message bus of the machine. Its lock is a descriptor, which Node cannot take: systemd-inhibit has it. */
export class Logind implements ShutdownHost {
  readonly #options: LogindOptions;
  #bus: MessageBus | undefined;

  constructor(options: LogindOptions = {}) {
    this.#options = options;
  }

  async follow(
    onShutdown: (begins: boolean) => void,
    signal: AbortSignal,
  ): Promise<{ readonly lost: Promise<void> }> {
    const path = this.#options.busPath ?? systemBusPath;
    const hear = async (message: BusMessage): Promise<void> => {
      const begins = firstBoolean(message);
      // Any user may send a signal of any name: only that of logind itself counts.
      if (begins !== undefined && message.sender === (await this.#owner())) onShutdown(begins);
    };
    const opened = await MessageBus.open(
      path,
      (message) => {
        const { interface: of, member } = message;
        if (of === manager && member === 'PrepareForShutdown') hear(message).catch(() => {});
      },
      signal,
    );
    this.#bus = opened;
    try {
      const of = `interface='${manager}',member='PrepareForShutdown',path='${loginPath}'`;
      await opened.match(`type='signal',sender='${login}',${of}`);
      // What was said before this connection is not said again.
      onShutdown(await this.#isPreparing());
      await this.#delayMs();
    } catch (error) {
      opened.close();
      throw error;
    }
    return { lost: opened.closed };
  }

  async hold(): Promise<HeldShutdown> {
    const [command = '', ...args] = [...(this.#options.inhibit ?? usualInhibit), ...holding];
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(0, 500);
    });
    child.stdin.on('error', () => {});
    const ended = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        said = errorText(error);
        resolve();
      });
      child.once('close', () => resolve());
    });
    const held = new Promise<boolean>((resolve) => {
      child.stdout.once('data', () => resolve(true));
      void ended.then(() => resolve(false));
    });
    if (!(await held)) throw problem(`a shutdown cannot be held back: ${said.trim()}`);
    return {
      ended,
      release: async () => {
        child.stdin.end();
        await ended;
      },
    };
  }

  async allow(ms: number): Promise<number> {
    const before = await this.#delayMs();
    if (before >= ms) return before;
    const folder = this.#options.configFolder ?? '/etc/systemd/logind.conf.d';
    const seconds = Math.ceil(ms / 1000);
    // Named as upstream's kubelet names it: there is one such file a machine.
    await new KeptFile(join(folder, '99-kubelet.conf')).write(
      `# Written by switchyard kubelet: a shutdown waits for its pods.\n[Login]\nInhibitDelayMaxSec=${seconds}\n`,
    );
    await this.#connected().call({
      destination: 'org.freedesktop.systemd1',
      path: '/org/freedesktop/systemd1',
      interface: 'org.freedesktop.systemd1.Manager',
      member: 'KillUnit',
      arguments: ['systemd-logind.service', 'all', 1],
    });
    return this.#delayMs();
  }

  async #isPreparing(): Promise<boolean> {
    const begins = firstBoolean(await this.#property('PreparingForShutdown'));
    if (begins === undefined) throw problem('systemd-logind does not say whether it shuts down');
    return begins;
  }

  async #delayMs(): Promise<number> {
    const microseconds = firstUint64(await this.#property('InhibitDelayMaxUSec'));
    if (microseconds === undefined) throw problem('systemd-logind does not say how long it waits');
    return Number(microseconds / 1000n);
  }

  async #property(name: string): Promise<BusMessage> {
    return this.#connected().call({
      destination: login,
      path: loginPath,
      interface: 'org.freedesktop.DBus.Properties',
      member: 'Get',
      arguments: [manager, name],
    });
  }

  async #owner(): Promise<string | undefined> {
    const answer = await this.#connected().call({
      destination: bus,
      path: busPath,
      interface: bus,
      member: 'GetNameOwner',
      arguments: [login],
    });
    return firstText(answer);
  }

  #connected(): MessageBus {
    if (this.#bus === undefined) throw problem('there is no connection to systemd-logind');
    return this.#bus;
  }
}

function problem(text: string): SwitchyardError {
  return new SwitchyardError('tool', text, { retryable: true });
}
