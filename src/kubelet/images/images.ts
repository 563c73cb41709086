import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Clock } from '../../clock.ts';
import { SwitchyardError } from '../../error.ts';
import type { Cri, SandboxConfig } from '../cri/client.ts';
import { CriError, criText } from '../cri/cri-error.ts';
import type { AuthConfigSchema, Image } from '../cri/gen/api_pb.ts';
import type { Container } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import { TokenBucket } from '../../telemetry/token-bucket.ts';
import type { PodEvents } from '../ports/pod-events.ts';
import type { PodMeter } from '../ports/pod-meter.ts';
import { AtOnce } from '../at-once.ts';
import { BackOff } from '../back-off.ts';
import { normalImageName } from './image-name.ts';
import { StartError } from '../ports/start-error.ts';

export type Auth = MessageInitShape<typeof AuthConfigSchema>;

/** What may be tried with a registry, in this order; none: one try without a name. */
export type FindAuth = (pod: Pod, image: string, signal: AbortSignal) => Promise<readonly Auth[]>;

export interface ImagesOptions {
  readonly images: Pick<Cri['images'], 'imageStatus' | 'pullImage'>;
  readonly events: PodEvents;
  readonly clock: Clock;
  /** How many are pulled at a time: 1 with `serializeImagePulls`; undefined: no limit. */
  readonly maxPulls: number | undefined;
  readonly findAuth?: FindAuth;
  /** Pulls a second, and at once after a rest; `qps` 0: any number. */
  readonly rate: { readonly qps: number; readonly burst: number };
  readonly meter?: Pick<PodMeter, 'pulled'>;
}

/** Who an image's processes run as, as its configuration has it; neither: root. */
export interface ImageUser {
  readonly uid?: bigint;
  readonly username?: string;
}

/** An image that is there. */
export interface ReadyImage {
  readonly ref: string;
  readonly user: ImageUser;
}

interface PullRequest {
  readonly pod: Pod;
  readonly container: Container;
  readonly image: string;
  readonly sandbox: SandboxConfig;
  readonly signal: AbortSignal;
}

interface Failed {
  readonly atMs: number;
  readonly text: string;
}

/** Has a container's image ready, as its pull policy says (Kubernetes: Images). */
export class Images {
  readonly #options: ImagesOptions;
  readonly #backOff: BackOff;
  readonly #failed = new Map<string, Failed>();
  readonly #atOnce: AtOnce;
  /** undefined: as often as one likes. */
  readonly #rate: TokenBucket | undefined;

  constructor(options: ImagesOptions) {
    this.#options = options;
    const { qps, burst } = options.rate;
    const limit = { burst: Math.max(1, burst), everyMs: 1000 / qps };
    this.#rate = qps === 0 ? undefined : new TokenBucket(limit, options.clock);
    this.#backOff = new BackOff(options.clock);
    this.#atOnce = new AtOnce(options.maxPulls ?? Infinity);
  }

  /** Throws {@link StartError}, after the Events for it. */
  async ensure(
    pod: Pod,
    container: Container,
    sandbox: SandboxConfig,
    signal: AbortSignal,
  ): Promise<ReadyImage> {
    const image = normalImageName(container.image);
    if (image === undefined) {
      const name = JSON.stringify(container.image);
      const message = `Failed to apply default image tag ${name}: couldn't parse image name ${name}: invalid reference format`;
      this.#tell(pod, container, 'Warning', 'InspectFailed', message);
      throw new StartError('InvalidImageName', message);
    }
    const request = { pod, container, image, sandbox, signal };
    const present = await this.#status(request);
    switch (container.imagePullPolicy) {
      case 'Always':
        return this.#pull(request);
      case 'IfNotPresent':
        return present === undefined ? this.#pull(request) : this.#there(request, present);
      case 'Never': {
        if (present !== undefined) return this.#there(request, present);
        const message = `Container image ${quoted(container)} is not present with pull policy of Never`;
        this.#tell(pod, container, 'Warning', 'ErrImageNeverPull', message);
        throw new StartError('ErrImageNeverPull', message);
      }
      default:
        return container.imagePullPolicy satisfies never;
    }
  }

  /** A pod has ended. */
  forget(uid: string): void {
    this.#backOff.forget(`${uid}_`);
    for (const key of this.#failed.keys()) {
      if (key.startsWith(`${uid}_`)) this.#failed.delete(key);
    }
  }

  async #status({ pod, container, image, signal }: PullRequest): Promise<Image | undefined> {
    try {
      const { image: found } = await this.#options.images.imageStatus(
        { image: { image, userSpecifiedImage: container.image } },
        { signal },
      );
      return found;
    } catch (thrown) {
      signal.throwIfAborted();
      const message = `Failed to inspect image ${JSON.stringify(image)}: ${criText(thrown)}`;
      this.#tell(pod, container, 'Warning', 'InspectFailed', message);
      throw new StartError('ImageInspectError', message, { cause: thrown });
    }
  }

  #there({ pod, container }: PullRequest, image: Image): ReadyImage {
    const message = `Container image ${quoted(container)} already present on machine`;
    this.#tell(pod, container, 'Normal', 'Pulled', message);
    return ready(image);
  }

  async #pull(request: PullRequest): Promise<ReadyImage> {
    const { pod, container, image, signal } = request;
    const key = `${pod.metadata.uid}_${image}`;
    this.#refuseEarly(key, request);
    const { clock } = this.#options;
    const askedMs = clock.monotonic();
    return this.#atOnce.with(signal, async () => {
      this.#tell(pod, container, 'Normal', 'Pulling', `Pulling image ${quoted(container)}`);
      const begunMs = clock.monotonic();
      try {
        await this.#pullOnce(request);
      } catch (thrown) {
        signal.throwIfAborted();
        throw this.#failure(key, request, thrown);
      }
      const endedMs = clock.monotonic();
      const found = await this.#status(request);
      if (found === undefined) throw this.#failure(key, request, gone(image));
      this.#backOff.forget(key);
      this.#failed.delete(key);
      this.#options.meter?.pulled((endedMs - begunMs) / 1000, Number(found.size));
      const took = `in ${inSeconds(endedMs - begunMs)} (${inSeconds(endedMs - askedMs)} including waiting)`;
      const message = `Successfully pulled image ${quoted(container)} ${took}. Image size: ${found.size} bytes.`;
      this.#tell(pod, container, 'Normal', 'Pulled', message);
      return ready(found);
    });
  }

  #refuseEarly(key: string, { pod, container }: PullRequest): void {
    const failed = this.#failed.get(key);
    const waits = failed === undefined ? undefined : this.#backOff.waits(key, failed.atMs);
    if (failed === undefined || waits === undefined) return;
    const message = `Back-off pulling image ${quoted(container)}`;
    this.#tell(pod, container, 'Normal', 'BackOff', message);
    const text = `${message}: ${failed.text}`;
    throw new StartError('ImagePullBackOff', text, { retryAtMs: waits.untilMs });
  }

  /** With each of what is known of the registry, until one is taken. */
  async #pullOnce({ pod, image, sandbox, signal }: PullRequest): Promise<void> {
    if (this.#rate !== undefined) {
      if (this.#rate.waitMs > 0) {
        throw new SwitchyardError('tool', 'pull QPS exceeded', { retryable: true });
      }
      this.#rate.take();
    }
    const found = (await this.#options.findAuth?.(pod, image, signal)) ?? [];
    const refused: string[] = [];
    for (const auth of found.length === 0 ? [undefined] : found) {
      try {
        await this.#options.images.pullImage(
          { image: { image }, sandboxConfig: sandbox, ...(auth !== undefined && { auth }) },
          { signal },
        );
        return;
      } catch (thrown) {
        signal.throwIfAborted();
        if (found.length <= 1) throw thrown;
        refused.push(criText(thrown));
      }
    }
    throw new SwitchyardError('tool', `[${refused.join(', ')}]`, { retryable: true });
  }

  #failure(key: string, { pod, container }: PullRequest, thrown: unknown): StartError {
    const now = this.#options.clock.now();
    const text = criText(thrown);
    this.#tell(
      pod,
      container,
      'Warning',
      'Failed',
      `Failed to pull image ${quoted(container)}: ${text}`,
    );
    const reason = pullReason(thrown);
    this.#backOff.next(key, now);
    this.#failed.set(key, { atMs: now, text: `${reason}: ${text}` });
    return new StartError(reason, text, { cause: thrown });
  }

  #tell(
    pod: Pod,
    { name }: Container,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
  ): void {
    this.#options.events.tell(pod, { type, reason, message, container: name });
  }
}

const namedFailures = ['RegistryUnavailable', 'SignatureValidationFailed'];

function pullReason(thrown: unknown): string {
  const detail = thrown instanceof CriError ? thrown.detail : '';
  return namedFailures.find((name) => detail.startsWith(name)) ?? 'ErrImagePull';
}

function gone(image: string): SwitchyardError {
  return new SwitchyardError('tool', `image ${image} was pulled and is not there`);
}

function ready({ id, uid, username }: Image): ReadyImage {
  return { ref: id, user: { ...(uid !== undefined && { uid: uid.value }), username } };
}

function quoted({ image }: Container): string {
  return JSON.stringify(image);
}

function inSeconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(3).replace(/\.?0+$/, '')}s`;
}
