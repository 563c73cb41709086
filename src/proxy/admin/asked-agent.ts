import process from 'node:process';
import type { Draining } from '../../backends/ipvs/drains.ts';
import type { Clock } from '../../clock.ts';
import type { ProxyConfig } from '../../config/proxy-config.ts';
import type { AskedFamily } from '../../graph/journey.ts';
import type { Family } from '../../ip/address.ts';
import type { ConfigState } from '../../telemetry/config-metrics.ts';
import type { OpenMode } from '../open-mode.ts';
import type { FamilyParts } from '../family.ts';
import type { ProxyHealth } from '../health.ts';
import type { NodeState } from '../node-state.ts';
import type { ObjectInformers } from '../object-informers.ts';
import type { ObjectSources } from '../sources.ts';
import type { DesiredAnswer } from './desired.ts';
import type { AdminView } from './handler.ts';
import { statusOf } from './status.ts';
import type { StatusDocument } from './status-document.ts';

/** The parts of an agent that are asked; some come while it starts. */
export interface AgentParts {
  readonly config: ProxyConfig;
  readonly version: string;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly health: ProxyHealth;
  readonly state: NodeState;
  readonly configuration: () => ConfigState | undefined;
}

/** Answers for an agent. */
export class AskedAgent implements AdminView {
  readonly #parts: AgentParts;
  readonly #startedMs: number;
  readonly #draining = new Map<Family, Draining>();
  #starting: string | undefined = 'the tools and the kernel are being looked at';
  #families: readonly FamilyParts[] = [];
  #relay: OpenMode['relay'];
  #sources: ObjectSources | undefined;
  #informers: ObjectInformers | undefined;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#startedMs = parts.clock.now();
  }

  get version(): string {
    return this.#parts.version;
  }

  /** The mode is at work. */
  opened(families: readonly FamilyParts[], relay: OpenMode['relay']): void {
    this.#families = families;
    this.#relay = relay;
    this.#starting = undefined;
  }

  /** Where objects come from. */
  informed(sources: ObjectSources, informers: ObjectInformers): void {
    this.#sources = sources;
    this.#informers = informers;
  }

  draining(family: Family, draining: Draining): void {
    this.#draining.set(family, draining);
  }

  status(): StatusDocument {
    const { config, version, nodeName, clock, health, state } = this.#parts;
    const sources = this.#sources;
    const lists = this.#informers?.lists ?? [];
    const facts = {
      version,
      pid: process.pid,
      config,
      nodeName,
      nodeIPs: state.nodeIPs(),
      startedMs: this.#startedMs,
      configuration: this.#parts.configuration(),
      health: health.report(),
      server: sources?.server,
      lists: lists.map((each) => ({ ...each, trouble: sources?.trouble?.(each.name) ?? null })),
      starting: this.#starting,
      families: this.#families.map(({ family, record, pipeline }) => ({
        family,
        syncs: record.facts,
        programming: pipeline.programming.report(),
        draining: this.#draining.get(family),
      })),
      listeners: this.#relay?.stats(),
    };
    return statusOf(facts, clock);
  }

  asked(family: Family): AskedFamily | undefined {
    const written = this.#partsOf(family)?.record.facts.written;
    if (written === undefined) return undefined;
    const { servicePorts, skipped } = written.changes;
    return { graph: written.graph, servicePorts, skipped };
  }

  desired(family: Family): DesiredAnswer | undefined {
    const parts = this.#partsOf(family);
    const state = parts?.desired();
    if (parts === undefined || state === undefined) return undefined;
    const { syncs, pendingSinceMs } = parts.record.facts;
    return { state, syncs, isSettled: pendingSinceMs === undefined };
  }

  #partsOf(family: Family): FamilyParts | undefined {
    return this.#families.find((each) => each.family === family);
  }
}
