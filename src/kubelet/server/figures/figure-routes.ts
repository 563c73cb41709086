import type { Registry } from 'prom-client';
import type { BlockDevices } from '../../../host/block-devices.ts';
import { diskUseOf } from '../../stats/runtime-stats.ts';
import type { Stats } from '../../stats/stats.ts';
import { summary } from '../../stats/summary.ts';
import type { DisksOfPods } from '../../stats/summary.ts';
import { cadvisorMetrics, devicesOf } from './cadvisor-metrics.ts';
import type { CadvisorExtras } from './cadvisor-metrics.ts';
import { resourceMetrics } from './resource-metrics.ts';
import type { Exchange } from '../routes.ts';
import { sayJson, sayText } from '../say.ts';

export interface FigureRoutesOptions {
  readonly nodeName: string;
  readonly machine: CadvisorExtras['machine'];
  /** undefined: the runtime has not answered yet. */
  readonly stats: () => Pick<Stats, 'figures' | 'podUsages' | 'claims' | 'runtime'> | undefined;
  readonly devices: Pick<BlockDevices, 'nameOf' | 'holding'>;
  readonly metrics: Registry;
  readonly probeMetrics: Registry;
  readonly sliMetrics?: Registry;
}

/** `/metrics…` and `/stats…`: figures of the kubelet itself, of the node and of what runs on it (Kubernetes: Node metrics data). */
export class FigureRoutes {
  readonly #options: FigureRoutesOptions;

  constructor(options: FigureRoutesOptions) {
    this.#options = options;
  }

  async metrics({ response, url }: Exchange): Promise<void> {
    const { metrics, probeMetrics, sliMetrics } = this.#options;
    const registries: Readonly<Record<string, Registry | undefined>> = {
      '/metrics': metrics,
      '/metrics/probes': probeMetrics,
      '/metrics/slis': sliMetrics,
    };
    const made: Readonly<Record<string, () => Promise<string>>> = {
      '/metrics/resource': async () => this.#resource(),
      '/metrics/cadvisor': async () => this.#cadvisor(),
    };
    const registry = registries[url.pathname];
    const text = registry === undefined ? await made[url.pathname]?.() : await registry.metrics();
    if (text === undefined) sayText(response, 404, '404 page not found\n');
    else response.writeHead(200, { 'Content-Type': metrics.contentType }).end(text);
  }

  async stats({ request, response, url }: Exchange): Promise<void> {
    const stats = this.#options.stats();
    if (url.pathname.replace(/\/$/, '') !== '/stats/summary') {
      sayText(response, 404, '404 page not found\n');
    } else if (!['GET', 'HEAD', 'POST'].includes(request.method ?? '')) {
      sayText(response, 405, '405: Method Not Allowed');
    } else if (stats === undefined) {
      sayText(response, 503, 'nothing is measured yet\n');
    } else {
      const isShort = /^(1|t|true)$/i.test(url.searchParams.get('only_cpu_and_memory') ?? '');
      const [figures, disks] = await Promise.all([
        stats.figures(),
        isShort ? undefined : disksOf(stats),
      ]);
      sayJson(response, summary(this.#options.nodeName, figures, disks));
    }
  }

  async #resource(): Promise<string> {
    return resourceMetrics(
      await this.#options
        .stats()
        ?.figures()
        .catch(() => undefined),
    );
  }

  async #cadvisor(): Promise<string> {
    const { machine, devices } = this.#options;
    const stats = this.#options.stats();
    const [figures, runtime] = await Promise.all([
      stats?.figures().catch(() => undefined),
      stats?.runtime().catch(() => undefined),
    ]);
    const names = new Map<string, string>();
    for (const device of figures === undefined ? [] : devicesOf(figures)) {
      names.set(device, await devices.nameOf(device));
    }
    const holding = async (folder: string | undefined): Promise<string> =>
      (folder === undefined ? undefined : await devices.holding(folder)) ?? '';
    return cadvisorMetrics(figures, {
      machine,
      layerOf: (id) => diskUseOf(runtime?.containers.get(id)?.writableLayer),
      deviceName: (device) => names.get(device) ?? device,
      nodeDevice: await holding(figures?.node.diskFolder),
      imageDevice: await holding(figures?.node.images?.folder),
    });
  }
}

async function disksOf(stats: Pick<Stats, 'podUsages' | 'claims'>): Promise<DisksOfPods> {
  const [usages, claims] = await Promise.all([stats.podUsages(), stats.claims()]);
  return { usages, claims: Map.groupBy(claims, ({ uid }) => uid) };
}
