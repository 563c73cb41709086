import { setTimeout as delay } from 'node:timers/promises';

import type { Clock } from '../../../src/clock.ts';
import type { FieldProblem, Kind, KubeObject } from '../../../src/informer/kind.ts';
import type { InformerHandler } from '../../../src/informer/source.ts';
import type { Log } from '../../../src/telemetry/log.ts';

/** A kind of our own: the informer core knows no other. */
export interface Widget extends KubeObject {
  readonly color: string;
}

export const WIDGETS = '/apis/example.com/v1/widgets';

export const widgetKind: Kind<Widget> = {
  apiVersion: 'example.com/v1',
  kind: 'Widget',
  resource: 'widgets',
  labelSelector: '!hidden',
  selects: (raw) => (raw as RawWidget).metadata?.labels?.['hidden'] === undefined,
  slim: (raw) => {
    const { metadata = {}, spec = {} } = raw as RawWidget;
    const problems: FieldProblem[] = [];
    if (typeof spec.size === 'string') {
      problems.push({ field: 'spec.size', reason: 'must be a number' });
    }
    const meta = {
      namespace: metadata.namespace ?? '',
      name: metadata.name ?? '',
      uid: metadata.uid ?? '',
      createdAtMs: 0,
    };
    if (typeof spec.color === 'string') return { object: { meta, color: spec.color }, problems };
    problems.push({ field: 'spec.color', reason: 'must be a string' });
    return { object: undefined, problems };
  },
};

/** A second kind, of the built-in sort without a namespace. */
export const nodeKind: Kind<Widget> = {
  ...widgetKind,
  apiVersion: 'v1',
  kind: 'Node',
  resource: 'nodes',
};

interface RawWidget {
  readonly metadata?: {
    readonly namespace?: string;
    readonly name?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly color?: unknown; readonly size?: unknown };
}

/** A widget as an informer has it. */
export function widget(name: string, color: string): Widget {
  return { meta: { namespace: 'default', name, uid: `uid-${name}`, createdAtMs: 0 }, color };
}

/** A widget as the API has it. */
export function rawWidget(name: string, color: unknown, metadata: object = {}) {
  return {
    apiVersion: 'example.com/v1',
    kind: 'Widget',
    metadata: { namespace: 'default', name, ...metadata },
    spec: { color },
  };
}

/** Tells in words what an informer told: `+a:red`, `a:red>blue`, `-a`, `synced`. */
export function recorder(): { readonly told: string[]; readonly handler: InformerHandler<Widget> } {
  const told: string[] = [];
  return {
    told,
    handler: {
      added: (object) => told.push(`+${object.meta.name}:${object.color}`),
      updated: (old, object) => told.push(`${old.meta.name}:${old.color}>${object.color}`),
      removed: (object) => told.push(`-${object.meta.name}`),
      synced: () => told.push('synced'),
    },
  };
}

/** A log that can be asked. */
export function recordingLog(): { readonly lines: string[]; readonly log: Log } {
  const lines: string[] = [];
  const write = (level: string) => (_fields: object, message: string) => {
    lines.push(`${level}: ${message}`);
  };
  const log: Log = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
  return { lines, log };
}

/** Time that only tests move. */
export class ManualClock implements Clock {
  /** Every sleep that was asked for. */
  readonly slept: number[] = [];
  #nowMs = 1_000_000;
  #monotonicMs = 0;
  readonly #sleepers = new Set<{ readonly atMs: number; readonly wake: () => void }>();

  /** How much longer the present sleeps take. */
  get sleeping(): readonly number[] {
    return Array.from(this.#sleepers, ({ atMs }) => atMs - this.#monotonicMs);
  }

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#monotonicMs;
  }

  /** As an operator or a time server does: only dates change. */
  setBack(ms: number): void {
    this.#nowMs -= ms;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return;
    this.slept.push(ms);
    await new Promise<void>((resolve) => {
      const sleeper = { atMs: this.#monotonicMs + ms, wake: resolve };
      this.#sleepers.add(sleeper);
      const stop = (): void => {
        this.#sleepers.delete(sleeper);
        resolve();
      };
      signal?.addEventListener('abort', stop, { once: true });
    });
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    this.#monotonicMs += ms;
    for (const sleeper of this.#sleepers) {
      if (sleeper.atMs > this.#monotonicMs) continue;
      this.#sleepers.delete(sleeper);
      sleeper.wake();
    }
  }

  /** To the end of the shortest sleep, if it is one of at most `ms`: back-off passes, watchdogs do not. */
  pass(ms = 30_000): void {
    const atMs = Math.min(...Array.from(this.#sleepers, (sleeper) => sleeper.atMs));
    if (atMs - this.#monotonicMs <= ms) this.advance(atMs - this.#monotonicMs);
  }
}

/** Waits for a condition, with a deadline; `meanwhile` is called between looks. */
export async function until(
  what: string,
  condition: () => boolean,
  meanwhile: () => void = () => undefined,
): Promise<void> {
  const deadlineMs = Date.now() + 4_000;
  while (!condition()) {
    if (Date.now() > deadlineMs) throw new Error(`did not happen in time: ${what}`);
    meanwhile();
    await delay(2);
  }
}
