import type { Pod } from '../pod/pod.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';
import type { FigureRoutes } from './figures/figure-routes.ts';
import type { PodLogs } from './logs/pod-logs.ts';
import type { PodStreams, StreamVerb } from './streams/pod-streams.ts';
import type { Exchange, Routes } from './routes.ts';
import { sayJson, sayText } from './say.ts';
import type { SystemLogs } from './logs/system-logs.ts';

/** How the kubelet itself is. */
export interface KubeletHealth {
  /** Whether the main loop goes round. */
  readonly isAlive: boolean;
  /** Why no pods are run yet, nor known of; undefined: they are. */
  readonly waitsFor: string | undefined;
}

export interface KubeletRoutesOptions {
  /** All pods of the sources with the status that counts now; static ones with the UID made for them, no mirrors. */
  readonly listPods: () => readonly Pod[];
  readonly runtimePods: () => readonly RuntimePod[];
  /** undefined: a port for reading alone. */
  readonly pods: PodHandlers | undefined;
  /** `enableDebuggingHandlers`. */
  readonly debugging: boolean;
  readonly health: () => KubeletHealth;
  readonly figures: FigureRoutes;
  /** The KubeletConfiguration that is used. */
  readonly configz: object;
}

/** What shows and does more than reading needs. */
export interface PodHandlers {
  readonly logs: PodLogs;
  readonly streams: PodStreams;
  /** undefined: the node's own logs are not shown. */
  readonly systemLogs: SystemLogs | undefined;
}

const streaming: ReadonlySet<string> = new Set(['exec', 'attach', 'portForward', 'run']);

function isStreamVerb(first: string): first is StreamVerb {
  return streaming.has(first);
}

const debugPaths = new Set([
  'run',
  'exec',
  'attach',
  'portForward',
  'containerLogs',
  'runningpods',
  'logs',
]);

/** What does not wait for the runtime. */
const early: ReadonlySet<string> = new Set(['healthz', 'metrics', 'configz', 'logs', 'debug']);

/** The paths of port 10250, and those of the read-only port. */
export class KubeletRoutes implements Routes {
  readonly #options: KubeletRoutesOptions;

  constructor(options: KubeletRoutesOptions) {
    this.#options = options;
  }

  upgrades(path: string): boolean {
    const first = path.split('/', 2)[1] ?? '';
    return this.#options.debugging && isStreamVerb(first) && first !== 'run';
  }

  async answer(exchange: Exchange): Promise<void> {
    const { response, url } = exchange;
    const first = url.pathname.split('/', 2)[1] ?? '';
    if (debugPaths.has(first) && this.#options.pods !== undefined && !this.#options.debugging) {
      sayText(response, 405, 'Debug endpoints are disabled.');
      return;
    }
    const { waitsFor } = this.#options.health();
    if (waitsFor !== undefined && !early.has(first)) {
      sayText(response, 503, `no pods are known yet: ${waitsFor}\n`);
      return;
    }
    switch (first) {
      case 'healthz':
        sayHealth(exchange, this.#options.health(), true);
        return;
      case 'pods':
        sayJson(response, podList(this.#options.listPods()));
        return;
      case 'metrics':
        await this.#options.figures.metrics(exchange);
        return;
      case 'stats':
        await this.#options.figures.stats(exchange);
        return;
      default:
        await this.#debug(first, exchange);
    }
  }

  async #debug(first: string, exchange: Exchange): Promise<void> {
    const { pods, runtimePods } = this.#options;
    if (pods === undefined) notFound(exchange);
    else if (isStreamVerb(first)) await pods.streams.answer(first, exchange);
    else if (first === 'containerLogs') await pods.logs.answer(exchange);
    else if (first === 'runningpods')
      sayJson(exchange.response, podList(runtimePods().flatMap(running)));
    else if (first === 'configz')
      sayJson(exchange.response, { kubeletconfig: this.#options.configz });
    else if (first === 'logs' && pods.systemLogs !== undefined)
      await pods.systemLogs.answer(exchange);
    else if (first === 'logs' || first === 'debug')
      sayText(exchange.response, 405, `/${first} is disabled.`);
    else notFound(exchange);
  }
}

/** Port 10248: whether there is a process that answers and runs pods; a loop that is stuck is told of on the main port alone, as by upstream. */
export function plainHealth(health: () => KubeletHealth): Routes {
  return {
    upgrades: () => false,
    async answer(exchange) {
      if (exchange.url.pathname.split('/')[1] === 'healthz') sayHealth(exchange, health(), false);
      else notFound(exchange);
      return Promise.resolve();
    },
  };
}

/** `/healthz`, or one of its checks by its name. */
function sayHealth(
  exchange: Exchange,
  { isAlive, waitsFor }: KubeletHealth,
  isMain: boolean,
): void {
  const { response, url } = exchange;
  const checks: readonly (readonly [name: string, problem: string | undefined])[] = [
    ['ping', undefined],
    ...(isMain ? ([['log', undefined]] as const) : []),
    ...(isMain ? ([['syncloop', isAlive ? undefined : 'failed']] as const) : []),
    ['runtime', waitsFor],
  ];
  const name = url.pathname.split('/')[2] ?? '';
  const asked = name === '' ? checks : checks.filter(([each]) => each === name);
  if (asked.length === 0) notFound(exchange);
  else if (asked.every(([, problem]) => problem === undefined)) sayText(response, 200, 'ok');
  else {
    const lines = asked.map(([each, problem]) =>
      problem === undefined ? `[+]${each} ok` : `[-]${each} ${problem}`,
    );
    sayText(response, 500, `${lines.join('\n')}\nhealthz check failed\n`);
  }
}

function notFound({ response }: Exchange): void {
  sayText(response, 404, '404 page not found\n');
}

function podList(items: readonly unknown[]): object {
  return { kind: 'PodList', apiVersion: 'v1', metadata: {}, items };
}

/** What the runtime knows of a pod. */
function running({ uid, name, namespace, containers }: RuntimePod): object[] {
  const live = containers.filter(({ state }) => state === 'running');
  if (live.length === 0) return [];
  const listed = live.map((each) => ({ name: each.name, image: each.image, resources: {} }));
  return [
    {
      metadata: { name, namespace, uid, creationTimestamp: null },
      spec: { containers: listed },
      status: {},
    },
  ];
}
