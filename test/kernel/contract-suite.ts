/* oxlint-disable vitest/no-standalone-expect, vitest/valid-title, vitest/no-disabled-tests, vitest/no-conditional-tests -- tests are declared once for each backend */
import { expect, test } from 'vitest';
import type { DeviationId as IpvsDeviation } from '../../src/backends/ipvs/deviations.ts';
import type { DeviationId as UserspaceDeviation } from '../../src/backends/userspace/deviations.ts';
import type { Answer, Question } from '../../src/cli/demo/actor.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab, eventually, isSlow, manyRequests, sctpBlocked } from '../support/node-lab.ts';
import type { Actor } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';
import type { PodName, ServiceOptions } from './contract-objects.ts';

type DeviationId = IpvsDeviation | UserspaceDeviation;

/** A test of the suite, by the words in its title's brackets. */
export type ContractTest =
  | 'cluster-ip'
  | 'node-port'
  | 'external'
  | 'load-balancer'
  | 'hairpin'
  | 'affinity'
  | 'affinity-expiry'
  | 'affinity-300'
  | 'policies'
  | 'source-ranges'
  | 'no-endpoints'
  | 'tide'
  | 'reshaping'
  | 'udp-change'
  | 'dual-stack'
  | 'masquerade'
  | 'long-connections'
  | 'restart'
  | 'foreign-flush'
  | 'forward-drop'
  | 'shared-prefix'
  | 'node-port-off'
  | 'sctp';

/** Tests that a mode leaves out. */
export interface ContractException {
  readonly reason: string;
  /** What it follows from, where this mode means something else on purpose. */
  readonly deviation?: DeviationId;
  readonly tests: readonly ContractTest[];
}

/** One implementation under test. */
export interface BackendContract {
  /** As the report shows it: `iptables, legacy tools`. */
  readonly name: string;
  /** Which tools are plain `iptables` in the lab. */
  readonly variant: 'legacy' | 'nft';
  /** Starts the agent in this mode on the lab's manifests; the flags are those of the suite. */
  readonly start: (lab: NodeLab, flags: readonly string[]) => AgentProcess;
  /** Ways a stranger may destroy or outwit the rules; each has to be noticed and repaired. */
  readonly disturbances: readonly {
    readonly name: string;
    readonly run: (lab: NodeLab) => Promise<void>;
  }[];
  /** Where this mode means something else, on purpose: what is asked stays, what is expected differs. */
  readonly deviations: ReadonlySet<DeviationId>;
  /** What does not apply to this mode, each with the reason. */
  readonly skip: readonly ContractException[];
  /** Where the rest is proven elsewhere: the tests to run, and the reason. */
  readonly only?: { readonly reason: string; readonly tests: readonly ContractTest[] };
}

/** The flag by which the agent tells pods, unless a test says otherwise. */
export const clusterCidr = '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48';

const flags = [
  // Each look at what a stranger may have changed runs half a dozen programs: seldom, until a test is about it.
  `--iptables-sync-period=${isSlow ? 30 : 1}s`,
  '--iptables-min-sync-period=10ms',
  '--conntrack-max-per-core=0',
];

/** Settings of an agent that soon notices what a stranger changes. */
export const watchful = [clusterCidr, `--iptables-sync-period=${isSlow ? 4 : 1}s`] as const;

/** The port of the suite's services, and that of the pods behind it. */
export const http = { port: 80, target: 8080 } as const;

/** The lab with a running agent, and how the tests of this suite are declared. */
export class Suite {
  readonly #contract: BackendContract;
  readonly #lent: (() => NodeLab) | undefined;
  #lab: NodeLab | undefined;
  #agent: AgentProcess | undefined;

  /** `lent`: the lab of somebody else, who closes it. */
  constructor(contract: BackendContract, lent?: () => NodeLab) {
    this.#lent = lent;
    const blocked = sctpBlocked();
    const skip = blocked === undefined ? [] : [{ reason: blocked, tests: ['sctp'] as const }];
    this.#contract = { ...contract, skip: [...contract.skip, ...skip] };
  }

  get lab(): NodeLab {
    if (this.#lab === undefined) throw new Error('the lab is not open');
    return this.#lab;
  }

  get disturbances(): BackendContract['disturbances'] {
    return this.#contract.disturbances;
  }

  /** Whether this mode deviates so. */
  deviates(id: DeviationId): boolean {
    return this.#contract.deviations.has(id);
  }

  /** Declares a test; one that the contract leaves out shows its reason instead. */
  test(id: ContractTest, title: string, body: () => Promise<void>): void {
    const { skip, only } = this.#contract;
    const left = only !== undefined && !only.tests.includes(id) ? only : undefined;
    const skipped = skip.find(({ tests }) => tests.includes(id)) ?? left;
    if (skipped) test.skip(`[${id}] ${title}: ${skipped.reason}`);
    else test(`[${id}] ${title}`, body);
  }

  async open(): Promise<void> {
    this.#lab = this.#lent?.() ?? (await NodeLab.create(this.#contract.variant));
    await this.lab.write('node', nodeObject());
    await this.publish('ready', { host: 250 });
    this.start();
    await this.answers('client', { to: '10.96.0.250', port: 80 });
    await this.answers('client', { to: 'fd00:10:96::250', port: 80 });
  }

  start(settings: readonly string[] = [clusterCidr]): void {
    this.#agent = this.#contract.start(this.lab, [...flags, ...settings]);
  }

  /** Stops the agent as a node's shutdown would; the rules stay. */
  async stop(): Promise<void> {
    await this.#agent?.stop();
    this.#agent = undefined;
  }

  async restart(settings?: readonly string[]): Promise<void> {
    await this.stop();
    this.start(settings);
  }

  async close(): Promise<void> {
    await this.stop();
    if (this.#lent === undefined) await this.#lab?.close();
  }

  /** Writes a service with its slices; the caller waits for the effect. */
  async publish(
    name: string,
    options: ServiceOptions & { readonly pods?: readonly PodName[] },
  ): Promise<void> {
    const pods = options.pods ?? ['pod-a'];
    const served = slices(name, pods, undefined, options.protocols);
    await this.lab.write(name, service(name, options), ...served);
  }

  /** Waits until somebody answers. */
  async answers(actor: Actor, question: Question): Promise<Exclude<Answer, string>> {
    const answer = await eventually(
      // What is not programmed yet gets no answer at all: better asked again soon.
      async () => this.lab.probe(actor, { timeoutMs: 100, ...question }),
      (seen) => typeof seen !== 'string',
    );
    if (typeof answer === 'string') throw new Error(`no answer: ${answer}`);
    return answer;
  }

  /** Waits until a request ends in this way. */
  async ends(actor: Actor, question: Question, how: string): Promise<void> {
    const look = async (): Promise<Answer> =>
      this.lab.probe(actor, { timeoutMs: 300, ...question });
    expect(await eventually(look, (seen) => seen === how)).toBe(how);
  }

  /** Waits until exactly these pods answer, and nobody else within many requests. */
  async answeredBy(actor: Actor, question: Question, pods: readonly string[]): Promise<void> {
    await this.answers(actor, question);
    const look = async (): Promise<readonly string[]> =>
      Object.keys(
        await this.lab.tally(actor, { timeoutMs: 500, ...question }, manyRequests, 'probe'),
      );
    const wanted = pods.toSorted();
    const seen = await eventually(look, (names) => names.join() === wanted.join());
    expect(seen).toEqual(wanted);
  }

  /** For the report of a failed test: what the agent said, and what is tracked of the address asked last. */
  async report(): Promise<string> {
    const said = this.#agent?.log.slice(-4000) ?? 'no agent runs';
    const tracked = await this.lab.tracked();
    const unanswered = tracked.filter((line) => line.includes('[UNREPLIED]')).slice(0, 20);
    return `the agent said:\n${said}\ntracked without an answer:\n${unanswered.join('\n')}\n`;
  }
}
