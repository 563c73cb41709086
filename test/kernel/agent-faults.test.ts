import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AgentProcess } from '../support/agent-process.ts';
import { FaultyTools } from '../support/faulty-tools.ts';
import { NodeLab, eventually } from '../support/node-lab.ts';
import { nodeRules } from '../support/node-rules.ts';
import { RequestStream } from '../support/request-stream.ts';
import { nodeObject, service, slices } from './contract-objects.ts';

/**
 * The one job: an agent that is killed (-9) at any step of a sync leaves nothing that the next agent does not put
 * right, and costs no request to a service that did not change.
 *
 * A step is a run of a tool. Steps are recorded from an agent that is left alone; one of an unknown kind fails. What is not
 * tried, because it is the same: a kill after a step leaves the kernel as one before the next step that writes; several
 * steps of a kind (the probes of a start) leave the same kind of thing, so the first of each kind is tried; IPv6 is
 * left out, because both families run the same code; changes are tried with the legacy tools and starts with the nft
 * ones, because the steps are the same.
 */

const able = process.platform === 'linux' && process.getuid?.() === 0;
const flags = [
  '--cluster-cidr=10.244.0.0/16',
  '--conntrack-max-per-core=0',
  '--iptables-min-sync-period=10ms',
];
const web = { to: '10.96.0.10', port: 80 };
const moving = { to: '10.96.0.11', port: 80, proto: 'udp' } as const;

/** The two sets of objects the tests go to and fro between: every kind of step lies on the way. */
const worlds = {
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
type World = keyof typeof worlds;
const other = { one: 'two', two: 'one' } as const;
const movesTo = { one: 'pod-a', two: 'pod-b' } as const;

/** Steps that change the kernel, in the words of a recording. */
const changeWords = ['make sets', 'write rules', 'delete chains', 'destroy sets', '-D'];
/** Those, and steps that only read. */
const known = new RegExp(
  `: (?:probe|${changeWords.join('|')}|-L |list -terse|--version|-w 5 (?:-t nat )?-S )|-save: `,
);
const startWords = ['probe', 'make sets', 'write rules'];

/** A node with an agent that can be killed at any step. */
class CrashLab {
  readonly lab: NodeLab;
  readonly tools: FaultyTools;
  /** Of the agent that was never killed. */
  readonly rules = { one: '', two: '' };
  #agent: AgentProcess | undefined;

  private constructor(lab: NodeLab, tools: FaultyTools) {
    this.lab = lab;
    this.tools = tools;
  }

  static async create(variant: 'legacy' | 'nft'): Promise<CrashLab> {
    const lab = await NodeLab.create(variant);
    await lab.write('node', nodeObject());
    await lab.write('web', service('web', { host: 10 }), ...slices('web', ['pod-a']));
    return new CrashLab(lab, await FaultyTools.install(lab, { ipv4Only: true }));
  }

  get agent(): AgentProcess {
    if (this.#agent === undefined) throw new Error('no agent was started');
    return this.#agent;
  }

  start(): AgentProcess {
    return (this.#agent = this.lab.startAgent(flags, this.tools.folder));
  }

  async write(world: World): Promise<void> {
    await this.lab.write('world', ...worlds[world]);
  }

  /** Somebody talks to the pod that will go: its stale entry makes a step of the change. */
  async talk(): Promise<void> {
    await this.lab.ask('client', moving);
  }

  /** Waits until packets meet what the agent was to write. */
  async settled(world: World): Promise<void> {
    await eventually(
      async () => this.lab.probe('client', { ...moving, timeoutMs: 300 }),
      (seen) => typeof seen !== 'string' && seen.answeredBy === movesTo[world],
      40_000,
    );
  }

  /** The rules of an agent that was never killed, and the steps of its start and its change. */
  async record(): Promise<{
    readonly start: readonly string[];
    readonly change: readonly string[];
  }> {
    await this.write('one');
    this.start();
    await this.settled('one');
    const start = await this.#stepsUntilAll(['probe', 'make sets', 'write rules', '-L']);
    this.rules.one = await nodeRules(this.lab);
    await this.talk();
    await this.write('two');
    const change = await this.#stepsUntilAll(changeWords);
    this.rules.two = await nodeRules(this.lab);
    const others = [...start, ...change].filter((step) => !known.test(step));
    expect(others, 'steps that the tests do not know').toEqual([]);
    return { start: kinds(start, startWords), change: kinds(change, changeWords) };
  }

  /** Kills the agent at the step, while requests to another service go on; then a new one puts things right. */
  async crash(
    step: string,
    when: 'before' | 'after',
    world: World,
    provoke: () => unknown,
  ): Promise<void> {
    const what = `killed ${when} "${step}" on the way to ${world}`;
    await this.tools.meet(step, { [when]: 'kill -9 $agent; exit 1' }, { once: true });
    const requests = new RequestStream(this.lab, 'client', [web, { ...web, proto: 'udp' }], 1);
    let answers: Readonly<Record<string, number>> = {};
    try {
      await provoke();
      await eventually(async () => this.tools.acted(), Boolean, 40_000);
      await this.agent.ended();
      await written(this.start());
      await this.expectRules(world, what);
    } finally {
      answers = await requests.stop();
    }
    expect(Object.keys(answers), what).toEqual(['pod-a']);
  }

  /** The rules are, or soon will be, those of an agent that was never killed. */
  async expectRules(world: World, what: string): Promise<void> {
    const seen = async () => difference(this.rules[world], await nodeRules(this.lab));
    try {
      await eventually(seen, (lines) => lines.length === 0, 40_000);
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
      40_000,
    );
    return steps;
  }
}

describe.skipIf(!able)('an agent that is killed at a step of a change (needs root)', () => {
  let node: CrashLab;
  let steps: readonly string[] = [];

  beforeAll(async () => {
    node = await CrashLab.create('legacy');
    ({ change: steps } = await node.record());
  });

  afterAll(async () => {
    await node.lab.close();
  });

  test('never killed: the rules do not depend on the way there', async () => {
    expect(steps.map(wordsOf)).toEqual(changeWords);
    expect(node.rules.one).not.toBe(node.rules.two);
    await node.write('one');
    await node.expectRules('one', 'never killed');
  });

  test('before each, and after the last', async () => {
    let world: World = 'one';
    for (const [step, when] of cases(steps)) {
      await node.settled(world);
      await node.talk();
      world = other[world];
      await node.crash(step, when, world, async () => node.write(world));
    }
    await node.write('one');
    await node.expectRules('one', 'the last of them goes on');
  }, 240_000);

  test('leaves a restore at work, and it never writes over the rules of the next agent', async () => {
    await node.tools.meet(
      'iptables-legacy-restore: write rules',
      {
        before: 'kill -9 $agent; until [ -e $state/leave ]; do sleep 0.02; done',
        after: 'touch $state/written',
      },
      { once: true },
    );
    await node.write('two');
    await eventually(async () => node.tools.acted(), Boolean, 40_000);
    await node.agent.ended();
    await node.write('one');
    const next = node.start();
    await written(next);
    await node.expectRules('one', 'a restore was left at work');
    expect(next.log).toMatch(
      /iptables-legacy \(process \d+\), left at work by an agent that was killed/,
    );
    await node.tools.put('leave');
    await node.write('two');
    await node.expectRules('two', 'the next agent goes on');
    expect(await node.tools.has('written')).toBe(false);
  }, 120_000);
});

describe.skipIf(!able)('an agent that is killed at a step of its start (needs root)', () => {
  let node: CrashLab;
  let steps: { readonly start: readonly string[]; readonly change: readonly string[] };

  beforeAll(async () => {
    node = await CrashLab.create('nft');
    steps = await node.record();
    await node.agent.stop();
  });

  afterAll(async () => {
    await node.lab.close();
  });

  test('before each and after the last, over the rules of an earlier one and with changes to make', async () => {
    let world: World = 'two';
    const all = [...new Set([...steps.start, ...steps.change])];
    expect(all.map(wordsOf)).toEqual(['probe', 'probe', ...changeWords]);
    for (const [step, when] of cases(all)) {
      await node.talk();
      world = other[world];
      await node.write(world);
      await node.crash(step, when, world, () => node.start());
      await node.agent.stop();
    }
  }, 240_000);

  test('before each that writes more than a probe, and after the last, on a node without rules', async () => {
    await node.write('one');
    for (const [step, when] of cases(steps.start.filter((each) => wordsOf(each) !== 'probe'))) {
      await clean(node.lab);
      await node.tools.meet(step, { [when]: 'kill -9 $agent; exit 1' }, { once: true });
      node.start();
      await eventually(async () => node.tools.acted(), Boolean, 40_000);
      await written(node.start());
      await node.expectRules('one', `killed ${when} "${step}" on a node without rules`);
      await node.agent.stop();
    }
  }, 120_000);
});

/** Waits for the first sync of an agent. */
async function written(agent: AgentProcess): Promise<void> {
  await eventually(
    async () => agent.log,
    (log) => log.includes('"first rules written"'),
    40_000,
  );
}

/** Takes every rule and set from the node. */
async function clean(lab: NodeLab): Promise<void> {
  const tables = 'for t in filter nat mangle; do iptables -t $t -F; iptables -t $t -X; done';
  await lab.onNode('sh', '-c', `${tables}; ipset destroy`);
}

/** A kill after a step is one before the next: nothing that writes lies between them. */
function cases(steps: readonly string[]): readonly (readonly [string, 'before' | 'after'])[] {
  const last = steps.slice(-1).map((step) => [step, 'after'] as const);
  return [...steps.map((step) => [step, 'before'] as const), ...last];
}

/** Each kind of step, once, in the order of the words. */
function kinds(steps: readonly string[], words: readonly string[]): readonly string[] {
  const short = new Set(steps.map((step) => step.replace(/: -D .*/, ': -D')));
  return words.flatMap((word) => [...short].filter((step) => wordsOf(step) === word));
}

function wordsOf(step: string): string {
  return step.replace(/^.*?: /, '');
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
