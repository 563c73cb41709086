import type { Clock } from '../../clock.ts';
import { Wakeup } from '../../informer/wakeup.ts';
import type { Log } from '../../telemetry/log.ts';
import type { ObjectApi } from '../api/object-api.ts';
import type { PodTable } from './pod-table.ts';
import { MirrorPods } from '../sources/mirror-pods.ts';
import type { MirrorPodsOptions } from '../sources/mirror-pods.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';

export interface MirrorKeeperOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly table: PodTable;
  readonly api: Pick<ObjectApi, 'send'>;
  readonly owner: MirrorPodsOptions['owner'];
  /** Whether all sources have spoken: a mirror without a static pod may be removed then. */
  readonly isReady: () => boolean;
  /** Whether anything of a static pod that no source has any more may still run. */
  readonly isAlive: (uid: string) => boolean;
  /** Whether a mirror tells of an end that its pod has left behind. */
  readonly isOver: MirrorPodsOptions['isOver'];
}

const lookEveryMs = 2000;

/** Sees to it that static pods have their mirrors at the API server, and others none (Kubernetes: Create static Pods). */
export class MirrorKeeper {
  readonly #options: MirrorKeeperOptions;
  readonly #mirrors: MirrorPods;
  readonly #wakeup = new Wakeup();

  constructor(options: MirrorKeeperOptions) {
    this.#options = options;
    this.#mirrors = new MirrorPods(options);
  }

  /** Something may have changed. */
  ring(): void {
    this.#wakeup.ring();
  }

  /** Looks until `signal`: each two seconds, and when it was rung for. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      if (this.#options.isReady()) await this.#look(signal);
      if (await this.#wakeup.wait(clock, lookEveryMs, signal))
        await this.#wakeup.settle(clock, signal);
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { table, isAlive } = this.#options;
    const statics = table.all().filter(isStaticPod);
    await Promise.all([
      ...statics.map(async (pod) => this.#mirrors.ensure(pod, table.mirrorOf(pod), signal)),
      ...table
        .mirrors()
        .filter((mirror) => table.staticOf(mirror) === undefined && !isAlive(hashOf(mirror)))
        .map(async (mirror) => this.#mirrors.remove(mirror, signal)),
    ]);
  }
}

/** The UID of the static pod that it stands for. */
function hashOf({ metadata }: Parameters<PodTable['staticOf']>[0]): string {
  return metadata.annotations['kubernetes.io/config.mirror'] ?? '';
}
