/* oxlint-disable vitest/no-standalone-expect, vitest/valid-title, vitest/no-disabled-tests, vitest/no-conditional-tests -- a suite that is declared once for each backend */
import process from 'node:process';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab, eventually, lab4, lab6 } from '../support/node-lab.ts';
import type { Actor } from '../support/node-lab.ts';
import type { Answer, Question } from '../../src/cli/demo/actor.ts';
import { nodeObject, service, slices } from './contract-objects.ts';
import type { PodName, ServiceOptions } from './contract-objects.ts';

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
  | 'udp-change'
  | 'dual-stack'
  | 'masquerade'
  | 'long-connections'
  | 'restart'
  | 'foreign-flush'
  | 'forward-drop'
  | 'shared-prefix'
  | 'node-port-off';

/** One implementation under test. */
export interface BackendContract {
  /** As the report shows it: `iptables, legacy tools`. */
  readonly name: string;
  /** Which tools are plain `iptables` in the lab. */
  readonly variant: 'legacy' | 'nft';
  /** Starts the agent in this mode on the lab's manifests; the flags are those of the suite. */
  readonly start: (lab: NodeLab, flags: readonly string[]) => AgentProcess;
  /** Ways a stranger may destroy the rules; each has to be noticed and repaired. */
  readonly disturbances: readonly {
    readonly name: string;
    readonly run: (lab: NodeLab) => Promise<void>;
  }[];
  /** What does not apply to this mode, each with the reason. */
  readonly skip: readonly { readonly reason: string; readonly tests: readonly ContractTest[] }[];
}

const flags = [
  '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
  '--iptables-sync-period=1s',
  '--iptables-min-sync-period=0s',
  '--conntrack-max-per-core=0',
];

const http = { port: 80, target: 8080 } as const;

/** What every backend has to do, with real packets and the real agent. */
export function backendContract(contract: BackendContract): void {
  describe(contract.name, () => {
    const suite = new Suite(contract);
    beforeAll(async () => suite.open());
    afterAll(async () => suite.close());
    beforeEach(({ onTestFailed }) => {
      onTestFailed(() => {
        process.stderr.write(`the agent said:\n${suite.log.slice(-4000)}\n`);
      });
    });
    reaching(suite);
    sources(suite);
    refusing(suite);
    sticking(suite);
    changing(suite);
    surviving(suite);
  });
}

/** The lab with a running agent, and how the tests of this suite are declared. */
class Suite {
  readonly #contract: BackendContract;
  #lab: NodeLab | undefined;
  #agent: AgentProcess | undefined;

  constructor(contract: BackendContract) {
    this.#contract = contract;
  }

  get lab(): NodeLab {
    if (this.#lab === undefined) throw new Error('the lab is not open');
    return this.#lab;
  }

  get disturbances(): BackendContract['disturbances'] {
    return this.#contract.disturbances;
  }

  /** Declares a test; one that the contract leaves out shows its reason instead. */
  test(id: ContractTest, title: string, body: () => Promise<void>): void {
    const skipped = this.#contract.skip.find(({ tests }) => tests.includes(id));
    if (skipped) test.skip(`[${id}] ${title}: ${skipped.reason}`);
    else test(`[${id}] ${title}`, body);
  }

  async open(): Promise<void> {
    this.#lab = await NodeLab.create(this.#contract.variant);
    await this.lab.write('node', nodeObject());
    await this.publish('ready', { host: 250 });
    this.start();
    await this.answers('client', { to: '10.96.0.250', port: 80 });
    await this.answers('client', { to: 'fd00:10:96::250', port: 80 });
  }

  start(): void {
    this.#agent = this.#contract.start(this.lab, flags);
  }

  /** Stops the agent as a node's shutdown would; the rules stay. */
  async stop(): Promise<void> {
    await this.#agent?.stop();
    this.#agent = undefined;
  }

  async restart(): Promise<void> {
    await this.stop();
    this.start();
  }

  async close(): Promise<void> {
    await this.stop();
    await this.#lab?.close();
  }

  /** What the agent said, for the report of a failed test. */
  get log(): string {
    return this.#agent?.log ?? 'no agent runs';
  }

  /** Writes a service with its slices; the caller waits for the effect. */
  async publish(
    name: string,
    options: ServiceOptions & { readonly pods?: readonly PodName[] },
  ): Promise<void> {
    const pods = options.pods ?? ['pod-a'];
    await this.lab.write(name, service(name, options), ...slices(name, pods));
  }

  /** Waits until somebody answers. */
  async answers(actor: Actor, question: Question): Promise<Exclude<Answer, string>> {
    const answer = await eventually(
      async () => this.lab.ask(actor, { timeoutMs: 300, ...question }),
      (seen) => typeof seen !== 'string',
    );
    if (typeof answer === 'string') throw new Error(`no answer: ${answer}`);
    return answer;
  }

  /** Waits until a request ends in this way. */
  async ends(actor: Actor, question: Question, how: string): Promise<void> {
    const look = async (): Promise<Answer> => this.lab.ask(actor, { timeoutMs: 300, ...question });
    expect(await eventually(look, (seen) => seen === how)).toBe(how);
  }

  /** Waits until exactly these pods answer, and nobody else within 60 requests. */
  async answeredBy(actor: Actor, question: Question, pods: readonly string[]): Promise<void> {
    const look = async (): Promise<readonly string[]> =>
      Object.keys(await this.lab.tally(actor, { timeoutMs: 500, ...question }, 60)).toSorted();
    const wanted = pods.toSorted();
    const seen = await eventually(look, (names) => names.join() === wanted.join());
    expect(seen).toEqual(wanted);
  }
}

const everyone: readonly Actor[] = ['client', 'node', 'pod-a', 'remote'];

function reaching(suite: Suite): void {
  suite.test('cluster-ip', 'a cluster IP leads to all pods, from everywhere', async () => {
    await suite.publish('web', { host: 10, pods: ['pod-a', 'pod-b', 'remote'] });
    for (const proto of ['tcp', 'udp'] as const) {
      for (const actor of everyone) {
        const question = { to: '10.96.0.10', port: http.port, proto };
        await suite.answeredBy(actor, question, ['pod-a', 'pod-b', 'remote']);
      }
    }
  });

  suite.test('node-port', 'a node port answers on every address of the node', async () => {
    await suite.publish('np', {
      host: 11,
      type: 'NodePort',
      nodePort: 30011,
      pods: ['pod-b', 'remote'],
    });
    for (const to of [lab4.node, lab4.podGateway]) {
      await suite.answeredBy('client', { to, port: 30011 }, ['pod-b', 'remote']);
      await suite.answeredBy('pod-a', { to, port: 30011 }, ['pod-b', 'remote']);
    }
    await suite.answeredBy('client', { to: lab4.node, port: 30011, proto: 'udp' }, [
      'pod-b',
      'remote',
    ]);
    await suite.answeredBy('node', { to: '127.0.0.1', port: 30011 }, ['pod-b', 'remote']);
    await suite.answeredBy('node', { to: lab4.node, port: 30011 }, ['pod-b', 'remote']);
  });

  suite.test('external', 'an external IP leads to the pods', async () => {
    await suite.publish('ext', { host: 12, externalIPs: ['203.0.113.12'], pods: ['pod-b'] });
    for (const actor of everyone)
      await suite.answers(actor, { to: '203.0.113.12', port: http.port });
  });

  suite.test('load-balancer', 'a load balancer address leads to the pods', async () => {
    await suite.publish('lb', {
      host: 13,
      type: 'LoadBalancer',
      nodePort: 30013,
      ingress: ['203.0.113.13', '2001:db8:ffff::13'],
      pods: ['pod-b'],
    });
    for (const actor of everyone) {
      await suite.answers(actor, { to: '203.0.113.13', port: http.port });
      await suite.answers(actor, { to: '2001:db8:ffff::13', port: http.port });
    }
  });

  suite.test(
    'hairpin',
    'a pod reaches itself through its own service, by every address',
    async () => {
      await suite.publish('self', {
        host: 14,
        type: 'NodePort',
        nodePort: 30014,
        externalIPs: ['203.0.113.14'],
        pods: ['pod-a'],
      });
      for (const proto of ['tcp', 'udp'] as const) {
        for (const [to, port] of [
          ['10.96.0.14', 80],
          ['fd00:10:96::14', 80],
          ['203.0.113.14', 80],
          [lab4.node, 30014],
        ] as const) {
          const answer = await suite.answers('pod-a', { to, port, proto });
          expect(answer.answeredBy).toBe('pod-a');
          expect(answer.sourceSeen).not.toBe(lab4['pod-a']);
        }
      }
    },
  );

  suite.test('dual-stack', 'both families have all kinds of addresses', async () => {
    await suite.publish('dual', {
      host: 15,
      type: 'NodePort',
      nodePort: 30015,
      externalIPs: ['2001:db8:ffff::15'],
      pods: ['pod-b', 'remote'],
    });
    const targets = [
      { to: 'fd00:10:96::15', port: http.port },
      { to: '2001:db8:ffff::15', port: http.port },
      { to: lab6.node, port: 30015 },
      { to: '10.96.0.15', port: http.port },
    ];
    for (const target of targets) {
      for (const proto of ['tcp', 'udp'] as const) {
        await suite.answeredBy('client', { ...target, proto }, ['pod-b', 'remote']);
      }
    }
  });

  suite.test(
    'shared-prefix',
    'a node port works beside services that share a prefix with the node’s address',
    async () => {
      const externalIPs = Array.from({ length: 20 }, (_, i) => `192.0.2.${i + 2}`).filter(
        (ip) => ip !== lab4.client,
      );
      await suite.publish('near', {
        host: 16,
        type: 'NodePort',
        nodePort: 30016,
        externalIPs,
        pods: ['pod-b'],
      });
      await suite.answers('client', { to: '192.0.2.3', port: http.port });
      await suite.answers('client', { to: lab4.node, port: 30016 });
      await suite.answers('node', { to: lab4.node, port: 30016 });
      await suite.lab.remove('near');
      await suite.ends('client', { to: lab4.node, port: 30016 }, 'refused');
    },
  );
}

/** The matrix of kept and replaced source addresses: pods of this node are told by their prefix. */
function sources(suite: Suite): void {
  suite.test('masquerade', 'source addresses are kept or replaced as for kube-proxy', async () => {
    await suite.publish('src', {
      host: 20,
      type: 'LoadBalancer',
      nodePort: 30020,
      ingress: ['203.0.113.20'],
      pods: ['pod-b', 'remote'],
    });
    const targets = {
      cluster: { to: '10.96.0.20', port: 80 },
      nodePort: { to: lab4.node, port: 30020 },
      balancer: { to: '203.0.113.20', port: 80 },
    };
    await suite.answeredBy('client', targets.balancer, ['pod-b', 'remote']);
    const kept = async (actor: Actor, target: Question): Promise<readonly boolean[]> => {
      const address = lab4[actor];
      const answers = await Promise.all(
        Array.from({ length: 30 }, async () => suite.lab.ask(actor, target)),
      );
      // A pod that reaches itself is another matter: that source is always replaced.
      const seen = answers
        .filter((answer) => typeof answer === 'string' || answer.answeredBy !== actor)
        .map((answer) => (typeof answer === 'string' ? answer : answer.sourceSeen));
      expect(seen.every((source) => source.includes('.'))).toBe(true);
      return [...new Set(seen.map((source) => source === address))];
    };
    expect(await kept('pod-a', targets.cluster)).toEqual([true]);
    expect(await kept('remote', targets.cluster)).toEqual([true]);
    for (const target of Object.values(targets))
      expect(await kept('client', target)).toEqual([false]);
    for (const target of [targets.nodePort, targets.balancer])
      expect(await kept('pod-a', target)).toEqual([false]);
  });

  suite.test(
    'policies',
    'externalTrafficPolicy Local keeps the client and stays on the node; pods go everywhere',
    async () => {
      await suite.publish('local', {
        host: 21,
        type: 'LoadBalancer',
        nodePort: 30021,
        ingress: ['203.0.113.21'],
        externalPolicy: 'Local',
        healthCheckNodePort: 32021,
        pods: ['pod-b', 'remote'],
      });
      for (const target of [
        { to: '203.0.113.21', port: 80 },
        { to: lab4.node, port: 30021 },
      ]) {
        await suite.answeredBy('client', target, ['pod-b']);
        expect((await suite.answers('client', target)).sourceSeen).toBe(lab4.client);
        await suite.answeredBy('pod-a', target, ['pod-b', 'remote']);
        expect((await suite.answers('pod-a', target)).sourceSeen).toBe(lab4['pod-a']);
        await suite.answeredBy('node', target, ['pod-b', 'remote']);
      }
      const health = await eventually(
        async () => suite.lab.get('client', `http://${lab4.node}:32021/`),
        ({ status }) => status === 200,
      );
      expect(JSON.parse(health.body)).toMatchObject({ localEndpoints: 1 });
    },
  );

  suite.test(
    'policies',
    'without a pod on this node, Local drops: nobody outside is answered, pods still are',
    async () => {
      await suite.publish('away', {
        host: 22,
        type: 'NodePort',
        nodePort: 30022,
        externalPolicy: 'Local',
        pods: ['remote'],
      });
      await suite.answers('pod-a', { to: lab4.node, port: 30022 });
      expect(await suite.lab.ask('client', { to: lab4.node, port: 30022, timeoutMs: 400 })).toBe(
        'timeout',
      );
      await suite.answers('client', { to: '10.96.0.22', port: 80 });
    },
  );

  suite.test(
    'policies',
    'internalTrafficPolicy Local stays on the node, and drops where no pod is there',
    async () => {
      await suite.publish('inner', {
        host: 23,
        internalPolicy: 'Local',
        pods: ['pod-b', 'remote'],
      });
      await suite.answeredBy('pod-a', { to: '10.96.0.23', port: 80 }, ['pod-b']);
      await suite.answeredBy('node', { to: '10.96.0.23', port: 80 }, ['pod-b']);
      await suite.publish('inner', { host: 23, internalPolicy: 'Local', pods: ['remote'] });
      await suite.ends('pod-a', { to: '10.96.0.23', port: 80 }, 'timeout');
    },
  );

  suite.test(
    'source-ranges',
    'only listed sources may use the load balancer; others are dropped',
    async () => {
      await suite.publish('fenced', {
        host: 24,
        type: 'LoadBalancer',
        nodePort: 30024,
        ingress: ['203.0.113.24'],
        sourceRanges: ['198.18.7.0/24'],
        pods: ['pod-b'],
      });
      const target = { to: '203.0.113.24', port: 80 };
      await suite.answers('client', { ...target, from: '198.18.7.9' });
      for (const [actor, from] of [
        ['client', '198.18.8.9'],
        ['client', lab4.client],
        ['pod-a', lab4['pod-a']],
      ] as const) {
        expect(await suite.lab.ask(actor, { ...target, from, timeoutMs: 400 })).toBe('timeout');
      }
      await suite.answers('client', { to: '10.96.0.24', port: 80 });
      await suite.answers('client', { to: lab4.node, port: 30024 });
    },
  );
}

function refusing(suite: Suite): void {
  suite.test(
    'no-endpoints',
    'a service without pods refuses at once, by every address',
    async () => {
      await suite.publish('empty', {
        host: 30,
        type: 'LoadBalancer',
        nodePort: 30030,
        ingress: ['203.0.113.30'],
        externalIPs: ['203.0.113.31'],
        sourceRanges: ['198.18.0.0/16'],
        pods: [],
      });
      for (const proto of ['tcp', 'udp'] as const) {
        for (const [to, port] of [
          ['10.96.0.30', 80],
          ['fd00:10:96::30', 80],
          ['203.0.113.30', 80],
          ['203.0.113.31', 80],
          [lab4.node, 30030],
        ] as const) {
          for (const actor of ['client', 'pod-a', 'node'] as const) {
            // Over IPv6, TCP to a machine's own namespaces is refused after one retransmission: 1 s.
            const timeoutMs = proto === 'tcp' && to.includes(':') ? 2500 : 300;
            await suite.ends(actor, { to, port, proto, timeoutMs }, 'refused');
          }
        }
      }
    },
  );

  suite.test('node-port-off', 'a node port that is given up is closed', async () => {
    await suite.publish('was', { host: 31, type: 'NodePort', nodePort: 30031, pods: ['pod-b'] });
    await suite.answers('client', { to: lab4.node, port: 30031 });
    await suite.publish('was', { host: 31, pods: ['pod-b'] });
    await suite.ends('client', { to: lab4.node, port: 30031 }, 'refused');
    await suite.answers('client', { to: '10.96.0.31', port: 80 });
  });
}

function sticking(suite: Suite): void {
  const clients = Array.from(
    { length: 300 },
    (_, i) => `198.18.${40 + Math.floor(i / 200)}.${1 + (i % 200)}`,
  );
  const everybody = ['pod-a', 'pod-b', 'pod-c', 'remote'] as const;

  async function homes(to: string): Promise<readonly string[]> {
    const answers: string[] = [];
    for (let i = 0; i < clients.length; i += 50) {
      const batch = clients
        .slice(i, i + 50)
        .map(async (from) => suite.lab.ask('client', { to, port: 80, from, timeoutMs: 3000 }));
      answers.push(
        ...(await Promise.all(batch)).map((each) =>
          typeof each === 'string' ? each : each.answeredBy,
        ),
      );
    }
    return answers;
  }

  suite.test('affinity', 'a client keeps its pod, and loses it with the affinity', async () => {
    await suite.publish('sticky', { host: 40, affinitySeconds: 10_800, pods: everybody });
    const target = { to: '10.96.0.40', port: 80 };
    const first = await suite.answers('pod-a', target);
    expect(await suite.lab.tally('pod-a', target, 40)).toEqual({ [first.answeredBy]: 40 });
    await suite.publish('sticky', { host: 40, pods: everybody });
    await suite.answeredBy('pod-a', target, everybody);
  });

  suite.test('affinity-expiry', 'after its time-out a client may meet another pod', async () => {
    await suite.publish('brief', { host: 41, affinitySeconds: 1, pods: everybody });
    const target = { to: '10.96.0.41', port: 80 };
    const first = await suite.answers('client', target);
    expect((await suite.lab.tally('client', target, 20))[first.answeredBy]).toBe(20);
    const moved = await eventually(
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 1300)); // the time-out itself, and some
        return suite.lab.ask('client', target);
      },
      (seen) => typeof seen !== 'string' && seen.answeredBy !== first.answeredBy,
      30_000,
    );
    expect(moved).not.toMatchObject({ answeredBy: first.answeredBy });
  });

  suite.test(
    'affinity-300',
    '300 clients keep their pods over a rewrite and a restart',
    async () => {
      await suite.publish('crowd', { host: 42, affinitySeconds: 10_800, pods: everybody });
      await suite.answers('client', { to: '10.96.0.42', port: 80 });
      const before = await homes('10.96.0.42');
      expect(new Set(before)).toEqual(new Set(everybody));
      await suite.publish('crowd2', { host: 43, pods: ['pod-b'] });
      await suite.publish('crowd', {
        host: 42,
        affinitySeconds: 10_800,
        externalIPs: ['203.0.113.42'],
        pods: everybody,
      });
      await suite.answers('client', { to: '10.96.0.43', port: 80 });
      await suite.answers('client', { to: '203.0.113.42', port: 80 });
      expect(await homes('10.96.0.42')).toEqual(before);
      await suite.restart();
      await suite.publish('crowd3', { host: 44, pods: ['pod-b'] });
      await suite.answers('client', { to: '10.96.0.44', port: 80 });
      expect(await homes('10.96.0.42')).toEqual(before);
    },
  );
}

function changing(suite: Suite): void {
  suite.test('udp-change', 'a UDP client with a fixed source port follows the pods', async () => {
    await suite.publish('dns', { host: 50, type: 'NodePort', nodePort: 30050, pods: ['pod-a'] });
    for (const target of [
      { to: '10.96.0.50', port: 80 },
      { to: lab4.node, port: 30050 },
    ]) {
      await suite.publish('dns', { host: 50, type: 'NodePort', nodePort: 30050, pods: ['pod-a'] });
      // One at a time: each flow of a poll would be one more entry to reconcile.
      await eventually(
        async () => suite.lab.ask('client', { ...target, proto: 'udp', timeoutMs: 300 }),
        (seen) => typeof seen !== 'string' && seen.answeredBy === 'pod-a',
      );
      const socket = await suite.lab.open('client', { ...target, proto: 'udp' });
      expect(socket.first).toMatchObject({ answeredBy: 'pod-a' });
      // A busy resolver: hundreds of stale flows at once must not hold the next syncs up.
      await suite.lab.tally('client', { ...target, proto: 'udp', timeoutMs: 1000 }, 300);
      await suite.publish('dns', { host: 50, type: 'NodePort', nodePort: 30050, pods: ['pod-b'] });
      const moved = await eventually(
        async () => socket.again(300),
        (seen) => typeof seen !== 'string' && seen.answeredBy === 'pod-b',
      );
      expect(moved).toMatchObject({ answeredBy: 'pod-b' });
      await socket.close();
    }
  });

  suite.test(
    'udp-change',
    'a UDP client that asked before there were pods is answered later',
    async () => {
      await suite.publish('late', { host: 51, pods: [] });
      const target = { to: '10.96.0.51', port: 80, proto: 'udp' as const, timeoutMs: 300 };
      await suite.ends('client', target, 'refused');
      const socket = await suite.lab.open('client', target);
      expect(socket.first).toBe('refused');
      await suite.publish('late', { host: 51, pods: ['pod-b'] });
      const answered = await eventually(
        async () => socket.again(300),
        (seen) => typeof seen !== 'string',
      );
      expect(answered).toMatchObject({ answeredBy: 'pod-b' });
      await socket.close();
    },
  );

  suite.test(
    'long-connections',
    'connections live on while rules change, and requests never fail',
    async () => {
      await suite.publish('long', { host: 52, pods: ['pod-a', 'pod-b'] });
      const target = { to: '10.96.0.52', port: 80 };
      await suite.answeredBy('client', target, ['pod-a', 'pod-b']);
      const connections = await Promise.all(
        Array.from({ length: 8 }, async () => suite.lab.open('client', target)),
      );
      for (const pods of [['pod-b'], ['pod-b', 'pod-c'], ['pod-c', 'remote']] as const) {
        await suite.publish('long', { host: 52, pods });
        const seen = await eventually(
          async () => suite.lab.tally('client', target, 40),
          (counts) => {
            expect(counts['refused'] ?? counts['timeout']).toBeUndefined();
            return Object.keys(counts).toSorted().join() === pods.join();
          },
        );
        expect(Object.keys(seen).toSorted()).toEqual(pods);
      }
      for (const connection of connections) {
        expect(await connection.again()).toEqual(connection.first);
        await connection.close();
      }
    },
  );
}

function surviving(suite: Suite): void {
  suite.test('restart', 'a restart of the agent loses no request and no connection', async () => {
    await suite.publish('calm', { host: 60, pods: ['pod-a', 'pod-b'] });
    const target = { to: '10.96.0.60', port: 80 };
    await suite.answeredBy('client', target, ['pod-a', 'pod-b']);
    const connection = await suite.lab.open('client', target);
    await suite.stop();
    expect(await suite.lab.tally('client', target, 20)).not.toHaveProperty('timeout');
    suite.start();
    await suite.publish('calm2', { host: 61, pods: ['pod-c'] });
    const failed: Answer[] = [];
    await eventually(
      async () => {
        const answer = await suite.lab.ask('client', target);
        if (typeof answer === 'string') failed.push(answer);
        return suite.lab.ask('client', { to: '10.96.0.61', port: 80, timeoutMs: 50 });
      },
      (seen) => typeof seen !== 'string',
    );
    expect(failed).toEqual([]);
    expect(await connection.again()).toEqual(connection.first);
    await connection.close();
  });

  suite.test('foreign-flush', 'rules that a stranger removes come back', async () => {
    await suite.publish('tough', { host: 62, pods: ['pod-b'] });
    await suite.publish('tough0', { host: 63, pods: [] });
    await suite.answers('client', { to: '10.96.0.62', port: 80 });
    for (const { name, run } of suite.disturbances) {
      await run(suite.lab);
      await eventually(
        async () => suite.lab.ask('client', { to: '10.96.0.62', port: 80, timeoutMs: 200 }),
        (seen) => typeof seen !== 'string',
        6000,
      ).catch((error: unknown) => {
        throw new Error(`after ${name}`, { cause: error });
      });
      await suite.ends('client', { to: '10.96.0.63', port: 80 }, 'refused');
    }
  });

  suite.test(
    'forward-drop',
    'services work with a FORWARD policy of DROP, and only they',
    async () => {
      await suite.publish('firm', {
        host: 64,
        type: 'NodePort',
        nodePort: 30064,
        pods: ['pod-a', 'pod-b'],
      });
      await suite.answeredBy('client', { to: '10.96.0.64', port: 80 }, ['pod-a', 'pod-b']);
      await suite.lab.onNode('iptables', '-w', '-P', 'FORWARD', 'DROP');
      try {
        await suite.answeredBy('client', { to: '10.96.0.64', port: 80 }, ['pod-a', 'pod-b']);
        await suite.answeredBy('client', { to: lab4.node, port: 30064 }, ['pod-a', 'pod-b']);
        await suite.answeredBy('client', { to: lab4.node, port: 30064, proto: 'udp' }, [
          'pod-a',
          'pod-b',
        ]);
        const own = await suite.lab.tally('pod-a', { to: lab4.node, port: 30064 }, 40);
        expect(Object.keys(own).toSorted()).toEqual(['pod-a', 'pod-b']);
        expect(
          await suite.lab.ask('client', { to: lab4['pod-a'], port: 8080, timeoutMs: 400 }),
        ).toBe('timeout');
      } finally {
        await suite.lab.onNode('iptables', '-w', '-P', 'FORWARD', 'ACCEPT');
      }
    },
  );
}
