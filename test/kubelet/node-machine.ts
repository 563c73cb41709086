import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../../src/clock.ts';
import { checkVersion, connectCri } from '../../src/kubelet/cri/client.ts';
import type { Cri } from '../../src/kubelet/cri/client.ts';
import { chosenContainerd } from './containerd/build.ts';
import { cniConfig, containerdConfig } from './containerd-config.ts';
import type { BuiltImage } from './images.ts';

/** Where the nodes lie, in the sandbox's own /run. */
const base = '/run/sy';
export const fabricAddress = '10.89.0.1';

/** Makes the bridge that joins the nodes, once for all test files of a sandbox; the test's own address is on it. */
export function makeFabric(): void {
  if (existsSync('/sys/class/net/br0')) return;
  run('ip', 'link', 'add', 'br0', 'type', 'bridge');
  run('ip', 'address', 'add', `${fabricAddress}/24`, 'dev', 'br0');
  run('ip', 'link', 'set', 'br0', 'up');
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
}

/** Runs a program to its end; throws with what it said. */
export function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Polls a condition until it holds; fails by name after a minute. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  seconds = 60,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${seconds} s until ${what}`);
    await delay(20);
  }
}

/** What pid 1 of a node does before it waits. */
const beginning = (name: string): string => `
hostname ${name}
mount -t tmpfs -o mode=755 tmpfs /run/netns
mkdir -p /run/cg
mount --rbind /sys/fs/cgroup /run/cg
mount -t sysfs sysfs /sys
mount --rbind /run/cg /sys/fs/cgroup
umount -l /run/cg
mount -t tmpfs tmpfs /var/lib/cni
mount -t tmpfs tmpfs /var/log
mkdir -p /var/log/pods /var/log/containers
echo nameserver 127.0.0.1 > ${base}/${name}/resolv.conf
mount --bind ${base}/${name}/resolv.conf /etc/resolv.conf
mount --make-rshared /
ip link set lo up
echo ready
exec /usr/bin/catatonit -P`;

/** A machine with containerd: namespaces of its own (net, mount, pid, uts, ipc) on the fabric. Its folder outlives it, as a disk does. */
export class NodeMachine {
  readonly name: string;
  readonly address: string;
  readonly podCidr: string;
  readonly folder: string;
  readonly #link: string;
  /** Not a machine of its own: programs run where the test does. */
  readonly isHere: boolean;
  #holder: ChildProcess | undefined;
  #pid = 0;
  #containerd: ChildProcess | undefined;

  /** `index` from 1: of its addresses; 0: it is where the test is. */
  constructor(name: string, index: number) {
    this.name = name;
    this.isHere = index === 0;
    this.address = this.isHere ? fabricAddress : `10.89.0.${10 + index}`;
    this.podCidr = `10.244.${index}.0/24`;
    this.folder = join(base, name);
    this.#link = `v-${name}`;
  }

  get socket(): string {
    return join(this.folder, 'containerd.sock');
  }

  get endpoint(): string {
    return `unix://${this.socket}`;
  }

  /** A client of its runtime; the socket is reached from anywhere in the sandbox. */
  connect(): Cri {
    return connectCri(this.endpoint, systemClock);
  }

  /** Boots it; what its disk holds of an earlier life stays. */
  async start(): Promise<void> {
    for (const each of ['root', 'state', 'cni', 'cni-data', 'certs.d']) {
      mkdirSync(join(this.folder, each), { recursive: true });
    }
    writeFileSync(join(this.folder, 'config.toml'), containerdConfig(this));
    writeFileSync(join(this.folder, 'cni/10-pods.conflist'), cniConfig(this));
    await this.#hold();
    this.#wire();
    await this.startContainerd();
  }

  /** The command line that runs a program inside. */
  enter(...command: readonly string[]): readonly string[] {
    if (this.isHere) return command;
    return ['nsenter', '-t', String(this.#pid), '-a', ...command];
  }

  /** Runs a program inside to its end. */
  run(...command: readonly string[]): string {
    const [nsenter = '', ...rest] = this.enter(...command);
    return run(nsenter, ...rest);
  }

  /** Starts a program inside; its output goes to a file of the node. */
  spawn(log: string, ...command: readonly string[]): ChildProcess {
    const [nsenter = '', ...rest] = this.enter(...command);
    const output = openSync(join(this.folder, log), 'a');
    return spawn(nsenter, rest, { stdio: ['ignore', output, output] });
  }

  async startContainerd(): Promise<void> {
    const { folder } = chosenContainerd();
    this.#containerd = this.spawn(
      'containerd.log',
      'env',
      // It looks for its shim there.
      `PATH=${folder}:${process.env['PATH'] ?? ''}`,
      join(folder, 'containerd'),
      '--config',
      join(this.folder, 'config.toml'),
    );
    try {
      await until('containerd listens', async () => answers(this.socket));
      const cri = this.connect();
      await until('CRI answers', async () =>
        checkVersion(cri).then(
          () => true,
          () => false,
        ),
      );
    } catch (thrown) {
      throw new Error(`${this.name}: ${String(thrown)}\n${this.tail('containerd.log')}`, {
        cause: thrown,
      });
    }
  }

  /** containerd ends as by a crash; the pods go on. */
  async stopContainerd(): Promise<void> {
    // What was spawned is nsenter; the child of it has become containerd.
    const ended = exited(this.#containerd);
    this.run('sh', '-c', 'kill -9 $(pidof containerd)');
    await ended;
  }

  importImages(...images: readonly BuiltImage[]): void {
    const ctr = join(chosenContainerd().folder, 'ctr');
    for (const image of images) {
      const file = join(this.folder, 'image.tar');
      writeFileSync(file, image.tar);
      run(ctr, '-a', this.socket, '-n', 'k8s.io', 'images', 'import', file);
      rmSync(file);
    }
  }

  /** Takes it off the network, or back on; its runtime stays reachable by the socket. */
  partition(away: boolean): void {
    run('ip', 'link', 'set', this.#link, away ? 'down' : 'up');
  }

  /** Pulls the plug: containerd, pods, mounts and processes are gone at once. */
  async crash(): Promise<void> {
    const holder = this.#holder;
    if (!holder) return;
    const ended = exited(holder);
    process.kill(this.#pid, 'SIGKILL');
    await ended;
    this.#holder = undefined;
    this.#unwire();
  }

  /** The last lines of one of its logs, for a failure's message. */
  tail(log: string, bytes = 4000): string {
    return readFileSync(join(this.folder, log), 'utf8').slice(-bytes);
  }

  /** With its disk, and what a kubelet that runs where the test does has mounted on it. */
  remove(): void {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    const points = mounts.map((line) => line.split(' ')[4] ?? '');
    const below = points.filter((point) => point.startsWith(`${this.folder}/`));
    for (const point of below.toReversed()) run('umount', '-l', point);
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #hold(): Promise<void> {
    const namespaces = ['--net', '--mount', '--pid', '--uts', '--ipc', '--fork', '--kill-child'];
    const shell = ['/bin/sh', '-ec', beginning(this.name)];
    const holder = spawn(
      'unshare',
      [...namespaces, '--mount-proc', '--propagation', 'private', ...shell],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const said: string[] = [];
    holder.stderr.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    await new Promise<void>((resolve, reject) => {
      holder.stdout.once('data', () => {
        resolve();
      });
      holder.once('exit', () => {
        reject(new Error(`node ${this.name} did not start: ${said.join('')}`));
      });
    });
    this.#holder = holder;
    const children = `/proc/${holder.pid}/task/${holder.pid}/children`;
    this.#pid = Number(readFileSync(children, 'utf8').trim());
  }

  /** The kernel takes its time with the links of a namespace that is gone. */
  #unwire(): void {
    try {
      run('ip', 'link', 'delete', this.#link);
    } catch {
      // it was quicker, or there was none
    }
  }

  #wire(): void {
    this.#unwire();
    const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', String(this.#pid)];
    run('ip', 'link', 'add', this.#link, ...peer);
    run('ip', 'link', 'set', this.#link, 'master', 'br0', 'up');
    this.run(
      'sh',
      '-ec',
      `ip address add ${this.address}/24 dev eth0
       ip link set eth0 up
       ip route add default via ${fabricAddress}
       echo 1 > /proc/sys/net/ipv4/ip_forward`,
    );
    run('ip', 'route', 'replace', this.podCidr, 'via', this.address);
  }
}

/** Lets pods of each of these nodes reach those of the others. */
export function joinNodes(nodes: readonly NodeMachine[]): void {
  for (const node of nodes) {
    for (const other of nodes) {
      if (node !== other) node.run('ip', 'route', 'replace', other.podCidr, 'via', other.address);
    }
  }
}

async function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}

async function exited(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    child.once('exit', () => {
      resolve();
    });
  });
}
