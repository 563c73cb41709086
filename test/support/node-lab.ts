import { existsSync } from 'node:fs';
import { mkdir, readFile, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { NetworkActor } from '../../src/cli/demo/actor.ts';
import type { Answer, HeldConnection, Question, ServerSpec } from '../../src/cli/demo/actor.ts';
import { buildNode } from '../../src/cli/demo/topology.ts';
import { Namespaces } from '../../src/host/namespaces.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import { toolPath } from '../../src/host/tool-path.ts';
import { AgentProcess, program, proxyCommand } from './agent-process.ts';
import type { CommandRun } from './command-run.ts';
import { ownFolder } from './own-folder.ts';

/** A connection whose source port is known, for whoever has to find it in the kernel's tables. */
export interface LabConnection extends HeldConnection {
  readonly fromPort: number;
}

/** Who can ask in the lab: outside, the node itself, two pods of the node, a pod of another node. */
export type Actor = 'client' | 'node' | 'pod-a' | 'pod-b' | 'pod-c' | 'remote';

/** The addresses of the lab. Remote pods are reached through the node, as on a routed pod network. */
export const lab4 = {
  client: '192.0.2.10',
  node: '192.0.2.1',
  'pod-a': '10.244.0.5',
  'pod-b': '10.244.0.6',
  'pod-c': '10.244.0.7',
  remote: '10.244.1.5',
  podGateway: '10.244.0.1',
} as const;

export const lab6 = {
  client: '2001:db8::10',
  node: '2001:db8::1',
  'pod-a': 'fd00:10:244::5',
  'pod-b': 'fd00:10:244::6',
  'pod-c': 'fd00:10:244::7',
  remote: 'fd00:10:244:1::5',
  podGateway: 'fd00:10:244::1',
} as const;

/** The client owns all of this: hundreds of clients in one namespace. */
export const manyClients = '198.18.0.0/16';

/** How much slower than usual the machine is: in the virtual machine, everything waits so much longer. */
const patience = Number(process.env['SWITCHYARD_PATIENCE'] ?? 1);

/** Whether everything costs so much that tests have to be thrifty. */
export const isSlow = patience > 1;

/** Deadlines are generous there: only a failure takes so long, and the machine under the virtual one may be busy. */
const deadlinePatience = isSlow ? 4 * patience : 1;

/** So many requests meet everybody who may answer, and hardly miss whoever may not; fewer where each costs a lot. */
export const manyRequests = isSlow ? 24 : 60;

/** So many ask at once of those that never stop asking. */
export const requestsAtATime = isSlow ? 2 : 4;

/** Between two requests of one that never stops asking: where each costs a lot, whoever serves needs the time. */
export const requestPauseMs = isSlow ? 200 : 0;

/** Between two looks of one that waits for something: to look costs what waits to be done, where it costs a lot. */
const longestPauseMs = isSlow ? 500 : 200;

const usualTimeoutMs = 2000;

/** Why nothing here speaks SCTP, or undefined. Nobody loads a module into the machine's kernel for a test. */
export function sctpBlocked(): string | undefined {
  return existsSync('/proc/net/sctp')
    ? undefined
    : 'this kernel has no SCTP, or has not loaded it; `npm run test:vm` runs it';
}

/** Ports every pod serves, TCP and UDP. Answers carry the pod's name. */
export const podPorts = [8080, 8081, 8082] as const;

/** Source ports of probes and of held connections: below those that the kernel chooses for anybody else, above those a proxy listens on. */
const probePorts = { first: 10_300, last: 29_999 } as const;

const pods = ['pod-a', 'pod-b', 'pod-c', 'remote'] as const;
/** Who serves in the lab. */
export type Pod = (typeof pods)[number];

/** What a server calls itself, by its actor, address and port; default: the actor's name. */
export type ServerName = (actor: Actor, address: string, port: number) => string;

const actors = ['client', 'node', ...pods] as const;

/** Tools that an agent may run, where they are. */
const listTools =
  'for t in iptables iptables-save iptables-restore iptables-nft iptables-nft-save iptables-nft-restore iptables-legacy iptables-legacy-save iptables-legacy-restore ip6tables ip6tables-save ip6tables-restore ip6tables-nft ip6tables-nft-save ip6tables-nft-restore ipset conntrack; do command -v $t; done; true';

const sctpProgram = ['python3', join(import.meta.dirname, 'sctp-actor.py')];

/** A node with clients and pods in namespaces of their own, and a folder of manifests for an agent. */
export class NodeLab {
  readonly manifests: string;
  /** Where a mode serves Services at places of its own: who asks, and where, in the place of what a test says. */
  route: (actor: Actor, question: Question) => readonly [Actor, Question] = (...same) => same;
  readonly #folder: string;
  readonly #namespaces: Namespaces;
  readonly #actors = new Map<Actor, NetworkActor>();
  readonly #sctpActors = new Map<Actor, NetworkActor>();
  readonly #env: Readonly<Record<string, string>>;
  readonly #serverName: ServerName;
  #probePort: number = probePorts.last;
  #lastAsked: string | undefined;
  #servesSctp: Promise<void> | undefined;

  private constructor(
    namespaces: Namespaces,
    folder: string,
    variant: 'legacy' | 'nft',
    serverName: ServerName,
  ) {
    this.#namespaces = namespaces;
    this.#folder = folder;
    this.#serverName = serverName;
    this.manifests = join(folder, 'manifests');
    this.#env = {
      PATH: [join(folder, variant), toolPath(process.env['PATH'])].join(delimiter),
      // The lab's own: nobody on this machine waits for the tests, nor they for anybody.
      XTABLES_LOCKFILE: join(folder, 'xtables.lock'),
    };
  }

  /** Builds the lab; plain `iptables` in it is of the given variant. `prefix` tells labs of one process apart. */
  static async create(
    variant: 'legacy' | 'nft',
    prefix = 'swylab',
    serverName: ServerName = (actor) => actor,
  ): Promise<NodeLab> {
    const namespaces = new Namespaces({ tools: systemTools, prefix });
    await namespaces.removeLeftovers();
    const lab = new NodeLab(namespaces, ownFolder('swylab'), variant, serverName);
    try {
      await mkdir(lab.manifests);
      await linkVariant(join(lab.#folder, variant), variant);
      await lab.#build();
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  async ask(actor: Actor, question: Question): Promise<Answer> {
    const [asker, asked] = this.route(actor, question);
    this.#lastAsked = asked.to;
    return this.#actorFor(asker, asked).ask(patient(asked));
  }

  /**
   * Asks what may not be programmed yet. A packet that meets no rules is tracked as one to the service
   * address itself, and for two minutes whoever uses its source port shares that fate; so probes have source ports
   * that no other request uses.
   */
  async probe(actor: Actor, question: Question): Promise<Answer> {
    return this.ask(actor, { ...question, fromPort: this.#ownPort() });
  }

  #ownPort(): number {
    const { first, last } = probePorts;
    this.#probePort = this.#probePort === last ? first : this.#probePort + 1;
    return this.#probePort;
  }

  /** Asks over and over; who answered how often (`refused` and `timeout` count likewise). */
  async tally(
    actor: Actor,
    question: Question,
    times: number,
    how: 'ask' | 'probe' = 'ask',
  ): Promise<Readonly<Record<string, number>>> {
    const one = async (): Promise<Answer> => this[how](actor, question);
    return countAnswers(await Promise.all(Array.from({ length: times }, one)));
  }

  /** What connection tracking knows of an address, by default the one that was asked last. */
  async tracked(address = this.#lastAsked): Promise<readonly string[]> {
    if (address === undefined) return [];
    const family = address.includes(':') ? 'ipv6' : 'ipv4';
    const text = await this.onNode('conntrack', '-L', '-f', family, '--orig-dst', address);
    return text.split('\n').filter((line) => line.includes('src='));
  }

  /**
   * A connection, or a UDP socket, with a source port that no other request uses: of two connections from one port through
   * two addresses of Services to one pod, the kernel's ipvs takes the answers for the later one's (docs/ipvs.md).
   */
  async open(actor: Actor, question: Question): Promise<LabConnection> {
    const [asker, asked] = this.route(actor, question);
    const { fromPort = this.#ownPort() } = asked;
    const connection = await this.#actorFor(asker, asked).open(patient({ ...asked, fromPort }));
    const again: HeldConnection['again'] = async (timeoutMs = usualTimeoutMs * patience) =>
      connection.again(timeoutMs);
    return { ...connection, again, fromPort };
  }

  /** A server beside those of the pods. */
  async serve(actor: Actor, server: ServerSpec): Promise<void> {
    await this.#actorFor(actor, server).serve(server);
  }

  /** The pods serve SCTP too, on the first of their ports; asked for again, they do already. */
  async serveSctp(): Promise<void> {
    this.#servesSctp ??= this.#startSctp();
    await this.#servesSctp;
  }

  async #startSctp(): Promise<void> {
    for (const pod of pods) {
      for (const address of [lab4[pod], lab6[pod]]) {
        const [port] = podPorts;
        const name = this.#serverName(pod, address, port);
        await this.serve(pod, { proto: 'sctp', address, port, name });
      }
    }
  }

  async get(actor: Actor, url: string): Promise<{ status: number; body: string }> {
    return this.#actor(actor).get(url, 1000 * patience);
  }

  /** Runs a program on the node, with the tools of the lab's variant. */
  async onNode(tool: string, ...args: readonly string[]): Promise<string> {
    return this.#namespaces.run('node', tool, args, { env: this.#env });
  }

  /** Runs a program on the node with lines on its standard input. */
  async feed(tool: string, args: readonly string[], lines: readonly string[]): Promise<string> {
    const input = `${lines.join('\n')}\n`;
    return this.#namespaces.run('node', tool, args, { env: this.#env, input });
  }

  /** Runs a command of Switchyard on the node to its end, whatever its exit status. */
  async command(...args: readonly string[]): Promise<CommandRun> {
    return this.tryOnNode(process.execPath, program, ...args);
  }

  /** Runs a program on the node to its end, whatever its exit status. */
  async tryOnNode(...command: readonly string[]): Promise<CommandRun> {
    const { exitCode, stdout, stderr } = await systemTools.run(
      'ip',
      ['netns', 'exec', this.namespace('node'), ...command],
      { timeoutMs: 60_000 * patience, signal: new AbortController().signal, env: this.#env },
    );
    return { status: exitCode, stdout, stderr };
  }

  /** A folder with a tool that says it cannot do anything. */
  async brokenTool(tool: string): Promise<string> {
    const folder = join(this.#folder, 'broken');
    await mkdir(folder, { recursive: true });
    const script = `#!/bin/sh\necho '${tool}: not here' >&2\nexit 1\n`;
    await writeFile(join(folder, tool), script, { mode: 0o755 });
    return folder;
  }

  /** A folder with tools that write down that they ran, and do their work. */
  async countedTools(): Promise<{
    readonly folder: string;
    /** Each run, by tool and arguments. */
    readonly runs: () => Promise<readonly string[]>;
  }> {
    const folder = join(this.#folder, 'counted');
    const record = join(folder, 'runs');
    await mkdir(folder, { recursive: true });
    const found = await this.onNode('sh', '-c', listTools);
    for (const path of found.trim().split('\n')) {
      const name = path.slice(path.lastIndexOf('/') + 1);
      const script = `#!/bin/sh\necho "${name} $*" >> ${record}\nexec ${path} "$@"\n`;
      await writeFile(join(folder, name), script, { mode: 0o755 });
    }
    const runs = async (): Promise<readonly string[]> =>
      (await readFile(record, 'utf8')).trim().split('\n');
    return { folder, runs };
  }

  /** Listens once, and answers the first bytes that come. */
  async firstBytes(actor: Actor, address: string, port: number): Promise<Buffer> {
    const hex = await this.#namespaces.run(actor, process.execPath, [
      '-e',
      `require('net').createServer((s) => s.once('data', (d) => { console.log(d.toString('hex')); process.exit(); })).listen(${port}, '${address}')`,
    ]);
    return Buffer.from(hex.trim(), 'hex');
  }

  /** Where an agent of the lab may keep what it changed. */
  get stateFile(): string {
    return join(this.#folder, 'run', 'node.json');
  }

  /** The value of a kernel setting of the node. */
  async setting(key: string): Promise<string> {
    return (await this.onNode('cat', `/proc/sys/${key}`)).trim();
  }

  /** Writes one manifest file, whole or not at all. Objects of one file change in one step. */
  async write(name: string, ...objects: readonly object[]): Promise<void> {
    const text = objects.map((object) => JSON.stringify(object)).join('\n---\n');
    const temporary = join(this.#folder, `${name}.new`);
    await writeFile(temporary, text);
    await rename(temporary, join(this.manifests, `${name}.yaml`));
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.manifests, `${name}.yaml`));
  }

  /** A folder of the lab's own, for what a test puts on the node. */
  get folder(): string {
    return this.#folder;
  }

  /** Starts the real agent on the node; tools in `toolFolder` come before all others. */
  startAgent(flags: readonly string[], toolFolder?: string): AgentProcess {
    const source = [`--source=file:${this.manifests}`, '--hostname-override=node-a'];
    return this.startClusterAgent([...source, ...flags], proxyCommand(), toolFolder);
  }

  /** Starts the real agent on the node with an API server as its source; tools likewise. */
  startClusterAgent(
    flags: readonly string[],
    command = proxyCommand(),
    toolFolder?: string,
  ): AgentProcess {
    const path = [toolFolder, this.#env['PATH']].filter((each) => each !== undefined);
    const env = { ...this.#env, PATH: path.join(delimiter) };
    return new AgentProcess(this.#namespaces, env, flags, command);
  }

  /** The node serves on its own addresses too, as a pod in the node's network would. */
  async serveOnNode(): Promise<void> {
    for (const address of [lab4.node, lab6.node]) await this.#serve('node', address);
  }

  /** Gives a pod one more address, on which it serves as on its first ones. */
  async lend(pod: Pod, address: string): Promise<void> {
    const [length, nodad] = address.includes(':') ? [128, ' nodad'] : [32, ''];
    await this.#namespaces.ip(pod, [`addr add ${address}/${length} dev eth0${nodad}`]);
    await this.#namespaces.ip('node', [`route replace ${address}/${length} dev ${pod}`]);
    await this.#serve(pod, address);
  }

  /** The name of an actor's network namespace, for what else has to run there. */
  namespace(actor: Actor): string {
    return this.#namespaces.name(actor);
  }

  async close(): Promise<void> {
    try {
      await this.#namespaces.close();
    } finally {
      await rm(this.#folder, { recursive: true, force: true });
    }
  }

  async #build(): Promise<void> {
    const gateways = [`${lab4.podGateway}/32`, `${lab6.podGateway}/128`];
    const outside = [`${lab4.node}/32`, `${lab6.node}/128`];
    const addresses = (role: Actor): string[] => [`${lab4[role]}/32`, `${lab6[role]}/128`];
    await buildNode(
      this.#namespaces,
      [
        {
          role: 'client',
          addresses: addresses('client'),
          node: outside,
          anyIp: [manyClients],
          routes: [{ prefix: manyClients, via: lab4.client }],
        },
        ...pods.map((role) => ({ role, addresses: addresses(role), node: gateways })),
      ],
      [lab4.client, lab6.client],
    );
    for (const role of actors) this.#actors.set(role, new NetworkActor(this.#namespaces, role));
    for (const pod of pods) {
      await this.#serve(pod, lab4[pod]);
      await this.#serve(pod, lab6[pod]);
    }
  }

  async #serve(actor: Actor, address: string): Promise<void> {
    for (const port of podPorts) {
      const name = this.#serverName(actor, address, port);
      for (const proto of ['tcp', 'udp'] as const) {
        await this.#actor(actor).serve({ port, name, proto, address });
      }
    }
  }

  /** Who speaks the protocol for an actor; those who speak SCTP start when they are first needed. */
  #actorFor(actor: Actor, { proto }: Pick<Question, 'proto'>): NetworkActor {
    if (proto !== 'sctp') return this.#actor(actor);
    const found =
      this.#sctpActors.get(actor) ?? new NetworkActor(this.#namespaces, actor, sctpProgram);
    this.#sctpActors.set(actor, found);
    return found;
  }

  #actor(actor: Actor): NetworkActor {
    const found = this.#actors.get(actor);
    if (found === undefined) throw new Error(`no actor ${actor}`);
    return found;
  }
}

/** A question with the time that a slow machine needs. */
function patient(question: Question): Question {
  return { ...question, timeoutMs: (question.timeoutMs ?? usualTimeoutMs) * patience };
}

/** Who answered how often, sorted by name. */
export function countAnswers(answers: readonly Answer[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const answer of answers) {
    const key = typeof answer === 'string' ? answer : answer.answeredBy;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(counts).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Polls until `check` holds, less and less often; fails with what it last saw. */
export async function eventually<T>(
  look: () => Promise<T>,
  check: (seen: T) => boolean,
  deadlineMs = 15_000,
): Promise<T> {
  const end = Date.now() + deadlineMs * deadlinePatience;
  for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 1.5, longestPauseMs)) {
    const seen = await look();
    if (check(seen)) return seen;
    if (Date.now() > end) {
      throw new Error(
        `not within ${deadlineMs * deadlinePatience} ms; last seen: ${JSON.stringify(seen)}`,
      );
    }
    await delay(pauseMs);
  }
}

/** A folder where the plain names are tools of one variant: the multi-call binaries go by their name. */
async function linkVariant(folder: string, variant: 'legacy' | 'nft'): Promise<void> {
  await mkdir(folder);
  const { stdout } = await systemTools.run('sh', ['-c', `command -v iptables-${variant}`], {
    timeoutMs: 5000,
    signal: new AbortController().signal,
  });
  const binary = await realpath(stdout.trim());
  for (const base of ['iptables', 'ip6tables']) {
    for (const suffix of ['', '-save', '-restore']) {
      await symlink(binary, join(folder, `${base}${suffix}`));
    }
  }
}
