import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import type { ConnectRouter, Transport } from '@connectrpc/connect';
import type { Clock } from '../../../src/clock.ts';
import { criOver } from '../../../src/kubelet/cri/client.ts';
import type { Cri } from '../../../src/kubelet/cri/client.ts';
import {
  ContainerState,
  ImageService,
  RuntimeService,
  Signal,
} from '../../../src/kubelet/cri/gen/api_pb.ts';
import type {
  ContainerConfig,
  ContainerFilter,
  CreateContainerRequest,
  ExecSyncRequest,
  ListContainersRequest,
  ListPodSandboxRequest,
  PodSandboxFilter,
  RunPodSandboxRequest,
} from '../../../src/kubelet/cri/gen/api_pb.ts';
import { Events } from '../../../src/kubelet/cri/gen/containerd-events_pb.ts';
import { CallLog } from './call-log.ts';
import { FakeContainer, missingSources } from './fake-container.ts';
import { FakeImages } from './fake-images.ts';
import type { FakeImage } from './fake-images.ts';
import { listedSandbox, resolvConf, sandboxStatus, withNodeNetwork } from './fake-sandbox.ts';
import type { FakeSandbox } from './fake-sandbox.ts';
import { TaskEvents } from './task-events.ts';

export interface FakeRuntimeOptions {
  readonly clock: Clock;
  /** A folder for the containers' own files; who made it removes it. */
  readonly folder: string;
  /** Of the pods' addresses, 127.X.0.0/16: nodes of one test have different ones. */
  readonly network?: number;
}

/** Of runtimes, as containerd has them by default. */
const handlers: ReadonlySet<string> = new Set(['', 'runc']);

/**
 * containerd's CRI in memory: reserved names, states, exit codes, graces and messages as containerd 1.6 has them
 * (test/kubelet/contract.ts runs the same scenarios against both). Time is the clock's; containers run the small shell beside it.
 */
export class FakeRuntime {
  readonly log = new CallLog();
  readonly images: FakeImages;
  readonly tasks = new TaskEvents();
  readonly sandboxes = new Map<string, FakeSandbox>();
  readonly containers = new Map<string, FakeContainer>();
  /** undefined: pods get addresses; else why not. */
  networkBroken: string | undefined;
  /** Whether it is of a release (2.3) that stops containers by the signals that they name. */
  hasStopSignals = false;
  readonly #options: FakeRuntimeOptions;
  /** By reserved name, the id. */
  readonly #names = new Map<string, string>();
  #made = 0;
  #lastNs = 0n;

  constructor(options: FakeRuntimeOptions) {
    this.#options = options;
    this.images = new FakeImages(options.clock);
  }

  /** A client of it. */
  connect(clock: Clock = this.#options.clock): Cri {
    return criOver(this.transport(), 'memory', clock);
  }

  transport(): Transport {
    return createRouterTransport((router) => {
      this.routes(router);
    });
  }

  /** Its services, for a server at a socket. */
  routes(router: ConnectRouter): void {
    this.#runtimeService(router);
    this.#imageService(router);
    router.service(Events, {
      subscribe: ({ filters }, { signal }) => this.tasks.subscribe(filters, signal),
    });
  }

  /** The runtime's own process ends; pods go on. */
  stop(): void {
    this.log.down = true;
    this.tasks.down = true;
    this.tasks.breakAll();
  }

  start(): void {
    this.log.down = false;
    this.tasks.down = false;
  }

  /** The machine starts anew: nothing runs, and what ran is known. */
  reboot(): void {
    for (const container of this.containers.values()) container.kill(255, 'Unknown');
    for (const sandbox of this.sandboxes.values()) sandbox.ready = false;
  }

  /** A container by the names of its pod and its own; the newest. */
  container(pod: string, name: string): FakeContainer | undefined {
    return [...this.containers.values()].findLast(({ config, place }) => {
      const sandbox = this.sandboxes.get(place.sandboxId);
      return sandbox?.config.metadata?.name === pod && config.metadata?.name === name;
    });
  }

  #runtimeService(router: ConnectRouter): void {
    const log = this.log;
    const call =
      <Q, A>(name: string, work: (request: Q) => A | Promise<A>) =>
      async (request: Q): Promise<A> =>
        log.through({ name, request }, async () => work(request));
    router.service(RuntimeService, {
      getContainerEvents: (_request, { signal }) => this.tasks.containerEvents(signal),
      version: call('Version', () => ({
        version: '0.1.0',
        runtimeName: 'containerd',
        runtimeVersion: this.hasStopSignals ? '2.3.0' : '1.6.20',
        runtimeApiVersion: 'v1',
      })),
      status: call('Status', () => ({ status: { conditions: this.#conditions() } })),
      runPodSandbox: call('RunPodSandbox', (request: RunPodSandboxRequest) => this.#run(request)),
      stopPodSandbox: call('StopPodSandbox', async ({ podSandboxId }: { podSandboxId: string }) =>
        this.#stopSandbox(podSandboxId),
      ),
      removePodSandbox: call(
        'RemovePodSandbox',
        async ({ podSandboxId }: { podSandboxId: string }) => this.#removeSandbox(podSandboxId),
      ),
      podSandboxStatus: call('PodSandboxStatus', ({ podSandboxId }: { podSandboxId: string }) => ({
        status: sandboxStatus(this.#sandbox(podSandboxId)),
      })),
      listPodSandbox: call(
        'ListPodSandbox',
        ({ filter }: Pick<ListPodSandboxRequest, 'filter'>) => ({
          items: [...this.sandboxes.values()]
            .filter((sandbox) => sandboxPasses(sandbox, filter))
            .map(listedSandbox),
        }),
      ),
      createContainer: call('CreateContainer', (request: CreateContainerRequest) =>
        this.#create(request),
      ),
      startContainer: call('StartContainer', ({ containerId }: { containerId: string }) =>
        this.#startContainer(containerId),
      ),
      stopContainer: call(
        'StopContainer',
        async ({ containerId, timeout }: { containerId: string; timeout: bigint }) => {
          await this.#container(containerId).stop(Number(timeout) * 1000);
          return {};
        },
      ),
      removeContainer: call('RemoveContainer', async ({ containerId }: { containerId: string }) =>
        this.#removeContainer(containerId),
      ),
      listContainers: call(
        'ListContainers',
        ({ filter }: Pick<ListContainersRequest, 'filter'>) => ({
          containers: [...this.containers.values()]
            .filter((container) => containerPasses(container, filter))
            .map((container) => container.listed()),
        }),
      ),
      containerStatus: call('ContainerStatus', ({ containerId }: { containerId: string }) => ({
        status: this.#container(containerId).status(),
      })),
      reopenContainerLog: call('ReopenContainerLog', ({ containerId }: { containerId: string }) => {
        const container = this.#container(containerId);
        if (!container.running) throw new ConnectError('container is not running', Code.Unknown);
        container.reopenLog();
        return {};
      }),
      execSync: call('ExecSync', async (request: ExecSyncRequest) => this.#exec(request)),
      updateRuntimeConfig: call('UpdateRuntimeConfig', () => ({})),
      listContainerStats: call('ListContainerStats', () => ({ stats: [] })),
      listPodSandboxStats: call('ListPodSandboxStats', () => ({ stats: [] })),
    });
  }

  #imageService(router: ConnectRouter): void {
    const { log, images } = this;
    const call =
      <Q, A>(name: string, work: (request: Q) => A | Promise<A>) =>
      async (request: Q): Promise<A> =>
        log.through({ name, request }, async () => work(request));
    router.service(ImageService, {
      listImages: call('ListImages', () => ({ images: images.list() })),
      imageStatus: call('ImageStatus', (request: Parameters<FakeImages['status']>[0]) =>
        images.status(request),
      ),
      pullImage: call('PullImage', async (request: Parameters<FakeImages['pull']>[0]) =>
        images.pull(request),
      ),
      removeImage: call('RemoveImage', (request: Parameters<FakeImages['remove']>[0]) =>
        images.remove(request),
      ),
      imageFsInfo: call('ImageFsInfo', () => ({
        imageFilesystems: [
          {
            timestamp: this.#nowNs(),
            fsId: { mountpoint: this.#options.folder },
            usedBytes: { value: 1_000_000n },
            inodesUsed: { value: 100n },
          },
        ],
      })),
    });
  }

  #conditions(): { type: string; status: boolean; reason: string; message: string }[] {
    const message = this.networkBroken ?? '';
    const network = message === '';
    return [
      { type: 'RuntimeReady', status: true, reason: '', message: '' },
      {
        type: 'NetworkReady',
        status: network,
        reason: network ? '' : 'NetworkPluginNotReady',
        message: network ? '' : `Network plugin returns error: ${message}`,
      },
    ];
  }

  #run({ config, runtimeHandler }: RunPodSandboxRequest): { podSandboxId: string } {
    if (!config?.metadata) throw new ConnectError('sandbox config must include metadata');
    const { name, namespace, uid, attempt } = config.metadata;
    const id = this.#id('sandbox');
    const reserved = `${name}_${namespace}_${uid}_${attempt}`;
    this.#reserve('sandbox', reserved, id);
    if (!handlers.has(runtimeHandler)) {
      this.#names.delete(reserved);
      const why = `no runtime for "${runtimeHandler}" is configured`;
      throw new ConnectError(`failed to get sandbox runtime: ${why}`, Code.Unknown);
    }
    if (!withNodeNetwork(config) && this.networkBroken !== undefined) {
      this.#names.delete(reserved);
      throw new ConnectError(
        `failed to setup network for sandbox "${id}": ${this.networkBroken}`,
        Code.Unknown,
      );
    }
    const at = this.#made;
    const { network = 244 } = this.#options;
    const ip = withNodeNetwork(config) ? '' : `127.${network}.${at >> 8}.${at & 255}`;
    const createdAt = this.#nowNs();
    this.sandboxes.set(id, { id, config, ip, createdAt, runtimeHandler, ready: true });
    this.tasks.tell({ what: 'start', id, exitCode: 0, name });
    return { podSandboxId: id };
  }

  async #stopSandbox(id: string): Promise<object> {
    const sandbox = this.sandboxes.get(id);
    if (!sandbox) return {};
    for (const container of this.#containersOf(id)) await container.stop(0);
    const name = sandbox.config.metadata?.name ?? '';
    if (sandbox.ready) this.tasks.tell({ what: 'exit', id, exitCode: 137, name });
    sandbox.ready = false;
    return {};
  }

  async #removeSandbox(id: string): Promise<object> {
    await this.#stopSandbox(id);
    for (const container of this.#containersOf(id)) this.#drop(container);
    this.#release(id);
    this.sandboxes.delete(id);
    this.tasks.removed(id);
    return {};
  }

  #create({ podSandboxId, config }: CreateContainerRequest): { containerId: string } {
    const sandbox = this.#sandbox(podSandboxId);
    if (!config?.metadata) throw new ConnectError('container config must include metadata');
    const image = this.#creatable(sandbox, config);
    const pod = sandbox.config.metadata;
    const id = this.#id('container');
    const { name, attempt } = config.metadata;
    const reserved = `${name}_${pod?.name}_${pod?.namespace}_${pod?.uid}_${attempt}`;
    this.#reserve('container', reserved, id);
    for (const path of missingSources(config)) mkdirSync(path, { recursive: true });
    const root = join(this.#options.folder, 'containers', id);
    for (const each of ['tmp', 'etc']) mkdirSync(join(root, each), { recursive: true });
    writeFileSync(join(root, 'etc/resolv.conf'), resolvConf(sandbox.config.dnsConfig));
    const place = {
      id,
      sandboxId: podSandboxId,
      podIp: sandbox.ip === '' ? '127.0.0.1' : sandbox.ip,
      hostname: sandbox.config.hostname === '' ? 'node' : sandbox.config.hostname,
      logDirectory: sandbox.config.logDirectory,
      root,
      image,
      imageRef: this.images.ref(image),
      stopSignal: this.hasStopSignals
        ? config.stopSignal || Signal.SIGTERM
        : Signal.RUNTIME_DEFAULT,
      clock: this.#options.clock,
      nowNs: () => this.#nowNs(),
      ended: (container: FakeContainer) => {
        const { exitCode } = container;
        this.tasks.tell({ what: 'exit', id, exitCode, name: `${pod?.name}/${name}` });
      },
    };
    this.containers.set(id, new FakeContainer(config, place));
    return { containerId: id };
  }

  /** The image; throws where containerd would. */
  #creatable(sandbox: FakeSandbox, config: ContainerConfig): FakeImage {
    if (!sandbox.ready) {
      throw new ConnectError(
        'failed to get sandbox container task: no running task found: task not found: not found',
        Code.NotFound,
      );
    }
    const name = config.image?.image ?? '';
    const image = this.images.find(name);
    if (!image) {
      throw new ConnectError(`failed to resolve image "${name}": not found`, Code.NotFound);
    }
    const privileged = config.linux?.securityContext?.privileged === true;
    if (privileged && sandbox.config.linux?.securityContext?.privileged !== true) {
      throw new ConnectError('no privileged container allowed in sandbox', Code.Unknown);
    }
    return image;
  }

  #startContainer(id: string): object {
    const container = this.#container(id);
    if (container.state !== ContainerState.CONTAINER_CREATED) {
      const state = stateNames[container.state];
      throw new ConnectError(
        `failed to start container "${id}": container is in ${state} state`,
        Code.Unknown,
      );
    }
    if (this.sandboxes.get(container.place.sandboxId)?.ready !== true) {
      throw new ConnectError(
        `sandbox container "${container.place.sandboxId}" is not running`,
        Code.Unknown,
      );
    }
    const pod = this.sandboxes.get(container.place.sandboxId)?.config.metadata?.name;
    const name = `${pod}/${container.config.metadata?.name}`;
    this.tasks.tell({ what: 'start', id, exitCode: 0, name });
    const failed = container.start();
    if (failed !== undefined) throw new ConnectError(failed, Code.Unknown);
    return {};
  }

  async #removeContainer(id: string): Promise<object> {
    const container = this.containers.get(id);
    if (!container) return {};
    await container.stop(0);
    this.#drop(container);
    return {};
  }

  async #exec({ containerId, cmd, timeout }: ExecSyncRequest): Promise<{
    stdout: Uint8Array;
    stderr: Uint8Array;
    exitCode: number;
  }> {
    const container = this.#container(containerId);
    if (!container.running) {
      const state = stateNames[container.state];
      throw new ConnectError(`container is in ${state} state`, Code.Unknown);
    }
    const missing = container.missing(cmd[0] ?? '');
    if (missing !== undefined) {
      throw new ConnectError(`failed to exec in container: ${missing}`, Code.Unknown);
    }
    const late = new AbortController();
    const done = new AbortController();
    const limitMs = Number(timeout) * 1000;
    if (limitMs > 0) {
      void this.#options.clock.sleep(limitMs, done.signal).then(() => {
        if (!done.signal.aborted) late.abort();
        return undefined;
      });
    }
    const { stdout, stderr, exitCode } = await container.exec(cmd, late.signal);
    done.abort();
    if (late.signal.aborted) {
      throw new ConnectError(
        `failed to exec in container: timeout ${timeout}s exceeded: context deadline exceeded`,
        Code.DeadlineExceeded,
      );
    }
    const bytes = new TextEncoder();
    return { stdout: bytes.encode(stdout), stderr: bytes.encode(stderr), exitCode };
  }

  #containersOf(sandboxId: string): readonly FakeContainer[] {
    return [...this.containers.values()].filter(({ place }) => place.sandboxId === sandboxId);
  }

  #drop(container: FakeContainer): void {
    this.#release(container.id);
    this.containers.delete(container.id);
    this.tasks.removed(container.id);
    rmSync(container.place.root, { recursive: true, force: true });
  }

  #sandbox(id: string): FakeSandbox {
    const found = this.sandboxes.get(id);
    if (found) return found;
    throw new ConnectError(
      `an error occurred when try to find sandbox "${id}": not found`,
      Code.NotFound,
    );
  }

  #container(id: string): FakeContainer {
    const found = this.containers.get(id);
    if (found) return found;
    throw new ConnectError(
      `an error occurred when try to find container "${id}": not found`,
      Code.NotFound,
    );
  }

  #reserve(what: string, name: string, id: string): void {
    const holder = this.#names.get(name);
    if (holder !== undefined) {
      throw new ConnectError(
        `failed to reserve ${what} name "${name}": name "${name}" is reserved for "${holder}"`,
        Code.Unknown,
      );
    }
    this.#names.set(name, id);
  }

  #release(id: string): void {
    for (const [name, holder] of this.#names) if (holder === id) this.#names.delete(name);
  }

  #id(what: string): string {
    return createHash('sha256')
      .update(`${this.#options.folder} ${what} ${++this.#made}`)
      .digest('hex');
  }

  /** Never twice the same. */
  #nowNs(): bigint {
    const now = BigInt(Math.floor(this.#options.clock.now())) * 1_000_000n;
    this.#lastNs = now > this.#lastNs ? now : this.#lastNs + 1n;
    return this.#lastNs;
  }
}

const stateNames: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(ContainerState).map(([name, number]) => [number, name]),
);

function selected(
  labels: Readonly<Record<string, string>>,
  selector: Readonly<Record<string, string>> = {},
): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

function sandboxPasses(sandbox: FakeSandbox, filter?: PodSandboxFilter): boolean {
  if (filter?.id && filter.id !== sandbox.id) return false;
  if (filter?.state && (filter.state.state === 0) !== sandbox.ready) return false;
  return selected(sandbox.config.labels, filter?.labelSelector);
}

function containerPasses(container: FakeContainer, filter?: ContainerFilter): boolean {
  if (filter?.id && filter.id !== container.id) return false;
  if (filter?.state && filter.state.state !== container.state) return false;
  if (filter?.podSandboxId && filter.podSandboxId !== container.place.sandboxId) return false;
  return selected(container.config.labels, filter?.labelSelector);
}
