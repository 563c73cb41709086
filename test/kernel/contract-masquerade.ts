/* oxlint-disable vitest/no-standalone-expect -- declared once for each backend, by the suite */
import { expect } from 'vitest';
import type { Question } from '../../src/cli/demo/actor.ts';
import { isSlow, lab4, lab6 } from '../support/node-lab.ts';
import type { Actor } from '../support/node-lab.ts';
import { clusterCidr, http } from './contract-suite.ts';
import type { Suite } from './contract-suite.ts';

type Asker = 'pod' | 'node' | 'outside' | 'loopback';
type Target = 'cluster' | 'innerLocal' | 'nodePort' | 'balancer' | 'outerLocal';

/** What every setting has in common: whose source address is kept. */
const matrix: Readonly<Record<Target, Readonly<Partial<Record<Asker, 'kept' | 'replaced'>>>>> = {
  cluster: { pod: 'kept', node: 'replaced', outside: 'replaced' },
  innerLocal: { pod: 'kept', node: 'replaced', outside: 'replaced' },
  nodePort: { pod: 'replaced', node: 'replaced', outside: 'replaced', loopback: 'replaced' },
  balancer: { pod: 'replaced', node: 'replaced', outside: 'replaced' },
  outerLocal: { pod: 'kept', node: 'replaced', outside: 'kept', loopback: 'replaced' },
};

const inCluster: ReadonlySet<Target> = new Set(['cluster', 'innerLocal']);

/** How settings of the agent change the rows of cluster IPs; external ones are the same everywhere. */
const settings: readonly {
  readonly flags: readonly string[];
  readonly clusterIPs?: 'kept' | 'replaced';
  /** Asked where a start of the agent costs little; all modes make the same of pods, which simulators show too. */
  readonly fastOnly?: true;
}[] = [
  { flags: [clusterCidr] },
  { flags: [clusterCidr, '--masquerade-all'], clusterIPs: 'replaced' },
  {
    flags: ['--detect-local-mode=InterfaceNamePrefix', '--pod-interface-name-prefix=pod-'],
  },
  {
    flags: ['--detect-local-mode=BridgeInterface', '--pod-bridge-interface=pod-a'],
    fastOnly: true,
  },
  // Without a detector nobody is told from a pod: no cluster IP is masqueraded.
  { flags: [], clusterIPs: 'kept', fastOnly: true },
];

const actors: Readonly<Record<Asker, Actor>> = {
  pod: 'pod-a',
  node: 'node',
  outside: 'client',
  loopback: 'node',
};

/** Kept and replaced source addresses, under all ways to tell pods of this node. */
export function masquerading(suite: Suite): void {
  suite.test('masquerade', 'source addresses are kept or replaced as for kube-proxy', async () => {
    const common = { type: 'LoadBalancer', pods: ['pod-b', 'remote'] } as const;
    const ingress = ['203.0.113.20', '2001:db8:ffff::20'];
    await suite.publish('src', { ...common, host: 20, nodePort: 30020, ingress });
    await suite.publish('src-in', { host: 25, internalPolicy: 'Local', pods: ['pod-b'] });
    const outer = { host: 26, nodePort: 30026, externalPolicy: 'Local' } as const;
    await suite.publish('src-out', { ...common, ...outer, healthCheckNodePort: 32026 });
    try {
      const asked = settings.filter(({ fastOnly }) => !isSlow || fastOnly !== true);
      for (const [i, { flags, clusterIPs }] of asked.entries()) {
        if (i > 0) await suite.restart(flags); // the first is the suite's own
        // What an agent finds and does not want goes last of all in its first sync: the second marker comes with a later one.
        for (const host of [230 + i, 240 + i]) {
          await suite.publish('marker', { host });
          await suite.answers('client', { to: `10.96.0.${host}`, port: http.port });
          await suite.answers('client', { to: `fd00:10:96::${host}`, port: http.port });
        }
        // What comes in one sync need not come at one moment.
        const outside = [...rowsOf(false), ...rowsOf(true)].filter(
          ({ asker }) => asker === 'outside',
        );
        for (const { question } of outside) await suite.answers('client', question);
        for (const v6 of [false, true]) {
          const rows = await Promise.all(
            rowsOf(v6).map(async (row) => [row, await seen(suite, row)]),
          );
          const wanted = rowsOf(v6).map((row) => [row, [wantedOf(suite, row, clusterIPs)]]);
          expect(rows, flags.join(' ')).toEqual(wanted);
        }
      }
    } finally {
      await suite.restart();
    }
  });
}

interface Row {
  readonly asker: Asker;
  readonly target: Target;
  readonly question: Question;
}

function rowsOf(v6: boolean): readonly Row[] {
  const node = v6 ? lab6.node : lab4.node;
  const cluster = (host: number): string => (v6 ? `fd00:10:96::${host}` : `10.96.0.${host}`);
  const targets: Readonly<Record<Target, Question>> = {
    cluster: { to: cluster(20), port: http.port },
    innerLocal: { to: cluster(25), port: http.port },
    nodePort: { to: node, port: 30020 },
    balancer: { to: v6 ? '2001:db8:ffff::20' : '203.0.113.20', port: http.port },
    outerLocal: { to: node, port: 30026 },
  };
  return (Object.keys(targets) as Target[]).flatMap((target) =>
    (Object.keys(matrix[target]) as Asker[])
      .filter((asker) => asker !== 'loopback' || !v6)
      .map((asker) => {
        const own = v6 ? lab6.node : asker === 'loopback' ? '127.0.0.1' : lab4.node;
        const { to, port } = targets[target];
        const question = asker === 'loopback' ? { to: own, port } : { to, port };
        return {
          asker,
          target,
          question: asker === 'node' ? { ...question, from: own } : question,
        };
      }),
  );
}

function wantedOf(
  suite: Suite,
  { asker, target }: Row,
  clusterIPs: 'kept' | 'replaced' | undefined,
) {
  const usual = matrix[target][asker];
  if (suite.deviates('source')) return 'replaced';
  if (asker === 'loopback' && suite.deviates('node ports of loopback')) return 'refused';
  if (asker === 'node' && suite.deviates('masqueraded node')) return usual;
  return inCluster.has(target) ? (clusterIPs ?? usual) : usual;
}

/** What the pods say about the source, over so many requests that both of them were met. */
async function seen(suite: Suite, { asker, question }: Row): Promise<readonly string[]> {
  const actor = actors[asker];
  const lab = question.to.includes(':') ? lab6 : lab4;
  const own = asker === 'loopback' ? question.to : lab[actor];
  const answers = await Promise.all(
    Array.from({ length: isSlow ? 4 : 12 }, async () => suite.lab.ask(actor, question)),
  );
  const told = answers.map((answer) => {
    if (typeof answer === 'string') return answer;
    return answer.sourceSeen === own ? 'kept' : 'replaced';
  });
  return [...new Set(told)];
}
