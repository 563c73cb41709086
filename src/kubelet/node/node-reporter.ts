import type { Clock } from '../../clock.ts';
import { errorText, SwitchyardError } from '../../error.ts';
import type { DiskSpace } from '../../host/disk-space.ts';
import type { MachineFacts } from '../../host/machine-facts.ts';
import type { ApiClient } from '../../informer/api-client.ts';
import { Wakeup } from '../../informer/wakeup.ts';
import { versionNumber } from '../../informer/object-versions.ts';
import type { Log } from '../../telemetry/log.ts';
import type { ObjectAnswer, ObjectApi } from '../api/object-api.ts';
import { serverVersion } from '../api/server-version.ts';
import type { PressureWatch } from './pressure-watch.ts';
import { nodeCapacity } from './capacity.ts';
import type { NodeCapacity } from './capacity.ts';
import { reportedVersion } from './kubelet-version.ts';
import { NodeConditions } from './node-conditions.ts';
import type { NodeReadings } from './node-readings.ts';
import type { NodeEvents } from '../ports/node-events.ts';
import { conditionEvents } from './condition-events.ts';
import { newNode, nodePatch } from './node-object.ts';
import type { NodeCondition, NodeObject, NodeSettings, NodeStatus } from './node-object.ts';
import { nodeStatus, nodeStatusPatch } from './node-status.ts';
import type { RuntimeHealth } from './runtime-health.ts';

export interface NodeReporterOptions {
  /** Of nodes. */
  readonly api: Pick<ObjectApi, 'get' | 'send'>;
  /** Asked for its version. */
  readonly client: Pick<ApiClient, 'get'>;
  readonly name: string;
  readonly settings: NodeSettings;
  /** Says which pressures there are. */
  readonly pressures: PressureWatch;
  readonly ips: readonly string[];
  /** Where the kubelet answers; 0: nowhere. */
  readonly port: number;
  readonly machine: MachineFacts;
  /** Read anew for each status. */
  readonly read: () => Promise<Omit<NodeReadings, 'problems'>>;
  /** Why the node is not ready besides what the runtime is like. */
  readonly problems?: () => readonly string[];
  readonly health: Pick<RuntimeHealth, 'problems' | 'version' | 'images' | 'abilities'>;
  readonly events: NodeEvents;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
}

const firstRetryMs = 100;
const lastRetryMs = 7000;
const mostTries = 5;
/** A node that is starting is told of as soon as it is ready. */
const startingMs = 120_000;
const startingStepMs = 100;
const updateJitter = 0.04;

/**
 * The Node of this machine: registers it, keeps its status true, and tells of it when something has changed, or now and then (Kubernetes:
 * Nodes). A Node that somebody deletes stays deleted until the kubelet is started again, as with upstream's.
 */
export class NodeReporter {
  readonly #options: NodeReporterOptions;
  readonly #conditions: NodeConditions;
  readonly #path: string;
  readonly #news = new Wakeup();
  #node: NodeObject | undefined;
  /** What the watch gave last. */
  #watched: NodeObject | undefined;
  #disk: DiskSpace | undefined;
  #judged: readonly NodeCondition[] = [];
  #serverVersion: string | undefined;
  #reportedAtMs = Number.NEGATIVE_INFINITY;
  #reportEveryMs: number;
  #wasReady = false;
  #lastFailure = '';

  constructor(options: NodeReporterOptions) {
    this.#options = options;
    this.#conditions = new NodeConditions(options.pressures);
    this.#path = `/api/v1/nodes/${options.name}`;
    this.#reportEveryMs = options.settings.statusReportMs;
  }

  /** As the API had it last; undefined: it is not registered yet. */
  get node(): NodeObject | undefined {
    return this.#node;
  }

  /** As they were judged last, whether or not the API has been told. */
  get conditions(): readonly NodeCondition[] {
    return this.#judged;
  }

  /** Reads the Node now: what a watch will tell of in a moment is known then. Throws where the API does not answer. */
  async refresh(signal: AbortSignal): Promise<void> {
    const node = nodeOf(await this.#options.api.get(this.#path, signal));
    if (this.#node !== undefined) this.#know(node);
  }

  /** What pods may use of the machine, as of the last reading. */
  get capacity(): NodeCapacity {
    const { machine, settings } = this.#options;
    return nodeCapacity(machine, this.#disk, settings);
  }

  /**
   * A version that came by a watch: what others do to the Node is seen by that. A watch goes back where history did, as after a restore of
   * the API server's store: what was known before is no more then.
   */
  seen(node: NodeObject): void {
    const wentBack = this.#watched !== undefined && isOlder(node, this.#watched);
    this.#watched = node;
    if (this.#node === undefined) return;
    if (wentBack) this.#node = node;
    else this.#know(node);
  }

  /** There is something to tell of at once. */
  ring(): void {
    this.#news.ring();
  }

  /** Registers, then reports until `signal` aborts. Rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, events, random, settings } = this.#options;
    events.tell('Normal', 'Starting', 'Starting kubelet.');
    await this.#register(signal);
    const startedAtMs = clock.monotonic();
    while (!signal.aborted) {
      await this.#report(signal);
      const isStarting = !this.#wasReady && clock.monotonic() - startedAtMs < startingMs;
      const usualMs = settings.statusUpdateMs * (1 + random() * updateJitter);
      await this.#news.wait(clock, isStarting ? startingStepMs : usualMs, signal);
    }
  }

  async #register(signal: AbortSignal): Promise<void> {
    let retryMs = firstRetryMs;
    while (!signal.aborted && this.#node === undefined) {
      await this.#attempt('registered', signal, async () => {
        await this.#readServerVersion(signal);
        this.#node = this.#options.settings.register
          ? await this.#registered(signal)
          : nodeOf(await this.#options.api.get(this.#path, signal));
      });
      if (this.#node !== undefined) return;
      await this.#options.clock.sleep(retryMs, signal);
      retryMs = Math.min(retryMs * 2, lastRetryMs);
    }
  }

  async #registered(signal: AbortSignal): Promise<NodeObject> {
    const { api, log, name, settings, ips, machine } = this.#options;
    const status = await this.#status({});
    const node = newNode(name, settings, status, ips);
    const made = await api.send('create', '/api/v1/nodes', node, signal);
    if (made.object !== undefined) {
      log.info({ node: name }, `node ${name} is registered`);
      this.#tellEvents({}, status);
      return made.object;
    }
    if (made.status !== 409) return nodeOf(made);
    const found = nodeOf(await api.get(this.#path, signal));
    const patch = nodePatch(found, machine.architecture, settings.externalCloud, ips);
    log.info({ node: name }, `node ${name} was registered before`);
    if (patch === undefined) return found;
    return nodeOf(await api.send('strategicMerge', this.#path, patch, signal));
  }

  /** Once told, or found to be told already. */
  async #report(signal: AbortSignal): Promise<void> {
    for (let tries = 0; tries < mostTries && !signal.aborted; tries += 1) {
      const done = await this.#attempt('told of', signal, async () => {
        if (tries > 0 || this.#node === undefined) {
          this.#node = nodeOf(await this.#options.api.get(this.#path, signal));
        }
        await this.#tell(this.#node, signal);
      });
      if (done) return;
    }
  }

  async #tell(node: NodeObject, signal: AbortSignal): Promise<void> {
    const { api, clock, random, settings } = this.#options;
    const isDue = clock.monotonic() - this.#reportedAtMs >= this.#reportEveryMs;
    if (isDue) await this.#readServerVersion(signal);
    const before = node.status ?? {};
    const wanted = await this.#status(before);
    const status = nodeStatusPatch(before, wanted, isDue);
    if (status !== undefined) {
      const answer = await api.send('strategicMerge', `${this.#path}/status`, { status }, signal);
      this.#tellEvents(before, wanted);
      this.#know(nodeOf(answer));
      this.#reportedAtMs = clock.monotonic();
      // in the middle what was asked for: nodes that start together must not report together for ever
      this.#reportEveryMs = settings.statusReportMs * (0.5 + random());
    }
    this.#wasReady ||= wanted.conditions?.at(-1)?.status === 'True';
  }

  /** Answers and the watch overtake each other. */
  #know(node: NodeObject): void {
    if (this.#node === undefined || !isOlder(node, this.#node)) this.#node = node;
  }

  #tellEvents(before: NodeStatus, wanted: NodeStatus): void {
    const { events, machine, name } = this.#options;
    const bootId = before.nodeInfo?.bootID ?? '';
    if (bootId !== '' && bootId !== machine.bootId) {
      const message = `Node ${name} has been rebooted, boot id: ${machine.bootId}`;
      events.tell('Warning', 'Rebooted', message);
    }
    for (const reason of conditionEvents(before.conditions ?? [], wanted.conditions ?? [])) {
      events.tell('Normal', reason, `Node ${name} status is now: ${reason}`);
    }
  }

  async #status(before: NodeStatus): Promise<NodeStatus> {
    const { clock, health, machine, name, ips, port, read, settings } = this.#options;
    const { problems = () => [] } = this.#options;
    const readings = { ...(await read()), problems: [...health.problems, ...problems()] };
    this.#disk = readings.disk;
    const now = { nowMs: clock.now(), monotonicMs: clock.monotonic() };
    const conditions = this.#conditions.judge(readings, before.conditions ?? [], now);
    this.#judged = conditions;
    const input = {
      name,
      ips,
      port,
      machine,
      capacity: this.capacity,
      conditions,
      runtimeVersion: health.version,
      kubeletVersion: reportedVersion(this.#serverVersion),
      images: health.images,
      abilities: health.abilities,
    };
    return nodeStatus(input, settings);
  }

  async #readServerVersion(signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#options;
    this.#serverVersion = await serverVersion(client, clock, signal);
  }

  /** Whether it succeeded; why not, is in the log. */
  async #attempt(what: string, signal: AbortSignal, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      this.#lastFailure = '';
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      const { log, name } = this.#options;
      const reason = errorText(error);
      const text = `node ${name} is not ${what} yet: ${reason}`;
      if (reason === this.#lastFailure) log.debug({ node: name }, text);
      else log.warn({ node: name }, text);
      this.#lastFailure = reason;
      return false;
    }
  }
}

function isOlder(a: NodeObject, b: NodeObject): boolean {
  const [one, other] = [a, b].map(({ metadata }) => versionNumber(metadata.resourceVersion ?? ''));
  return one !== undefined && other !== undefined && one < other;
}

function nodeOf({ status, object, reason }: ObjectAnswer): NodeObject {
  if (object !== undefined) return object;
  throw new SwitchyardError('source', reason === '' ? `answered ${status}` : reason, {
    retryable: true,
  });
}
