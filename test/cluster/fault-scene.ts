import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { proxyCommand } from '../support/agent-process.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { eventually, lab4, NodeLab } from '../support/node-lab.ts';
import { RequestStream } from '../support/request-stream.ts';
import { tokens } from './control-plane.ts';
import type { ControlPlane } from './control-plane.ts';
import { planeFor } from './lab-plane.ts';
import { FaultRelay } from './fault-relay.ts';
import type { RelayedRequest, RelayFault } from './fault-relay.ts';

const services = '/api/v1/namespaces/default/services';
const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';
/** What an agent watches. */
export const kinds = ['endpointslices', 'nodes', 'servicecidrs', 'services'] as const;
/** More than a page holds. */
const bulkCount = 520;
/** What the API server takes at once. */
const atATime = 16;
/** An agent that failed a few times within seconds waits up to 30 s before it asks again, and perhaps once more. */
const caughtUpWithinMs = 75_000;

type Pod = 'pod-a' | 'pod-b' | 'pod-c' | 'remote';

/** What was changed while something was wrong, and has to be seen after. */
export interface Change {
  /** Where `canary` leads now. */
  readonly pod: Pod;
  /** Address of a Service that was deleted. */
  readonly deleted: string;
  /** Address of a Service that was made. */
  readonly made: string;
}

/** An agent's view of the API server through a relay, with Services that are asked all the while. */
export class FaultScene {
  readonly lab: NodeLab;
  readonly plane: ControlPlane;
  readonly relay: FaultRelay;
  readonly #tokenFile: string;
  readonly #addresses = new Map<string, string>();
  readonly #streams: RequestStream[] = [];
  #agent: AgentProcess | undefined;
  #changes = 0;

  private constructor(lab: NodeLab, plane: ControlPlane, relay: FaultRelay) {
    this.lab = lab;
    this.plane = plane;
    this.relay = relay;
    this.#tokenFile = join(plane.folder, 'proxy.token');
    this.writeToken(tokens.proxy);
  }

  static async build(): Promise<FaultScene> {
    const lab = await NodeLab.create('legacy');
    const plane = planeFor(lab);
    try {
      await plane.start();
      const scene = new FaultScene(lab, plane, await FaultRelay.start(plane));
      await scene.#fill();
      return scene;
    } catch (error) {
      await plane.stop();
      await lab.close();
      throw error;
    }
  }

  get agent(): AgentProcess {
    if (this.#agent === undefined) throw new Error('no agent was started');
    return this.#agent;
  }

  /** Starts the bundle (or a program instead of it) and waits until it watches and all its rules are there. */
  async startAgent(program?: string): Promise<void> {
    const bundle = join(this.plane.folder, 'switchyard.mjs');
    if (program === undefined) execFileSync(process.execPath, ['scripts/build.ts', bundle]);
    const command =
      program === undefined
        ? proxyCommand(bundle)
        : [process.execPath, program, '--oom-score-adj=0'];
    await this.relay.forget();
    this.#agent = this.lab.startClusterAgent(
      [
        `--kubeconfig=${this.plane.kubeconfig({ port: FaultRelay.port, tokenFile: this.#tokenFile })}`,
        '--hostname-override=node-a',
        '--cluster-cidr=10.244.0.0/16',
        '--conntrack-max-per-core=0',
        '--conntrack-tcp-timeout-established=0s',
        '--conntrack-tcp-timeout-close-wait=0s',
      ],
      command,
    );
    await this.relaySaw((requests) => requests.at(-1)?.verb === 'watch');
    await this.#rulesHold((rules) => [...this.#addresses.values()].every((ip) => has(rules, ip)));
  }

  /** Begins to ask `web-a` and `web-b`, by TCP and UDP, without an end. */
  startAsking(): void {
    for (const [name, proto] of [
      ['web-a', 'tcp'],
      ['web-b', 'tcp'],
      ['web-b', 'udp'],
    ] as const) {
      const question = { to: this.address(name), port: 80, proto };
      this.#streams.push(new RequestStream(this.lab, 'client', [question], 1, 20));
    }
  }

  /** Ends the questions; who answered each of them: one pod, and nobody else ever. */
  async answeredBy(): Promise<readonly (readonly string[])[]> {
    const streams = this.#streams.splice(0);
    return Promise.all(streams.map(async (stream) => Object.keys(await stream.stop())));
  }

  /** Changes, makes and deletes something, past the relay. */
  async change(): Promise<Change> {
    const count = ++this.#changes;
    const pod = count % 2 === 0 ? 'pod-c' : 'remote';
    await this.plane.must('PUT', `${slices}/canary`, slice('canary', lab4[pod]));
    const old = `bulk-${count}`;
    const deleted = this.address(old);
    await this.plane.must('DELETE', `${services}/${old}`);
    await this.plane.must('DELETE', `${slices}/${old}`);
    this.#addresses.delete(old);
    await this.#make(`made-${count}`, lab4['pod-a']);
    return { pod, deleted, made: this.address(`made-${count}`) };
  }

  /** Waits until the node does what was changed: packets for what changed, rules for what came and went. */
  async caughtUp({ pod, deleted, made }: Change): Promise<void> {
    await this.#rulesHold((rules) => has(rules, made) && !has(rules, deleted));
    const to = this.address('canary');
    await eventually(
      async () => this.lab.probe('client', { to, port: 80, timeoutMs: 500 }),
      (answer) => typeof answer !== 'string' && answer.answeredBy === pod,
      30_000,
    );
  }

  /** Waits until something holds of each kind's requests since the relay last forgot them. */
  async relaySaw(check: (requests: readonly RelayedRequest[]) => boolean): Promise<void> {
    const holds = (all: readonly RelayedRequest[]): boolean =>
      kinds.every((kind) => check(all.filter(({ resource }) => resource === kind)));
    await eventually(async () => this.relay.seen(), holds, 40_000);
  }

  /** Cuts all connections under some faults, from now on counted. */
  async strike(...faults: readonly RelayFault[]): Promise<void> {
    await this.relay.cut(faults, { forget: true });
  }

  /** Requests of a verb since the relay last forgot them, by kind; those that were answered, or all. */
  async count(
    verb: RelayedRequest['verb'],
    which: 'answered' | 'all' = 'all',
  ): Promise<Readonly<Record<string, number>>> {
    const requests = (await this.relay.seen()).filter(
      (request) => request.verb === verb && (which === 'all' || request.status === 200),
    );
    const counts = Object.groupBy(requests, ({ resource }) => resource);
    return Object.fromEntries(kinds.map((kind) => [kind, counts[kind]?.length ?? 0]));
  }

  writeToken(token: string): void {
    writeFileSync(this.#tokenFile, `${token}\n`, { mode: 0o600 });
  }

  address(name: string): string {
    const address = this.#addresses.get(name);
    if (address === undefined) throw new Error(`no Service ${name}`);
    return address;
  }

  /** While `work` runs packets of the agent to the relay vanish, old connections' and new ones'. */
  async losingPackets<R>(work: () => Promise<R>): Promise<R> {
    const rule = ['INPUT', '-p', 'tcp', '--dport', String(FaultRelay.port), '-j', 'DROP'];
    const change = (how: string): void => {
      execFileSync('ip', ['netns', 'exec', this.plane.namespace, 'iptables', how, ...rule]);
    };
    change('-A');
    try {
      return await work();
    } finally {
      change('-D');
    }
  }

  /** What the agent holds of the machine. */
  holdings(): { readonly residentMiB: number; readonly sockets: number } {
    const folder = `/proc/${this.agent.pid}`;
    const [, kib = ''] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`${folder}/status`, 'utf8')) ?? [];
    const open = readdirSync(`${folder}/fd`).map((fd) => linkOf(`${folder}/fd/${fd}`));
    const sockets = open.filter((target) => target.startsWith('socket:')).length;
    return { residentMiB: Number(kib) / 1024, sockets };
  }

  async stop(): Promise<void> {
    await this.answeredBy();
    await this.#agent?.stop();
    await this.relay.stop();
    await this.plane.stop();
    await this.lab.close();
  }

  async #fill(): Promise<void> {
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-a' } };
    await this.plane.must('POST', '/api/v1/nodes', node);
    const status = { status: { addresses: [{ type: 'InternalIP', address: lab4.node }] } };
    const type = 'application/merge-patch+json';
    await this.plane.must('PATCH', '/api/v1/nodes/node-a/status', status, type);
    await this.#make('web-a', lab4['pod-a']);
    await this.#make('web-b', lab4['pod-b']);
    await this.#make('canary', lab4['pod-c']);
    const names = Array.from({ length: bulkCount }, (_, index) => `bulk-${index}`).values();
    const worker = async (): Promise<void> => {
      for (const name of names) await this.#make(name, lab4['pod-a']);
    };
    await Promise.all(Array.from({ length: atATime }, worker));
  }

  async #make(name: string, address: string): Promise<void> {
    const made = (await this.plane.must('POST', services, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec: {
        ports: ['TCP', 'UDP'].map((protocol) => ({
          name: protocol.toLowerCase(),
          protocol,
          port: 80,
          targetPort: 8080,
        })),
      },
    })) as { readonly spec: { readonly clusterIP: string } };
    await this.plane.must('POST', slices, slice(name, address));
    this.#addresses.set(name, made.spec.clusterIP);
  }

  async #rulesHold(check: (rules: string) => boolean): Promise<void> {
    const rules = async (): Promise<string> => this.lab.onNode('iptables-save', '-t', 'nat');
    await eventually(
      async () => check(await rules()),
      (holds) => holds,
      caughtUpWithinMs,
    );
  }
}

function slice(name: string, address: string): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: ['TCP', 'UDP'].map((protocol) => ({
      name: protocol.toLowerCase(),
      protocol,
      port: 8080,
    })),
    endpoints: [{ addresses: [address], nodeName: 'node-a', conditions: { ready: true } }],
  };
}

/** Whether rules speak of an address. */
function has(rules: string, address: string): boolean {
  return rules.includes(` ${address}/32 `);
}

/** A descriptor may be closed between the listing and the look. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
