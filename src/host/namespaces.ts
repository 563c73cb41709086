import { readdir } from 'node:fs/promises';
import process from 'node:process';
import { execa } from 'execa';
import { SwitchyardError } from '../error.ts';
import { endProcess, processLives } from './process.ts';
import type { ToolResult, ToolRunner } from './run-tool.ts';
import { toolPath } from './tool-path.ts';

const timeoutMs = 60_000;
const killAfterMs = 10_000;

const setUpScript =
  'for each; do echo "${each#*=}" > "/proc/sys/${each%%=*}"; done; exec ip -batch -';

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
    await this.create(roles);
    await Promise.all(roles.map(async (role) => this.ip(role, ['link set lo up'])));
  }

  /** Makes namespaces, whose devices are down. */
  async create(roles: readonly string[]): Promise<void> {
    for (const role of roles) this.#roles.add(role);
    await this.#ip(
      [],
      roles.map((role) => `netns add ${this.name(role)}`),
    );
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

  /**
   * Writes kernel settings of a namespace (by paths below /proc/sys), and then runs `ip` commands inside, all in one go: it is the
   * start of a program that takes long.
   */
  async setUp(
    role: string,
    settings: Readonly<Record<string, string>>,
    commands: readonly string[] = [],
  ): Promise<void> {
    const written = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
    const input = `${commands.join('\n')}\n`;
    await this.run(role, 'sh', ['-ec', setUpScript, 'sh', ...written], { input });
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
    const names = [...this.#roles].map((role) => this.name(role));
    this.#roles.clear();
    await this.#remove(names);
  }

  /** Removes what earlier processes of the same prefix left when they were killed. Answers the names. */
  async removeLeftovers(): Promise<readonly string[]> {
    const left = leftoverNames(await namespaceNames(this.#folder), this.#prefix, processLives);
    await this.#remove(left);
    return left;
  }

  /** Deletes namespaces and ends what still runs in them: nothing else may live there. */
  async #remove(names: readonly string[]): Promise<void> {
    const there = await this.#among(names);
    if (there.length === 0) return;
    const { stdout } = await this.#batch(there.map((name) => `netns pids ${name}`));
    for (const pid of stdout.split('\n').map(Number)) if (pid > 1) endProcess(pid);
    const { stderr } = await this.#batch(there.map((name) => `netns del ${name}`));
    const left = await this.#among(there);
    if (left.length === 0) return;
    const which =
      left.length === 1 ? `namespace ${left[0]} is` : `namespaces ${left.join(', ')} are`;
    throw new SwitchyardError('tool', `${which} still there: ${stderr.trim()}`, {
      hint: `remove with: ${left.map((name) => `ip netns del ${name}`).join('; ')}`,
    });
  }

  /** Runs `ip` commands all in one go, also after one that fails. */
  async #batch(commands: readonly string[]): Promise<ToolResult> {
    const input = `${commands.join('\n')}\n`;
    const options = { timeoutMs, signal: this.#never, input };
    return this.#tools.run('ip', ['-force', '-batch', '-'], options);
  }

  async #among(names: readonly string[]): Promise<readonly string[]> {
    const there = new Set(await namespaceNames(this.#folder));
    return names.filter((name) => there.has(name));
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

async function namespaceNames(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch {
    return []; // no namespace was ever made on this machine
  }
}
