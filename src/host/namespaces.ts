import { readdir } from 'node:fs/promises';
import process from 'node:process';
import { execa } from 'execa';
import { SwitchyardError, errorText } from '../error.ts';
import { endProcess, processLives } from './process.ts';
import type { ToolRunner } from './run-tool.ts';
import { toolPath } from './tool-path.ts';

const timeoutMs = 20_000;
const killAfterMs = 10_000;

/** A link between two namespaces: a veth pair, one end in each. */
export interface VethLink {
  readonly from: { readonly role: string; readonly device: string };
  readonly to: { readonly role: string; readonly device: string };
}

/** A program that runs inside a namespace, with pipes to its standard streams. */
export type NamespaceProcess = ReturnType<typeof start>;

export interface NamespacesOptions {
  readonly tools: ToolRunner;
  /** Starts the name of each namespace: `swy` makes `swy-4711-node`. Letters and digits only. */
  readonly prefix?: string;
  /** Owner of the namespaces; this process unless a test says otherwise. */
  readonly pid?: number;
  /** Where `ip netns` keeps its names. */
  readonly folder?: string;
}

/**
 * Network namespaces of this process's own, named `PREFIX-PID-ROLE`. `close` ends what runs in them
 * and removes them, also where setting them up failed half way.
 */
export class Namespaces {
  readonly #tools: ToolRunner;
  readonly #prefix: string;
  readonly #pid: number;
  readonly #folder: string;
  readonly #roles = new Set<string>();
  readonly #running = new Set<NamespaceProcess>();
  readonly #never = new AbortController().signal;

  constructor({
    tools,
    prefix = 'swy',
    pid = process.pid,
    folder = '/run/netns',
  }: NamespacesOptions) {
    this.#tools = tools;
    this.#prefix = prefix;
    this.#pid = pid;
    this.#folder = folder;
  }

  /** The name `ip netns` knows a role's namespace by. */
  name(role: string): string {
    return `${this.#prefix}-${this.#pid}-${role}`;
  }

  /** Makes namespaces, each with its loopback device up. */
  async add(roles: readonly string[]): Promise<void> {
    for (const role of roles) this.#roles.add(role);
    await this.#ip(
      [],
      roles.map((role) => `netns add ${this.name(role)}`),
    );
    await Promise.all(roles.map(async (role) => this.ip(role, ['link set lo up'])));
  }

  /** Joins two namespaces by veth pairs; all ends are up afterwards. */
  async connect(links: readonly VethLink[]): Promise<void> {
    for (const { from, to } of links) {
      const peer = `peer name ${to.device} netns ${this.name(to.role)}`;
      await this.ip(from.role, [
        `link add ${from.device} type veth ${peer}`,
        `link set ${from.device} up`,
      ]);
      await this.ip(to.role, [`link set ${to.device} up`]);
    }
  }

  /** Runs `ip` commands inside a namespace, all in one go (`ip -batch`). */
  async ip(role: string, commands: readonly string[]): Promise<void> {
    await this.#ip(['-n', this.name(role)], commands);
  }

  /** Writes kernel settings of a namespace: keys as paths below /proc/sys. */
  async set(role: string, keys: readonly string[], value: string): Promise<void> {
    await this.run(
      role,
      'tee',
      keys.map((key) => `/proc/sys/${key}`),
      { input: value },
    );
  }

  /** Runs a program inside a namespace to its end; rejects where it fails. */
  async run(
    role: string,
    tool: string,
    args: readonly string[],
    options: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<string> {
    return this.#tool(['netns', 'exec', this.name(role), tool, ...args], options);
  }

  /** Starts a program inside a namespace; it is ended by `close` at the latest. */
  spawn(
    role: string,
    file: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): NamespaceProcess {
    const child = start(['netns', 'exec', this.name(role), file, ...args], env);
    this.#running.add(child);
    void child.finally(() => this.#running.delete(child));
    return child;
  }

  /** Ends all programs and removes all namespaces; says what could not be removed. */
  async close(): Promise<void> {
    for (const child of this.#running) child.kill('SIGTERM');
    await Promise.all(this.#running);
    const failures: string[] = [];
    for (const role of this.#roles) {
      try {
        await removeNamespace(this.#tools, this.name(role), this.#never);
      } catch (error) {
        if (await this.#exists(role)) failures.push(errorText(error));
      }
    }
    this.#roles.clear();
    if (failures.length > 0) throw new SwitchyardError('tool', failures.join('\n'));
  }

  /** Removes what earlier processes of the same prefix left when they were killed. Answers the names. */
  async removeLeftovers(): Promise<readonly string[]> {
    const left = leftoverNames(await namespaceNames(this.#folder), this.#prefix, processLives);
    for (const name of left) await removeNamespace(this.#tools, name, this.#never);
    return left;
  }

  async #exists(role: string): Promise<boolean> {
    return (await namespaceNames(this.#folder)).includes(this.name(role));
  }

  async #ip(args: readonly string[], commands: readonly string[]): Promise<void> {
    await this.#tool([...args, '-batch', '-'], { input: `${commands.join('\n')}\n` });
  }

  async #tool(
    args: readonly string[],
    { input, env }: { readonly input?: string; readonly env?: Readonly<Record<string, string>> },
  ): Promise<string> {
    const options = {
      timeoutMs,
      signal: this.#never,
      ...(input === undefined ? {} : { input }),
      ...(env === undefined ? {} : { env }),
    };
    const { exitCode, stdout, stderr } = await this.#tools.run('ip', args, options);
    if (exitCode === 0) return stdout;
    const shown = input === undefined ? '' : ` with ${JSON.stringify(input)}`;
    throw new SwitchyardError('tool', `ip ${args.join(' ')}${shown} failed: ${stderr.trim()}`, {
      hint: 'namespaces need root and a kernel with network namespaces and veth',
    });
  }
}

/** The namespaces of a prefix whose owner is gone. */
export function leftoverNames(
  names: readonly string[],
  prefix: string,
  lives: (pid: number) => boolean,
): readonly string[] {
  return names.filter((name) => {
    const [first, pid, role] = name.split('-');
    return first === prefix && role !== undefined && /^\d+$/.test(pid ?? '') && !lives(Number(pid));
  });
}

function start(args: readonly string[], env: Readonly<Record<string, string>>) {
  return execa('ip', args, {
    env: { PATH: toolPath(process.env['PATH']), ...env },
    reject: false,
    buffer: false,
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
    forceKillAfterDelay: killAfterMs,
  });
}

/** Deletes a namespace and ends what still runs in it: nothing else may live there. */
async function removeNamespace(
  tools: ToolRunner,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const { stdout } = await tools.run('ip', ['netns', 'pids', name], { timeoutMs, signal });
  for (const pid of stdout.split('\n').map(Number)) if (pid > 1) endProcess(pid);
  const { exitCode, stderr } = await tools.run('ip', ['netns', 'del', name], { timeoutMs, signal });
  if (exitCode === 0) return;
  throw new SwitchyardError('tool', `namespace ${name} is still there: ${stderr.trim()}`, {
    hint: `remove it with: ip netns del ${name}`,
  });
}

async function namespaceNames(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch {
    return []; // no namespace was ever made on this machine
  }
}
