import { setTimeout as delay } from 'node:timers/promises';
import type { ControlPlane } from '../cluster/control-plane.ts';
import type { Ledger } from './ledger.ts';
import { frontendsOf, paths, pods, serviceManifest, sliceManifest } from './objects.ts';
import type {
  FrontendAnswers,
  Protocol,
  ServiceAnswer,
  SliceContent,
  SliceFamily,
} from './objects.ts';
import type { Random } from './random.ts';

const merge = 'application/merge-patch+json';
/** Gone frontends are asked for so long: what was removed must stay removed. */
const askedWhenGoneMs = 60_000;

/** A place for one Service: it is made, changed and deleted there again and again. */
interface Slot {
  readonly name: string;
  readonly protocol: Protocol;
  readonly families: readonly SliceFamily[];
  readonly externalIP: string | undefined;
  service: ServiceAnswer | undefined;
  /** By name of the EndpointSlice. */
  readonly slices: Map<string, SliceContent>;
  frontends: ReadonlyMap<string, FrontendAnswers>;
  busy: boolean;
}

/** A frontend that may be asked. */
export interface Target extends FrontendAnswers {
  readonly service: string;
  /** Since when nobody should answer; undefined while its Service is there. */
  readonly goneMs: number | undefined;
}

/** Makes, changes and deletes Services and EndpointSlices through the API, and records what each change means. */
export class Churner {
  readonly #plane: ControlPlane;
  readonly #ledger: Ledger;
  readonly #random: Random;
  readonly #slots: readonly Slot[];
  readonly #targets = new Map<string, Target>();
  /** Changes the API server made. */
  changes = 0;
  /** Requests it did not answer with success. */
  failures = 0;

  constructor(plane: ControlPlane, ledger: Ledger, random: Random, slots: number) {
    this.#plane = plane;
    this.#ledger = ledger;
    this.#random = random;
    this.#slots = Array.from({ length: slots }, (_, at) => newSlot(at));
  }

  /** Changes at a steady rate until `signal` aborts; waits for what is under way. */
  async run(perSecond: number, signal: AbortSignal): Promise<void> {
    const running = new Set<Promise<void>>();
    let dueMs = performance.now();
    while (!signal.aborted) {
      const slot = this.#random.pick(this.#slots);
      if (!slot.busy) {
        const change = this.#changeOnce(slot);
        running.add(change);
        void change.finally(() => running.delete(change));
        dueMs += 1000 / perSecond;
      }
      await delay(Math.max(1, dueMs - performance.now()));
      // A stall is not made up for by a burst.
      dueMs = Math.max(dueMs, performance.now() - 1000);
    }
    await Promise.all(running);
  }

  /** Deletes everything it made. */
  async clear(): Promise<void> {
    for (const slot of this.#slots) {
      for (const name of slot.slices.keys()) await this.#deleteSlice(slot, name);
      if (slot.service !== undefined) await this.#deleteService(slot);
    }
  }

  /** What may be asked now. */
  targets(): readonly Target[] {
    const oldestMs = performance.now() - askedWhenGoneMs;
    for (const [key, { goneMs }] of this.#targets) {
      if (goneMs !== undefined && goneMs < oldestMs) this.#targets.delete(key);
    }
    return [...this.#targets.values()];
  }

  async #changeOnce(slot: Slot): Promise<void> {
    slot.busy = true;
    try {
      await this.#choose(slot);
    } finally {
      slot.busy = false;
    }
  }

  async #choose(slot: Slot): Promise<void> {
    const random = this.#random;
    const dice = random.next();
    const [some] = slot.slices.keys();
    if (slot.service === undefined) {
      if (some !== undefined && dice < 0.5) return this.#deleteSlice(slot, some);
      return this.#createService(slot);
    }
    if (dice < 0.15) return this.#deleteService(slot);
    if (dice < 0.35) return this.#patchService(slot);
    if (some === undefined || dice < 0.5) return this.#writeSlice(slot, this.#newSliceName(slot));
    const name = random.pick([...slot.slices.keys()]);
    return dice < 0.6 ? this.#deleteSlice(slot, name) : this.#writeSlice(slot, name);
  }

  async #createService(slot: Slot): Promise<void> {
    const { name, protocol, families, externalIP } = slot;
    const spec = {
      ipFamilies: families,
      ipFamilyPolicy: families.length > 1 ? 'RequireDualStack' : 'SingleStack',
      ...(externalIP === undefined ? {} : { externalIPs: [externalIP] }),
      ...this.#typeSpec(),
      ...this.#affinitySpec(),
    };
    await this.#serviceCall(slot, 'POST', paths.services, serviceManifest(name, protocol, spec));
  }

  async #patchService(slot: Slot): Promise<void> {
    const spec = this.#random.chance(0.5) ? this.#typeSpec() : this.#affinitySpec();
    await this.#serviceCall(slot, 'PATCH', `${paths.services}/${slot.name}`, { spec }, merge);
  }

  #typeSpec(): object {
    if (this.#random.chance(0.5)) return { type: 'ClusterIP', externalTrafficPolicy: null };
    return {
      type: 'NodePort',
      externalTrafficPolicy: this.#random.chance(0.4) ? 'Local' : 'Cluster',
    };
  }

  #affinitySpec(): object {
    if (this.#random.chance(0.6)) return { sessionAffinity: 'None', sessionAffinityConfig: null };
    const timeoutSeconds = this.#random.pick([10, 60, 10_800]);
    return { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds } } };
  }

  async #serviceCall(slot: Slot, ...request: Request): Promise<void> {
    const sentMs = performance.now();
    const made = await this.#call(slot, request);
    if (made === undefined) return;
    slot.service = made as ServiceAnswer;
    this.#settle(slot, sentMs);
  }

  async #deleteService(slot: Slot): Promise<void> {
    const sentMs = performance.now();
    const done = await this.#call(slot, ['DELETE', `${paths.services}/${slot.name}`]);
    if (done === undefined) return;
    slot.service = undefined;
    this.#settle(slot, sentMs);
  }

  /** Many have few endpoints; those of three slices have enough for chains of their own. */
  #newSliceName(slot: Slot): string {
    return sliceName(slot, this.#random.pick(slot.families), this.#random.pick([0, 0, 1, 2]));
  }

  async #writeSlice(slot: Slot, name: string): Promise<void> {
    const ready = this.#random.subset(pods, this.#random.pick([0, 0.5, 0.5, 1]));
    const content: SliceContent = {
      family: name.includes('-ipv6-') ? 'IPv6' : 'IPv4',
      port: 8080 + Number(name.at(-1)),
      ready,
      unready: this.#random.subset(pods.filter((pod) => !ready.includes(pod))),
    };
    const manifest = sliceManifest(name, slot.name, slot.protocol, content);
    const isThere = slot.slices.has(name);
    const path = isThere ? `${paths.slices}/${name}` : paths.slices;
    const sentMs = performance.now();
    const done = await this.#call(slot, [isThere ? 'PUT' : 'POST', path, manifest]);
    if (done === undefined) return;
    slot.slices.set(name, content);
    this.#settle(slot, sentMs);
  }

  async #deleteSlice(slot: Slot, name: string): Promise<void> {
    const sentMs = performance.now();
    const done = await this.#call(slot, ['DELETE', `${paths.slices}/${name}`]);
    if (done === undefined) return;
    slot.slices.delete(name);
    this.#settle(slot, sentMs);
  }

  /** undefined where it failed: then nobody knows what this Service's frontends do, and it goes. */
  async #call(slot: Slot, [method, path, value, type]: Request): Promise<unknown> {
    const { status, text } = await this.#plane.request(method, path, value, type);
    if (status >= 200 && status <= 299) {
      this.changes++;
      return JSON.parse(text);
    }
    this.failures++;
    process.stderr.write(`soak: ${method} ${path}: ${status} ${text.slice(0, 300)}\n`);
    const nowMs = performance.now();
    for (const { key } of slot.frontends.values()) {
      this.#ledger.record(key, undefined, nowMs - 11_000, nowMs);
      this.#targets.delete(key);
    }
    slot.frontends = new Map();
    await this.#reset(slot);
    return undefined;
  }

  async #reset(slot: Slot): Promise<void> {
    const slices = slot.families.flatMap((family) =>
      [0, 1, 2].map((at) => sliceName(slot, family, at)),
    );
    for (const name of slices) await this.#plane.request('DELETE', `${paths.slices}/${name}`);
    await this.#plane.request('DELETE', `${paths.services}/${slot.name}`);
    slot.service = undefined;
    slot.slices.clear();
  }

  /** Records what is different now. */
  #settle(slot: Slot, sentMs: number): void {
    const knownMs = performance.now();
    const { service, protocol, slices, name } = slot;
    const after = new Map(
      service === undefined
        ? []
        : frontendsOf(service, protocol, slices.values()).map((each) => [each.key, each]),
    );
    for (const [key, before] of slot.frontends) {
      if (after.has(key)) continue;
      this.#ledger.record(key, new Set([before.whenGone]), sentMs, knownMs);
      this.#targets.set(key, { ...before, service: name, goneMs: knownMs });
    }
    for (const [key, each] of after) {
      const before = slot.frontends.get(key);
      const nothing = new Set([each.whenGone]);
      if (before === undefined) this.#ledger.record(key, nothing, sentMs - 1, sentMs - 1);
      this.#ledger.record(key, each.answers, sentMs, knownMs);
      this.#targets.set(key, { ...each, service: name, goneMs: undefined });
    }
    slot.frontends = after;
  }
}

type Request = readonly [method: string, path: string, value?: unknown, type?: string];

function sliceName({ name }: Slot, family: SliceFamily, at: number): string {
  return `${name}-${family.toLowerCase()}-${at}`;
}

/** Of four slots two are IPv4, one is IPv6 and one has both; every third is UDP. */
function newSlot(at: number): Slot {
  const families = [['IPv4'], ['IPv6'], ['IPv4'], ['IPv4', 'IPv6']] as const;
  return {
    name: `churn-${at}`,
    protocol: at % 3 === 2 ? 'UDP' : 'TCP',
    families: families[at % 4] ?? ['IPv4'],
    externalIP: at % 8 === 0 ? `198.51.100.${at + 1}` : undefined,
    service: undefined,
    slices: new Map(),
    frontends: new Map(),
    busy: false,
  };
}
