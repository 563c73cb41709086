import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { kubeletFlags } from '../../../../src/config/kubelet-flags.ts';
import { readKubeletFiles } from '../../../../src/config/kubelet-file.ts';
import { parseFlags } from '../../../../src/config/parse-flags.ts';
import { kubeletConfig } from '../../../../src/config/read-kubelet-config.ts';
import type { KubeletConfig } from '../../../../src/config/kubelet-config.ts';
import { runProgram } from '../../../../src/host/run-program.ts';
import { readMachineFacts } from '../../../../src/host/machine-facts.ts';
import { connectDirectly } from '../../../../src/informer/api-connection.ts';
import { openApiSide } from '../../../../src/kubelet/base/api-side.ts';
import { runParts } from '../../../../src/kubelet/kubelet.ts';
import type { KubeletBase } from '../../../../src/kubelet/base/kubelet-base.ts';
import { KubeletEvents } from '../../../../src/kubelet/events/kubelet-events.ts';
import { RuntimeHealth } from '../../../../src/kubelet/node/runtime-health.ts';
import type { PodParts } from '../../../../src/kubelet/parts/pod-parts.ts';
import { prepareRoot } from '../../../../src/kubelet/volumes/root-directory.ts';
import { KubeletMetrics } from '../../../../src/telemetry/kubelet-metrics.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeApiServer } from '../../../support/fake-api-server.ts';
import type { FakeRequest, RawObject } from '../../../support/fake-api-server.ts';
import { FakeRuntime } from '../../../support/fake-cri/fake-runtime.ts';
import { FakeToolRunner } from '../../../support/fake-tool-runner.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { VirtualClock, settle } from '../../proxy/virtual-clock.ts';
import { FakeMounts } from './fake-mounts.ts';

const podsPath = '/api/v1/namespaces/default/pods';
const stepMs = 250;
const random = (): number => 0.5;

/** A call of the agent to the API server, and whether it was done. */
export interface Death {
  readonly phase: 'before' | 'after';
  readonly call: string;
}

/** The whole kubelet on a runtime and an API server in memory, with time that a test moves; it can die at any call to the API server. */
export class AgentLab {
  readonly clock = new VirtualClock();
  readonly folder = ownFolder('switchyard-agent');
  readonly api = new FakeApiServer();
  readonly fake: FakeRuntime;
  readonly #mounts = new FakeMounts();
  #stop = new AbortController();
  #agent: Promise<void> = Promise.resolve();

  constructor() {
    this.clock.setDate(Date.UTC(2026, 0, 1));
    this.fake = new FakeRuntime({ clock: this.clock, folder: this.folder });
    this.fake.images.add({ name: 'docker.io/library/busybox:1' });
    mkdirSync(this.#manifests);
  }

  /** With what each namespace has. */
  async up(): Promise<void> {
    await this.api.up();
    this.api.givesTokens = true;
    const data = { 'ca.crt': 'certificate' };
    this.put('configmaps', { metadata: { name: 'kube-root-ca.crt' }, data });
  }

  get #manifests(): string {
    return join(this.folder, 'manifests');
  }

  /** Puts an object into the namespace default. */
  put(resource: string, object: RawObject): RawObject {
    return this.api.put(`/api/v1/namespaces/default/${resource}`, object);
  }

  pod(name: string): RawObject | undefined {
    return this.api.object(`${podsPath}/${name}`);
  }

  isReady(name: string): boolean {
    type Status = { readonly conditions?: readonly { type: string; status: string }[] };
    const { conditions = [] } = (this.pod(name)?.['status'] ?? {}) as Status;
    return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
  }

  /** As `kubectl delete` does; the object goes when the kubelet says so. */
  delete(name: string): void {
    const pod = this.pod(name);
    if (pod === undefined) throw new Error(`no pod ${name}`);
    const deletionTimestamp = new Date(this.clock.now()).toISOString();
    const leaving = { ...pod.metadata, deletionTimestamp, deletionGracePeriodSeconds: 5 };
    this.put('pods', { ...pod, metadata: leaving });
  }

  /** Writes a manifest, or removes it. */
  manifest(name: string, pod: object | undefined): void {
    const path = join(this.#manifests, `${name}.yaml`);
    if (pod === undefined) rmSync(path);
    else writeFileSync(path, JSON.stringify(pod));
  }

  /** How often the runtime started a pod's sandbox and containers, by name. */
  get starts(): Readonly<Record<string, number>> {
    const found: Record<string, number> = {};
    for (const { what, name } of this.fake.tasks.all) {
      if (what === 'start') found[name] = (found[name] ?? 0) + 1;
    }
    return found;
  }

  begin(): void {
    this.#stop = new AbortController();
    this.#agent = this.#run(this.#stop.signal);
  }

  /**
   * Lets the agent die at its call of this number, which is done or not, and never answered: nothing it does afterwards reaches anybody. That a
   * read was done is no other case than that it was not: only writes count then. What is given says at which call it died.
   */
  dieAt(index: number, phase: Death['phase']): () => Death | undefined {
    let death: Death | undefined;
    let seen = 0;
    this.api.cut = (request) => {
      if (death !== undefined) return 'before';
      if (phase === 'after' && request.method === 'GET') return undefined;
      if (seen++ !== index) return undefined;
      death = { phase, call: callText(request) };
      this.fake.log.down = true;
      return phase;
    };
    return () => death;
  }

  /** Ends the agent; what it has begun is ended too. */
  async goAway(): Promise<void> {
    await this.#end();
  }

  /** Another agent follows the one that is dead, with nothing but what runtime, API server and disk have. */
  async takeOver(): Promise<void> {
    await this.#end();
    this.api.cut = undefined;
    this.fake.log.down = false;
    this.begin();
  }

  /** Moves time until it is so. */
  async pass(what: string, is: () => boolean, mostSeconds = 60): Promise<void> {
    for (let ms = 0; ms <= mostSeconds * 1000; ms += stepMs) {
      await this.#quiet(is);
      if (is()) return;
      await this.clock.advance(stepMs);
    }
    throw new Error(`never: ${what}; ${this.#picture()}`);
  }

  /** Lets time go by. */
  async letGoBy(seconds: number): Promise<void> {
    const step = 5;
    for (let past = 0; past < seconds; past += step) {
      await this.#quiet(() => false);
      await this.clock.advance(step * 1000);
    }
  }

  async close(): Promise<void> {
    await this.#end();
    this.fake.reboot();
    await this.api.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Until nothing more comes of what has happened: time goes by when everybody waits for it, disk and sockets included. */
  async #quiet(is: () => boolean): Promise<void> {
    let before = -1;
    for (let same = 0; same < 4 && !is();) {
      await settle();
      const now = this.fake.log.calls.length + this.api.requests.length;
      same = now === before && !isBusy() ? same + 1 : 0;
      before = now;
    }
  }

  async #end(): Promise<void> {
    this.#stop.abort();
    const state = { isOver: false };
    const ending = this.#agent
      .catch(() => {})
      .finally(() => {
        state.isOver = true;
      });
    while (!state.isOver) {
      await this.#quiet(() => state.isOver);
      await this.clock.advance(stepMs);
    }
    await ending;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, folder, fake } = this;
    const nodeName = 'n1';
    const config = this.#config();
    const cri = fake.connect();
    const options = {
      config,
      configz: {},
      hostname: nodeName,
      version: '0.0.0',
      adminSocket: '',
      tools: new FakeToolRunner(),
      connect: connectDirectly({ clock, random, env: {}, runProgram }),
      clock,
      random,
      log: silentLog,
    };
    const metrics = new KubeletMetrics({ version: '0.0.0', nodeName });
    const api = await openApiSide(options, nodeName, metrics);
    let pods: PodParts | undefined;
    const relistedAtMs = (): number | undefined => pods?.relistedAtMs;
    const base: KubeletBase = {
      ...options,
      nodeName,
      nodeIps: ['10.0.0.1'],
      machine: await readMachineFacts(),
      rootDir: await prepareRoot(config.rootDir, this.#mounts, silentLog, signal),
      containerLogsDir: join(folder, 'links'),
      mounts: this.#mounts,
      cri,
      health: new RuntimeHealth({ cri, clock, log: silentLog, relistedAtMs }),
      events: new KubeletEvents({
        node: nodeName,
        qps: 50,
        burst: 100,
        clock,
        log: silentLog,
        random,
        api: api?.objects('v1', 'events'),
      }),
      api,
      metrics,
      credentialProviders: undefined,
    };
    const onOpened = (opened: PodParts): void => {
      pods = opened;
    };
    try {
      await runParts(base, onOpened, signal);
    } finally {
      await api?.close();
    }
  }

  #config(): KubeletConfig {
    const kubeconfig = join(this.folder, 'kubeconfig');
    const cluster = { server: this.api.url };
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': 'c',
        clusters: [{ name: 'c', cluster }],
        users: [{ name: 'u', user: {} }],
        contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      }),
    );
    const text = JSON.stringify({
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      staticPodPath: this.#manifests,
      podLogsDir: join(this.folder, 'logs'),
      cgroupsPerQOS: false,
      enforceNodeAllocatable: [],
      enableServer: false,
      healthzPort: 0,
      makeIPTablesUtilChains: false,
      clusterDNS: ['10.96.0.10'],
      evictionHard: {},
    });
    const argv = [`--kubeconfig=${kubeconfig}`, `--root-dir=${join(this.folder, 'kubelet')}`];
    const { flags } = parseFlags(kubeletFlags, argv);
    const files = [{ path: join(this.folder, 'kubelet.json'), text }];
    return kubeletConfig(readKubeletFiles(files, kubeletFlags, flags).flags);
  }

  #picture(): string {
    const named = ['web', 'static-n1'].map((name) => this.pod(name)?.['status']);
    const calls = this.fake.log.changes.slice(-8);
    return JSON.stringify({ named, calls, asked: this.api.requests.slice(-8).map(callText) });
  }
}

/** Whether this process has asked the system for something that has not come yet. */
function isBusy(): boolean {
  return process.getActiveResourcesInfo().some((name) => /Req|Connect|Write/.test(name));
}

/** `PATCH /api/v1/…`, with what kind of list it is. */
export function callText({ method, path, query }: FakeRequest): string {
  return `${query['watch'] === 'true' ? 'watch' : method} ${path}`;
}
