import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { ControlPlane } from '../cluster/control-plane.ts';
import { proxyCommand } from '../support/agent-process.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { unlessAborted } from '../support/interruptible.ts';
import { eventually, lab4, lab6, NodeLab } from '../support/node-lab.ts';
import { Checker } from './checker.ts';
import type { SoakMode, StableTarget } from './checker.ts';
import { Churner } from './churner.ts';
import { Ledger } from './ledger.ts';
import { frontendsOf, paths, serviceManifest, sliceManifest } from './objects.ts';
import type { Pod, Protocol, ServiceAnswer, SliceContent } from './objects.ts';
import { Random } from './random.ts';
import { collectedHeapMiB, kernelState, readVitals } from './vitals.ts';
import type { Vitals } from './vitals.ts';

export interface SoakOptions {
  readonly seconds: number;
  /** Churn before the figures that the end is compared with: code is compiled and caches are filled by then. */
  readonly warmUpSeconds: number;
  readonly changesPerSecond: number;
  readonly questionsPerSecond: number;
  readonly slots: number;
  readonly allowedLagMs: number;
  /** How long a question waits for an answer. */
  readonly patienceMs: number;
  readonly sampleEveryMs: number;
  readonly seed: number;
  readonly tools: 'legacy' | 'nft';
  readonly mode: SoakMode;
  /** How much the heap may have grown; undefined: not looked at, for a run too short to fill the caches. */
  readonly heapToleranceMiB: number | undefined;
  /** Connections may take their time to be forgotten; undefined: not waited for. */
  readonly conntrackWaitMs: number | undefined;
  readonly onSample: (sample: SoakSample) => void;
  /** Ends it early: it rejects once all is removed. */
  readonly signal?: AbortSignal;
}

/** The state of things during the churn. */
export interface SoakSample extends Vitals {
  /** Since the churn began, the warm-up included. */
  readonly seconds: number;
  readonly changes: number;
  readonly questions: number;
  readonly wrong: number;
  readonly longestLagMs: number;
}

/** Figures of a time without churned Services. */
export interface RestFigures extends Vitals {
  readonly collectedHeapMiB: number;
}

export interface SoakReport {
  readonly samples: readonly SoakSample[];
  /** After the warm-up and after the end. */
  readonly before: RestFigures;
  readonly after: RestFigures;
  readonly apiFailures: number;
  /** What was not as it should be, a sentence each. */
  readonly problems: readonly string[];
}

const descriptorTolerance = 2;
const serviceCidrs = ['10.96.0.0/12', 'fd00:10:96::/108'];
/** The agent's own connections and what the checks of the lab make. */
const conntrackTolerance = 20;

/** The whole soak, in namespaces of its own: nothing is left behind. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const lab = await NodeLab.create(options.tools);
  const plane = new ControlPlane({
    namespace: lab.namespace('client'),
    address: lab4.client,
    serviceCidrs,
    signal: options.signal,
  });
  let agent: AgentProcess | undefined;
  try {
    await plane.start();
    await addNode(plane);
    options.signal?.throwIfAborted();
    agent = startAgent(lab, plane, options.mode);
    const run = new Soak(options, lab, plane, agent);
    return await unlessAborted(options.signal, async () => run.run());
  } finally {
    await agent?.stop();
    await plane.stop();
    await lab.close();
  }
}

async function addNode(plane: ControlPlane): Promise<void> {
  const metadata = { name: 'node-a' };
  await plane.must('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata });
  const addresses = [lab4.node, lab6.node].map((address) => ({ type: 'InternalIP', address }));
  const merge = 'application/merge-patch+json';
  await plane.must('PATCH', '/api/v1/nodes/node-a/status', { status: { addresses } }, merge);
}

/** What is shipped is what soaks: the bundle. */
function startAgent(lab: NodeLab, plane: ControlPlane, mode: SoakMode): AgentProcess {
  const bundle = join(plane.folder, 'switchyard.mjs');
  execFileSync(process.execPath, ['scripts/build.ts', bundle], {
    cwd: join(import.meta.dirname, '../..'),
  });
  const flags = [
    `--kubeconfig=${plane.kubeconfig()}`,
    '--hostname-override=node-a',
    '--cluster-cidr=10.244.0.0/16,fd00:10:244::/64',
    '--conntrack-max-per-core=0',
    '--conntrack-tcp-timeout-established=0s',
    '--conntrack-tcp-timeout-close-wait=0s',
    ...modeFlags(lab, mode),
  ];
  return lab.startClusterAgent(flags, proxyCommand(bundle));
}

function modeFlags(lab: NodeLab, mode: SoakMode): readonly string[] {
  if (mode === 'iptables') return [];
  const state = join(lab.folder, 'userspace.json');
  return [
    '--proxy-mode=userspace',
    `--userspace-state-file=${state}`,
    '--userspace-workers=2',
    '--userspace-drain-timeout=20s',
    // in 250 ms a pod on a busy machine may not have answered
    '--udp-timeout=10s',
  ];
}

/** Whether all rules that Services which nobody touches have are in: the ServiceCIDR, for which these do not wait, makes other ones of them. */
const hasSettled: Readonly<Record<SoakMode, (rules: string) => boolean>> = {
  iptables: (rules) => serviceCidrs.every((cidr) => rules.includes(` -d ${cidr} -j MARK `)),
  userspace: (rules) => rules.includes(' KUBE-USERSPACE '),
};

interface StableService {
  readonly name: string;
  readonly protocol: Protocol;
  readonly spec: object;
  readonly slices: readonly SliceContent[];
}

const readySlice = (family: SliceContent['family'], ready: readonly Pod[], port = 8080) => ({
  family,
  port,
  ready,
  unready: [],
});

/** Services that nobody touches: they answer right at every moment. */
const stableServices: readonly StableService[] = [
  {
    name: 'stable-tcp',
    protocol: 'TCP',
    spec: { type: 'NodePort' },
    slices: [readySlice('IPv4', ['pod-a', 'pod-b', 'remote'])],
  },
  {
    name: 'stable-udp',
    protocol: 'UDP',
    spec: { ipFamilyPolicy: 'RequireDualStack' },
    slices: [readySlice('IPv4', ['pod-b', 'pod-c']), readySlice('IPv6', ['pod-a'])],
  },
  {
    name: 'stable-sticky',
    protocol: 'TCP',
    spec: { sessionAffinity: 'ClientIP' },
    slices: [readySlice('IPv4', ['pod-a', 'pod-b', 'pod-c', 'remote'])],
  },
  {
    name: 'stable-v6',
    protocol: 'TCP',
    spec: { ipFamilies: ['IPv6'], type: 'NodePort' },
    slices: [
      readySlice('IPv6', ['pod-a', 'pod-c', 'remote']),
      readySlice('IPv6', ['pod-a', 'pod-b', 'pod-c', 'remote'], 8081),
      readySlice('IPv6', ['pod-a', 'pod-b', 'pod-c', 'remote'], 8082),
    ],
  },
  { name: 'stable-empty', protocol: 'TCP', spec: {}, slices: [] },
];

class Soak {
  readonly #options: SoakOptions;
  readonly #lab: NodeLab;
  readonly #plane: ControlPlane;
  readonly #agent: AgentProcess;
  readonly #samples: SoakSample[] = [];
  readonly #problems: string[] = [];

  constructor(options: SoakOptions, lab: NodeLab, plane: ControlPlane, agent: AgentProcess) {
    this.#options = options;
    this.#lab = lab;
    this.#plane = plane;
    this.#agent = agent;
  }

  async run(): Promise<SoakReport> {
    const { allowedLagMs, mode, seed, slots, seconds, warmUpSeconds } = this.#options;
    const stable = await this.#makeStable();
    const untouched = await eventually(
      async () => kernelState(this.#lab),
      hasSettled[mode],
      60_000,
    );
    const random = new Random(seed);
    const ledger = new Ledger(allowedLagMs);
    const churner = new Churner(this.#plane, ledger, random, slots);
    const checker = new Checker(this.#lab, churner, ledger, random, {
      mode,
      stable,
      patienceMs: this.#options.patienceMs,
    });

    await this.#churn(churner, checker, warmUpSeconds);
    await this.#settle(churner, untouched);
    const before = await this.#rest();
    await this.#churn(churner, checker, seconds);
    await this.#settle(churner, untouched);
    await this.#forgetConnections(before.conntrack);
    const after = await this.#rest();

    checker.judgeAll();
    if (checker.wrong > 0) {
      this.#problems.push(`${checker.wrong} wrong answers, the first: ${checker.complaints[0]}`);
    }
    const { movedPins } = checker;
    if (movedPins > after.failedDials)
      this.#problems.push(
        `a client that stays with its pod has moved ${movedPins} times, for ${after.failedDials} failed dials`,
      );
    this.#compare(before, after);
    const apiFailures = churner.failures;
    return { samples: this.#samples, before, after, apiFailures, problems: this.#problems };
  }

  async #makeStable(): Promise<readonly StableTarget[]> {
    const targets: StableTarget[] = [];
    for (const { name, protocol, spec, slices } of stableServices) {
      const manifest = serviceManifest(name, protocol, spec);
      const made = (await this.#plane.must('POST', paths.services, manifest)) as ServiceAnswer;
      for (const [at, content] of slices.entries()) {
        const slice = sliceManifest(`${name}-${at}`, name, protocol, content);
        await this.#plane.must('POST', paths.slices, slice);
      }
      for (const each of frontendsOf(made, protocol, slices)) {
        targets.push({ ...each, service: name, sticky: name === 'stable-sticky' });
      }
    }
    for (const { to, port, protocol, answers } of targets) {
      const proto = protocol === 'TCP' ? 'tcp' : 'udp';
      await eventually(
        async () => this.#lab.probe('client', { to, port, proto, timeoutMs: 500 }),
        (seen) => answers.has(typeof seen === 'string' ? seen : seen.answeredBy),
        60_000,
      );
    }
    return targets;
  }

  async #churn(churner: Churner, checker: Checker, seconds: number): Promise<void> {
    const { changesPerSecond, questionsPerSecond } = this.#options;
    const endMs = performance.now() + seconds * 1000;
    const over = new AbortController();
    const running = [
      churner.run(changesPerSecond, over.signal),
      checker.run(questionsPerSecond, over.signal),
      this.#sample(churner, checker, over.signal),
    ];
    await Promise.race([delay(endMs - performance.now()), Promise.all(running)]).finally(() => {
      over.abort();
    });
    await Promise.all(running);
  }

  async #sample(churner: Churner, checker: Checker, signal: AbortSignal): Promise<void> {
    const startMs = performance.now() - (this.#samples.at(-1)?.seconds ?? 0) * 1000;
    while (!signal.aborted) {
      await delay(this.#options.sampleEveryMs, undefined, { signal }).catch(() => {});
      const vitals = await readVitals(this.#lab, this.#agent);
      const sample: SoakSample = {
        ...vitals,
        seconds: (vitals.atMs - startMs) / 1000,
        changes: churner.changes,
        questions: checker.questions,
        wrong: checker.wrong,
        longestLagMs: checker.longestLagMs,
      };
      this.#samples.push(sample);
      this.#options.onSample(sample);
    }
  }

  /** Everything that churned goes, and the kernel looks as if it had never been. */
  async #settle(churner: Churner, untouched: string): Promise<void> {
    await churner.clear();
    const isBack = await eventually(
      async () => kernelState(this.#lab),
      (seen) => seen === untouched,
      60_000,
    ).then(
      () => true,
      () => false,
    );
    if (isBack) return;
    const now = new Set((await kernelState(this.#lab)).split('\n'));
    const then = new Set(untouched.split('\n'));
    const more = [...now].filter((line) => !then.has(line));
    const less = [...then].filter((line) => !now.has(line));
    this.#problems.push(
      `rules and sets are not as before; more: ${more.length} (${more[0]}); less: ${less.length} (${less[0]})`,
    );
  }

  async #forgetConnections(count: number): Promise<void> {
    const { conntrackWaitMs } = this.#options;
    if (conntrackWaitMs === undefined) return;
    await eventually(
      async () => Number(await this.#lab.setting('net/netfilter/nf_conntrack_count')),
      (entries) => entries <= Math.min(count, conntrackTolerance),
      conntrackWaitMs,
    ).catch(() => {}); // the comparison says so
  }

  async #rest(): Promise<RestFigures> {
    // Flows and what drains hold a descriptor each until they end.
    await eventually(
      async () => readVitals(this.#lab, this.#agent),
      ({ carried }) => carried === 0,
      60_000,
    ).catch(() => {}); // the comparison says so
    const heapMiB = await collectedHeapMiB(this.#lab, this.#agent);
    const vitals = await readVitals(this.#lab, this.#agent);
    return { ...vitals, collectedHeapMiB: heapMiB };
  }

  #compare(before: RestFigures, after: RestFigures): void {
    const grows = (what: string, was: number, is: number, tolerance: number): void => {
      if (is <= was + tolerance) return;
      this.#problems.push(`${what}: ${was.toFixed(1)} before, ${is.toFixed(1)} after`);
    };
    const { heapToleranceMiB } = this.#options;
    if (heapToleranceMiB !== undefined) {
      const [was, is] = [before.collectedHeapMiB, after.collectedHeapMiB];
      grows('heap after a collection, MiB', was, is, heapToleranceMiB);
    }
    grows('file descriptors', before.descriptors, after.descriptors, descriptorTolerance);
    grows('child processes', 0, after.children, 0);
    if (this.#options.conntrackWaitMs !== undefined) {
      grows('conntrack entries', 0, after.conntrack, conntrackTolerance);
    }
    grows('failed restores', 0, after.restoreFailures, 0);
    grows('services not programmed', 0, after.unprogrammed, 0);
    if (/"level":"?(?:error|50)|unhandled/.test(this.#agent.log)) {
      const line = this.#agent.log
        .split('\n')
        .find((each) => /"level":"?(?:error|50)|unhandled/.test(each));
      this.#problems.push(`the agent logged an error: ${line}`);
    }
  }
}
