import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Cri } from '../cri/client.ts';
import type { Image, StatusResponse } from '../cri/gen/api_pb.ts';
import { takesStopSignals } from '../cri/stop-signals.ts';
import type { NodeStatus } from './node-object.ts';

export interface RuntimeHealthOptions {
  readonly cri: Pick<Cri, 'runtime' | 'images'>;
  readonly clock: Clock;
  readonly log: Log;
  /** When the pods were listed last, by the monotonic clock; undefined: never yet. */
  readonly relistedAtMs: () => number | undefined;
}

export type RuntimeAbilities = Pick<NodeStatus, 'runtimeHandlers' | 'features'>;

const pollMs = 5000;
const restEveryMs = 30_000;
/** Without a good answer for longer the runtime is down. */
const downAfterMs = 30_000;
/** Without a list of the pods for longer nobody sees what becomes of them. */
const relistWithinMs = 180_000;

/** How the container runtime is: asked every five seconds. */
export class RuntimeHealth {
  readonly #options: RuntimeHealthOptions;
  readonly #startedAtMs: number;
  #goodAtMs: number | undefined;
  #runtimeProblem: string | undefined;
  #networkProblem: string | undefined;
  #version: string | undefined;
  #stopSignals: boolean | undefined;
  #images: readonly Image[] = [];
  #restAtMs = Number.NEGATIVE_INFINITY;
  #imageFolder: string | undefined;
  #abilities: RuntimeAbilities = {};
  #lastFailure = '';

  constructor(options: RuntimeHealthOptions) {
    this.#options = options;
    this.#startedAtMs = options.clock.monotonic();
  }

  /** `containerd://1.6.20`; undefined: it has not said it yet. */
  get version(): string | undefined {
    return this.#version;
  }

  /** Whether the release that runs stops containers by the signals that their pods name; undefined: it has not said which it is. */
  get stopSignals(): boolean | undefined {
    return this.#stopSignals;
  }

  get images(): readonly Image[] {
    return this.#images;
  }

  /** Where the runtime keeps images; undefined: it has not said it. */
  get imageFolder(): string | undefined {
    return this.#imageFolder;
  }

  /** What it says that it can do. */
  get abilities(): RuntimeAbilities {
    return this.#abilities;
  }

  /** Why pods with a network of their own cannot start; undefined: they can. */
  get networkProblem(): string | undefined {
    if (this.#goodAtMs === undefined) return 'container runtime network not ready: not known yet';
    return this.#networkProblem;
  }

  /** Why the node is not ready as far as the runtime goes, in upstream's words. */
  get problems(): readonly string[] {
    const { clock, relistedAtMs } = this.#options;
    const nowMs = clock.monotonic();
    const problems: string[] = [];
    if (this.#goodAtMs === undefined) {
      problems.push('container runtime status check may not have completed yet');
    } else if (nowMs - this.#goodAtMs > downAfterMs) problems.push('container runtime is down');
    if (this.#runtimeProblem !== undefined) problems.push(this.#runtimeProblem);
    if (this.#networkProblem !== undefined) problems.push(this.#networkProblem);
    const listedAtMs = relistedAtMs();
    const silentMs = nowMs - (listedAtMs ?? this.#startedAtMs);
    if (silentMs > relistWithinMs) {
      const seconds = Math.round(silentMs / 1000);
      problems.push(
        `PLEG is not healthy: pleg was last seen active ${seconds}s ago; threshold is 3m0s`,
      );
    }
    return problems;
  }

  /** Asks until `signal` aborts. Rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.ask(signal);
      await this.#options.clock.sleep(pollMs, signal);
    }
  }

  /** Asks once. */
  async ask(signal: AbortSignal): Promise<void> {
    const { clock, cri, log } = this.#options;
    try {
      const answer = await cri.runtime.status({}, { signal });
      const { status } = answer;
      this.#abilities = abilitiesOf(answer);
      this.#runtimeProblem = problemOf(status?.conditions, 'RuntimeReady', 'runtime');
      this.#networkProblem = problemOf(status?.conditions, 'NetworkReady', 'runtime network');
      const nowMs = clock.monotonic();
      if (nowMs - this.#restAtMs >= restEveryMs) {
        // Another release may have taken its place.
        await this.#readVersion(signal);
        ({ images: this.#images } = await cri.images.listImages({}, { signal }));
        this.#imageFolder = (await this.#readImageFolder(signal)) ?? this.#imageFolder;
        this.#restAtMs = nowMs;
      }
      this.#goodAtMs = nowMs;
      this.#lastFailure = '';
    } catch (error) {
      if (signal.aborted) return;
      const reason = errorText(error);
      const text = `the container runtime does not say how it is: ${reason}`;
      if (reason === this.#lastFailure) log.debug({}, text);
      else log.warn({ err: error }, text);
      this.#lastFailure = reason;
    }
  }

  /** A runtime need not know it. */
  async #readImageFolder(signal: AbortSignal): Promise<string | undefined> {
    const { images } = this.#options.cri;
    const answer = await images.imageFsInfo({}, { signal }).catch(() => undefined);
    return answer?.imageFilesystems[0]?.fsId?.mountpoint;
  }

  async #readVersion(signal: AbortSignal): Promise<void> {
    const answer = await this.#options.cri.runtime.version({ version: 'v1' }, { signal });
    this.#version = `${answer.runtimeName}://${answer.runtimeVersion.replace(/^v/, '')}`;
    this.#stopSignals = takesStopSignals(answer);
  }
}

/** A runtime before containerd 2.0 says nothing of it. User namespaces are none of what a pod can have here, whatever the runtime can do. */
function abilitiesOf({
  runtimeHandlers,
  features,
}: Pick<StatusResponse, 'runtimeHandlers' | 'features'>): RuntimeAbilities {
  const handlers = runtimeHandlers.map((handler) => ({
    name: handler.name,
    features: {
      recursiveReadOnlyMounts: handler.features?.recursiveReadOnlyMounts ?? false,
      userNamespaces: false,
    },
  }));
  return {
    ...(handlers.length === 0 ? {} : { runtimeHandlers: handlers }),
    ...(features === undefined
      ? {}
      : { features: { supplementalGroupsPolicy: features.supplementalGroupsPolicy } }),
  };
}

interface Condition {
  readonly type: string;
  readonly status: boolean;
  readonly reason: string;
  readonly message: string;
}

function problemOf(
  conditions: readonly Condition[] | undefined,
  type: string,
  what: string,
): string | undefined {
  const condition = conditions?.find((each) => each.type === type);
  if (condition?.status === true) return undefined;
  const { reason = 'Unknown', message = 'the runtime does not say it' } = condition ?? {};
  return `container ${what} not ready: ${type}=false reason:${reason} message:${message}`;
}
