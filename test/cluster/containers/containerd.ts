import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { ownFolder } from '../../support/own-folder.ts';
import { containerTools } from './tools.ts';
import type { ContainerTools } from './tools.ts';

/** What a program in a container said, and its exit status. */
export interface ContainerRun {
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a container is started. */
export interface ContainerOptions {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** As a pod with `privileged: true`; else uid 0 with NET_ADMIN and NET_RAW alone. */
  readonly privileged?: boolean;
  /** What of the node it sees: paths in the container, and what lies there. */
  readonly mounts?: Readonly<Record<string, Mount>>;
}

export interface Mount {
  readonly source: string;
  readonly writable?: boolean;
}

/** What pods get of capabilities unless they drop them (containerd's default). */
const usual = [
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE',
].flatMap((names) => names.split(' '));

/**
 * A containerd of one network namespace: its processes, mounts and `/run` are in namespaces of its own too, and end with it.
 * Containers get the network namespace as the host's.
 */
export class Containerd {
  readonly folder = ownFolder('swyctr');
  readonly #tools: ContainerTools;
  readonly #unshare: ChildProcess;
  readonly #group: string;
  #pid = 0;

  private constructor(tools: ContainerTools, networkNamespace: string) {
    this.#tools = tools;
    this.#group = `swyctr-${process.pid}`;
    writeFileSync(join(this.folder, 'config.toml'), this.#settings());
    const start = `mount -t tmpfs tmpfs /run && touch /run/xtables.lock && exec containerd --config ${join(this.folder, 'config.toml')}`;
    const own = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const program = ['sh', '-c', start];
    this.#unshare = spawn(
      'nsenter',
      [
        `--net=/run/netns/${networkNamespace}`,
        'unshare',
        ...own,
        '--propagation=private',
        ...program,
      ],
      { env: this.#env, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#unshare.stderr?.on('data', (chunk: Buffer) => {
      writeFileSync(join(this.folder, 'containerd.log'), chunk, { flag: 'a' });
    });
  }

  static async start(networkNamespace: string): Promise<Containerd> {
    const containerd = new Containerd(await containerTools(), networkNamespace);
    const until = Date.now() + 30_000;
    for (;;) {
      const { exitCode, stderr } = await containerd.#ctr(['version']);
      if (exitCode === 0) return containerd;
      if (Date.now() > until) {
        await containerd.stop();
        throw new Error(`containerd did not start: ${stderr}`);
      }
      await sleep(50);
    }
  }

  async load(archive: string): Promise<void> {
    await this.#must(['images', 'import', archive]);
  }

  /** Runs a container of an image to its end. Without arguments, what the image starts by itself. */
  async run(image: string, options: ContainerOptions): Promise<ContainerRun> {
    const id = `run-${Date.now()}`;
    const result = await this.#ctr([
      'run',
      '--rm',
      ...this.#flags(options),
      image,
      id,
      ...options.args,
    ]);
    return { status: result.exitCode, stdout: result.stdout, stderr: result.stderr };
  }

  /** Starts a container of an image. */
  start(image: string, id: string, options: ContainerOptions): Container {
    const args = ['run', '--rm', ...this.#flags(options), image, id, ...options.args];
    const child = spawn('nsenter', this.#inside(args), {
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return new Container(id, child, async (...ctr) => this.#ctr(ctr));
  }

  /** Ends it with all its containers, and removes what it has left. */
  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#unshare.once('exit', resolve));
    if (this.#unshare.exitCode === null) {
      this.#unshare.kill('SIGKILL');
      await ended;
    }
    removeGroups(this.#group);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #flags({ privileged = false, mounts = {}, env = {} }: ContainerOptions): readonly string[] {
    const rights = privileged
      ? ['--privileged']
      : ['--seccomp', '--cap-add=CAP_NET_ADMIN', ...usual.map((name) => `--cap-drop=CAP_${name}`)];
    const binds = Object.entries(mounts).map(([destination, { source, writable }]) => {
      const options = `rbind:${writable === true ? 'rw' : 'ro'}`;
      return `--mount=type=bind,src=${source},dst=${destination},options=${options}`;
    });
    return [
      '--net-host',
      '--read-only',
      `--cgroup=/${this.#group}/${Date.now()}`,
      ...rights,
      ...binds,
      ...Object.entries(env).map(([key, value]) => `--env=${key}=${value}`),
    ];
  }

  async #must(args: readonly string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.#ctr(args);
    if (exitCode !== 0) throw new Error(`ctr ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  async #ctr(args: readonly string[]) {
    return execa('nsenter', this.#inside(args), {
      env: this.#env,
      reject: false,
      timeout: 60_000,
      stdin: 'ignore',
      stripFinalNewline: false,
    });
  }

  /** The arguments of `nsenter` for a ctr in containerd's namespaces. */
  #inside(args: readonly string[]): readonly string[] {
    return [
      `--target=${this.#firstProcess()}`,
      '--mount',
      '--pid',
      '--net',
      'ctr',
      `--address=${join(this.folder, 'socket')}`,
      '--namespace=switchyard',
      ...args,
    ];
  }

  /** The first process of its process namespace, as it is called outside. */
  #firstProcess(): number {
    const parent = this.#unshare.pid ?? 0;
    if (this.#pid === 0) {
      const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim();
      this.#pid = Number(children.split(' ')[0]);
    }
    return this.#pid === 0 ? parent : this.#pid;
  }

  get #env(): NodeJS.ProcessEnv {
    return { ...process.env, PATH: `${this.#tools.folders.join(':')}:${process.env['PATH']}` };
  }

  #settings(): string {
    const [root, state] = [join(this.folder, 'root'), join(this.folder, 'state')];
    mkdirSync(root);
    return `version = 2
root = "${root}"
state = "${state}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "${join(this.folder, 'socket')}"
[ttrpc]
  address = "${join(this.folder, 'socket.ttrpc')}"
`;
  }
}

/** A running container. */
export class Container {
  readonly id: string;
  readonly #child: ChildProcess;
  readonly #ctr: (...args: readonly string[]) => ReturnType<Containerd['run']> | Promise<unknown>;
  #log = '';

  constructor(
    id: string,
    child: ChildProcess,
    ctr: (...args: readonly string[]) => Promise<unknown>,
  ) {
    this.id = id;
    this.#child = child;
    this.#ctr = ctr;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#log += chunk.toString();
      });
    }
  }

  /** All it has said. */
  get log(): string {
    return this.#log;
  }

  /** Ends it as the kubelet does, and answers its exit status. */
  async stop(): Promise<number | null> {
    const ended = new Promise<number | null>((resolve) => this.#child.once('exit', resolve));
    if (this.#child.exitCode !== null) return this.#child.exitCode;
    await this.#ctr('tasks', 'kill', '--signal', 'SIGTERM', this.id);
    return ended;
  }
}

/** Control groups outlive what ran in them. */
function removeGroups(name: string): void {
  const base = '/sys/fs/cgroup';
  for (const hierarchy of ['', ...readdirSync(base)]) {
    removeGroup(join(base, hierarchy, name));
  }
}

function removeGroup(folder: string): void {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) removeGroup(join(folder, entry.name));
    }
    rmdirSync(folder);
  } catch {
    // not there, or not empty yet: it stays, and holds nothing
  }
}
