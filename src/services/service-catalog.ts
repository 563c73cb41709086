import { isDeepStrictEqual } from 'node:util';
import { compact } from '../compact.ts';
import { objectKey } from '../informer/kind.ts';
import type { KubeObject } from '../informer/kind.ts';
import { familyLabel, parseAddress } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import { chooseEndpoints } from './choose-endpoints.ts';
import type { EndpointSliceObject, ServiceObject } from './objects.ts';
import { servicePortsOf } from './service-ports.ts';
import type { ServiceName, ServicePort, ServicePortKey } from './service-port.ts';
import { mergeSlices, portKey } from './slice-cache.ts';

export interface CatalogOptions {
  readonly family: Family;
  readonly nodeName: string;
  /** Label topology.kubernetes.io/zone of the node; undefined where absent. */
  readonly zone: string | undefined;
}

/** Something in an object that cannot be used; the rest of it is. */
export interface CatalogProblem {
  /** `Service default/web` */
  readonly object: string;
  readonly reason: string;
  /** Where the object stands, for those from manifests: `web.yaml: document 2`. */
  readonly place?: string;
}

/** What changed since the last call. */
export interface CatalogChanges {
  /** Service ports that were added, changed or removed. */
  readonly changed: ReadonlySet<ServicePortKey>;
  /** All service ports: a live view, valid until the next call. */
  readonly servicePorts: ReadonlyMap<ServicePortKey, ServicePort>;
  readonly changedServices: ReadonlySet<ServiceName>;
  /** Services without a port in this family, and why: a live view. */
  readonly skipped: ReadonlyMap<ServiceName, string>;
  /** A UDP service port, its endpoints or its addresses changed: connection tracking may be stale. */
  readonly udpChanged: boolean;
  /** When the changes of endpoints were triggered, in ms since the epoch (for the latency metric). */
  readonly triggerTimesMs: readonly number[];
  readonly problems: readonly CatalogProblem[];
}

/** Most Services have one slice, and one of the other family none: lists cost less than maps. */
interface Entry {
  service: ServiceObject | undefined;
  slices: readonly EndpointSliceObject[];
  ports: readonly ServicePortKey[];
}

/** Of one Service between two takes: a sync that hangs must not fill memory. */
const mostTimes = 100;

/**
 * Services and EndpointSlices of one family → service ports with the endpoints chosen for this node.
 * Only Services that something changed for are computed again; a service port that comes out equal
 * keeps its identity and does not count as changed.
 */
export class ServiceCatalog {
  readonly #options: CatalogOptions;
  readonly #entries = new Map<ServiceName, Entry>();
  readonly #ports = new Map<ServicePortKey, ServicePort>();
  readonly #skipped = new Map<ServiceName, string>();
  readonly #pendingServices = new Set<ServiceName>();
  readonly #pendingEndpoints = new Set<ServiceName>();
  readonly #sliceOwners = new Map<string, ServiceName>();
  readonly #triggers = new Map<ServiceName, number[]>();
  #zone: string | undefined;

  constructor(options: CatalogOptions) {
    this.#options = options;
    this.#zone = options.zone;
  }

  /** Services and services' endpoints that changed since the last `take`. */
  get pending(): { readonly services: number; readonly endpoints: number } {
    return { services: this.#pendingServices.size, endpoints: this.#pendingEndpoints.size };
  }

  /** Their names, each once. */
  get waiting(): ReadonlySet<ServiceName> {
    return new Set([...this.#pendingServices, ...this.#pendingEndpoints]);
  }

  /** Answers whether anything is pending for the Service afterwards; an equal object changes nothing. */
  setService(service: ServiceObject): boolean {
    const name = objectKey(service.meta) as ServiceName;
    const entry = this.#entry(name);
    if (isDeepStrictEqual(entry.service, service)) return false;
    entry.service = service;
    this.#pendingServices.add(name);
    return true;
  }

  /** `key` is `ns/name`. */
  removeService(key: string): boolean {
    const name = key as ServiceName;
    const entry = this.#entries.get(name);
    if (entry?.service === undefined) return false;
    entry.service = undefined;
    this.#pendingServices.add(name);
    return true;
  }

  /** Slices of the other family and slices without a Service's name are no change. */
  setSlice(slice: EndpointSliceObject): boolean {
    const key = objectKey(slice.meta);
    const owner = `${slice.meta.namespace}/${slice.serviceName}` as ServiceName;
    const before = this.#sliceOwners.get(key);
    const moved = before !== undefined && before !== owner && this.removeSlice(key);
    if (slice.serviceName === '' || slice.addressType !== familyLabel(this.#options.family)) {
      return this.removeSlice(key) || moved;
    }
    const entry = this.#entry(owner);
    const at = entry.slices.findIndex(({ meta }) => meta.name === slice.meta.name);
    if (at >= 0 && isDeepStrictEqual(entry.slices[at], slice)) return moved;
    entry.slices = at < 0 ? compact([...entry.slices, slice]) : entry.slices.with(at, slice);
    this.#sliceOwners.set(key, owner);
    this.#pendingEndpoints.add(owner);
    if (slice.triggerTimeMs !== undefined) this.#remember(owner, slice.triggerTimeMs);
    return true;
  }

  /** `key` is `ns/name` of the slice. */
  removeSlice(key: string): boolean {
    const owner = this.#sliceOwners.get(key);
    if (owner === undefined) return false;
    const entry = this.#entry(owner);
    entry.slices = compact(entry.slices.filter(({ meta }) => objectKey(meta) !== key));
    this.#sliceOwners.delete(key);
    this.#triggers.delete(owner);
    this.#pendingEndpoints.add(owner);
    return true;
  }

  /** The node's zone changed: every service port is chosen again. */
  setZone(zone: string | undefined): boolean {
    if (zone === this.#zone) return false;
    this.#zone = zone;
    for (const name of this.#entries.keys()) this.#pendingEndpoints.add(name);
    return true;
  }

  /** Brings the service ports up to date and says what changed. */
  take(): CatalogChanges {
    const changed = new Set<ServicePortKey>();
    const problems: CatalogProblem[] = [];
    const names = new Set([...this.#pendingServices, ...this.#pendingEndpoints]);
    let udpChanged = false;
    for (const name of names) {
      for (const key of this.#recompute(name, problems)) {
        changed.add(key);
        udpChanged ||= key.endsWith('/UDP');
      }
    }
    const triggerTimesMs = [...this.#triggers.values()].flat();
    this.#pendingServices.clear();
    this.#pendingEndpoints.clear();
    this.#triggers.clear();
    return {
      changed,
      servicePorts: this.#ports,
      changedServices: names,
      skipped: this.#skipped,
      udpChanged,
      triggerTimesMs,
      problems,
    };
  }

  /** Computes one Service; answers the keys that came out different. */
  #recompute(name: ServiceName, problems: CatalogProblem[]): readonly ServicePortKey[] {
    const entry = this.#entry(name);
    const before = new Set(entry.ports);
    const changed: ServicePortKey[] = [];
    const ports = this.#portsOf(name, entry, problems);
    for (const port of ports) {
      before.delete(port.key);
      if (isDeepStrictEqual(this.#ports.get(port.key), port)) continue;
      this.#ports.set(port.key, port);
      changed.push(port.key);
    }
    for (const key of before) this.#ports.delete(key);
    entry.ports = compact(ports.map((port) => port.key));
    if (entry.service === undefined && entry.slices.length === 0) this.#entries.delete(name);
    return [...changed, ...before];
  }

  #portsOf(name: ServiceName, entry: Entry, problems: CatalogProblem[]): readonly ServicePort[] {
    this.#skipped.delete(name);
    if (entry.service === undefined) return [];
    const { family, nodeName } = this.#options;
    const node = { nodeName, zone: this.#zone };
    const found = servicePortsOf(entry.service, family);
    if (found.skipped !== undefined) this.#skipped.set(name, found.skipped);
    if (this.#pendingServices.has(name)) {
      for (const reason of found.problems)
        problems.push(problem(`Service ${name}`, reason, entry.service));
    }
    if (found.ports.length === 0) return [];
    if (this.#pendingEndpoints.has(name) || entry.ports.length === 0)
      problems.push(...unusableAddresses(entry.slices));
    const merged = mergeSlices(entry.slices, family, nodeName);
    const unique = new Map(found.ports.map((port) => [port.key, port]));
    return [...unique.values()].map((port) => {
      const all = merged.get(portKey(port.portName, port.protocol)) ?? [];
      return { ...port, endpoints: chooseEndpoints(all, port, node) };
    });
  }

  #entry(name: ServiceName): Entry {
    const known = this.#entries.get(name);
    if (known !== undefined) return known;
    const entry: Entry = { service: undefined, slices: compact([]), ports: compact([]) };
    this.#entries.set(name, entry);
    return entry;
  }

  #remember(name: ServiceName, timeMs: number): void {
    const times = this.#triggers.get(name);
    if (times === undefined) this.#triggers.set(name, [timeMs]);
    else if (times.length < mostTimes) times.push(timeMs);
  }
}

function problem(name: string, reason: string, { meta: { place } }: KubeObject): CatalogProblem {
  return { object: name, reason, ...(place === undefined ? {} : { place }) };
}

function unusableAddresses(slices: Iterable<EndpointSliceObject>): readonly CatalogProblem[] {
  return [...slices].flatMap((slice) =>
    slice.endpoints.flatMap(({ addresses: [address] }, i) =>
      address === undefined || parseAddress(address) !== undefined
        ? []
        : [
            problem(
              `EndpointSlice ${objectKey(slice.meta)}`,
              `endpoints[${i}].addresses[0]: ${JSON.stringify(address)} is not an IP address`,
              slice,
            ),
          ],
    ),
  );
}
