import { nodeObject, service, slices } from '../kernel/contract-objects.ts';
import type { AgentProcess } from './agent-process.ts';
import { FaultyTools } from './faulty-tools.ts';
import { eventually } from './node-lab.ts';
import type { NodeLab } from './node-lab.ts';
import { nodeRules, restingRules } from './node-rules.ts';
import { RequestStream } from './request-stream.ts';
import { SteadyTraffic } from './steady-traffic.ts';

/** Flags of an agent that is to be killed: changes follow each other without a pause. */
export const crashFlags = [
  '--cluster-cidr=10.244.0.0/16',
  '--conntrack-max-per-core=0',
  '--iptables-min-sync-period=10ms',
] as const;

const web = { to: '10.96.0.10', port: 80 };
const moving = { to: '10.96.0.11', port: 80, proto: 'udp' } as const;
const patienceMs = 40_000;

/** What stays: the node, and a Service that nothing is done to. */
export const lasting = [
  nodeObject(),
  service('web', { host: 10 }),
  ...slices('web', ['pod-a']),
] as const;

/** The two sets of objects the tests go to and fro between: every kind of step lies on the way. */
export const worlds = {
  one: [
    service('moving', { host: 11 }),
    ...slices('moving', ['pod-a']),
    service('going', { host: 12, affinitySeconds: 600 }),
    ...slices('going', ['pod-a', 'pod-b']),
  ],
  two: [
    service('moving', { host: 11 }),
    ...slices('moving', ['pod-b']),
    service('coming', { host: 13, affinitySeconds: 600 }),
    ...slices('coming', ['pod-a', 'pod-b']),
  ],
} as const;
export type World = keyof typeof worlds;
const other = { one: 'two', two: 'one' } as const;
/** Of each world: who answers `moving`, and the address that it alone has. */
const movesTo = { one: 'pod-a', two: 'pod-b' } as const;
const ownAddress = { one: '10.96.0.12/32', two: '10.96.0.13/32' } as const;

/** Steps that change the kernel, in the words of a recording. */
export const changeWords = ['make sets', 'write rules', 'delete chains', 'destroy sets', '-D'];
/** Those, and steps that only read. */
const known = new RegExp(
  `: (?:probe|${changeWords.join('|')}|-L |list -terse|--version|-w 5 (?:-t nat )?-S )|-save: `,
);
const startWords = ['probe', 'make sets', 'write rules'];

/** The objects of an agent that is to be killed, wherever they are. */
export interface CrashObjects {
  /** Makes the objects those of a world, beside the {@link lasting} ones. */
  write(world: World): Promise<void>;
  /** Starts an agent that follows them, with {@link crashFlags}; tools in the folder come before all others. */
  startAgent(toolFolder: string): AgentProcess;
}

/** The steps of an agent that was left alone, each kind once: of its start, and of a change. */
export interface RecordedSteps {
  readonly start: readonly string[];
  readonly change: readonly string[];
}

/**
 * A node with an agent that can be killed at any step of a sync. A step is a run of a tool. What is not tried, because it
 * is the same: a kill after a step leaves the kernel as one before the next step that writes; several steps of a kind
 * (the probes of a start) leave the same kind of thing, so the first of each kind is tried; IPv6 is left out, because
 * both families run the same code.
 */
export class CrashLab {
  readonly lab: NodeLab;
  readonly tools: FaultyTools;
  /** Of the agent that was never killed. */
  readonly rules = { one: '', two: '' };
  readonly #objects: CrashObjects;
  #agent: AgentProcess | undefined;
  #world: World = 'one';

  private constructor(lab: NodeLab, tools: FaultyTools, objects: CrashObjects) {
    this.lab = lab;
    this.tools = tools;
    this.#objects = objects;
  }

  static async install(lab: NodeLab, objects: CrashObjects): Promise<CrashLab> {
    return new CrashLab(lab, await FaultyTools.install(lab, { ipv4Only: true }), objects);
  }

  get agent(): AgentProcess {
    if (this.#agent === undefined) throw new Error('no agent was started');
    return this.#agent;
  }

  start(): AgentProcess {
    return (this.#agent = this.#objects.startAgent(this.tools.folder));
  }

  /** Makes the objects those of a world. */
  async write(world: World): Promise<void> {
    this.#world = world;
    await this.#objects.write(world);
  }

  /** Somebody talks to the pod that will go: its stale entry makes a step of the change. */
  async talk(): Promise<void> {
    await this.lab.ask('client', moving);
  }

  /** Starts an agent and lets it go to world two and back: its steps, and its rules in both. An unknown step fails. */
  async record(): Promise<RecordedSteps> {
    await this.write('one');
    this.start();
    await inForce(this.lab, 'one');
    const start = await this.#stepsUntilAll(['probe', 'make sets', 'write rules', '-L']);
    const change: string[] = [];
    for (const world of ['two', 'one'] as const) {
      await this.talk();
      await this.write(world);
      change.push(...(await this.#stepsUntilAll(changeWords)));
      await inForce(this.lab, world);
      this.rules[world] = await restingRules(this.lab);
    }
    const others = [...start, ...change].filter((step) => !known.test(step));
    if (others.length > 0)
      throw new Error(`steps that the tests do not know: ${others.join('; ')}`);
    return { start: kinds(start, startWords), change: kinds(change, changeWords) };
  }

  /** Kills the agent before each of the steps of a change and after the last. */
  async crashWhileChanging(steps: readonly string[]): Promise<void> {
    for (const [step, when] of cases(steps)) {
      await inForce(this.lab, this.#world);
      await this.talk();
      const next = other[this.#world];
      await this.crash(step, when, next, async () => this.write(next));
    }
  }

  /** Kills agents before each of the steps of their start and after the last, over earlier rules and with changes to make. */
  async crashWhileStarting(steps: readonly string[]): Promise<void> {
    for (const [step, when] of cases(steps)) {
      await this.talk();
      await this.write(other[this.#world]);
      await this.crash(step, when, this.#world, () => this.start());
      await this.agent.stop();
    }
  }

  /**
   * Kills the agent at the step; then a new one puts things right. Meanwhile a Service that nothing is done to and one
   * whose pods change places are asked.
   */
  async crash(
    step: string,
    when: 'before' | 'after',
    world: World,
    provoke: () => unknown,
  ): Promise<void> {
    const what = `killed ${when} "${step}" on the way to ${world}`;
    await this.tools.meet(step, { [when]: 'kill -9 $agent; exit 1' }, { once: true });
    const asked = (['tcp', 'udp'] as const).map((proto) => ({ ...web, proto }));
    const steady = new SteadyTraffic(
      this.lab,
      asked.map((question) => ({ actor: 'client', question })),
      { pauseMs: 5 },
    );
    const passing = new RequestStream(this.lab, 'client', [{ ...moving, proto: 'tcp' }], 1, 5);
    let went: { web: string; failures: readonly string[]; moving: readonly string[] };
    try {
      await provoke();
      await eventually(async () => this.tools.acted(), Boolean, patienceMs);
      await this.agent.ended();
      await written(this.start());
      await this.expectRules(world, what);
    } finally {
      const { failures, by } = await steady.stop();
      const others = Object.keys(await passing.stop()).filter((who) => !who.startsWith('pod-'));
      went = { web: by.join(), failures, moving: others };
    }
    if (went.web !== 'pod-a' || went.failures.length + went.moving.length > 0) {
      throw new Error(`${what}: requests went wrong: ${JSON.stringify(went)}`);
    }
  }

  /** The rules are, or soon will be, those of an agent that was never killed. */
  async expectRules(world: World, what: string): Promise<void> {
    const seen = async () => difference(this.rules[world], await nodeRules(this.lab));
    try {
      await eventually(seen, (lines) => lines.length === 0, patienceMs);
    } catch (error) {
      throw new Error(`${what}; the next agent: ${this.agent.log}`, { cause: error });
    }
  }

  async #stepsUntilAll(words: readonly string[]): Promise<readonly string[]> {
    const steps: string[] = [];
    await eventually(
      async () => {
        steps.push(...(await this.tools.taken()));
        return words.filter((word) => !steps.some((step) => step.includes(`: ${word}`)));
      },
      (missing) => missing.length === 0,
      patienceMs,
    );
    return steps;
  }
}

/** Waits until packets meet what is of a world, and there are rules for that alone. */
export async function inForce(lab: NodeLab, world: World): Promise<void> {
  await eventually(
    async () => lab.probe('client', { ...moving, timeoutMs: 300 }),
    (seen) => typeof seen !== 'string' && seen.answeredBy === movesTo[world],
    patienceMs,
  );
  await eventually(
    async () => nodeRules(lab),
    (rules) => rules.includes(ownAddress[world]) && !rules.includes(ownAddress[other[world]]),
    patienceMs,
  );
}

/** Waits for the first sync of an agent, in each of its families. */
export async function written(agent: AgentProcess, families = 1): Promise<void> {
  await eventually(
    async () => agent.log,
    (log) => log.split('"first rules written"').length > families,
    patienceMs,
  );
}

/** Takes every rule and set from the node. */
export async function clean(lab: NodeLab): Promise<void> {
  const tables = 'for t in filter nat mangle; do $tool -t $t -F; $tool -t $t -X; done';
  const both = `for tool in iptables ip6tables; do ${tables}; done`;
  await lab.onNode('sh', '-c', `${both}; ipset destroy`);
}

/** A kill after a step is one before the next: nothing that writes lies between them. */
export function cases(
  steps: readonly string[],
): readonly (readonly [string, 'before' | 'after'])[] {
  const last = steps.slice(-1).map((step) => [step, 'after'] as const);
  return [...steps.map((step) => [step, 'before'] as const), ...last];
}

/** What a step is for. */
export function wordsOf(step: string): string {
  return step.replace(/^.*?: /, '');
}

/** Each kind of step, once, in the order of the words. */
function kinds(steps: readonly string[], words: readonly string[]): readonly string[] {
  const short = new Set(steps.map((step) => step.replace(/: -D .*/, ': -D')));
  return words.flatMap((word) => [...short].filter((step) => wordsOf(step) === word));
}

function difference(wanted: string, found: string): readonly string[] {
  if (wanted === found) return [];
  const [want, have] = [wanted.split('\n'), found.split('\n')];
  return [
    ...want.filter((line) => !have.includes(line)).map((line) => `lacks ${line}`),
    ...have.filter((line) => !want.includes(line)).map((line) => `holds ${line}`),
    `${have.length} lines, wanted ${want.length}`,
  ];
}
