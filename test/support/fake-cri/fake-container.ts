import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Clock } from '../../../src/clock.ts';
import { ContainerState, SignalSchema } from '../../../src/kubelet/cri/gen/api_pb.ts';
import type {
  ContainerConfig,
  ContainerSchema,
  ContainerStatusSchema,
  Signal,
} from '../../../src/kubelet/cri/gen/api_pb.ts';
import { ContainerLog } from './container-log.ts';
import type { FakeImage } from './fake-images.ts';
import { program } from './programs.ts';
import { Shell } from './shell.ts';
import type { Write } from './surroundings.ts';

export interface ContainerPlace {
  readonly id: string;
  readonly sandboxId: string;
  readonly podIp: string;
  readonly hostname: string;
  readonly logDirectory: string;
  /** Where its own files lie. */
  readonly root: string;
  readonly image: FakeImage;
  readonly imageRef: string;
  /** What it is stopped by; RUNTIME_DEFAULT: the runtime knows of none but SIGTERM. */
  readonly stopSignal: Signal;
  readonly clock: Clock;
  nowNs(): bigint;
  ended(container: FakeContainer): void;
}

/** A container of the runtime in memory: its state, and the process that stands in for it. */
export class FakeContainer {
  readonly config: ContainerConfig;
  readonly place: ContainerPlace;
  readonly createdAt: bigint;
  state: ContainerState = ContainerState.CONTAINER_CREATED;
  startedAt = 0n;
  finishedAt = 0n;
  exitCode = 0;
  reason = '';
  message = '';
  readonly #log: ContainerLog;
  readonly #life = new AbortController();
  readonly #ended: Promise<void>;
  #end: () => void = () => {};
  #shell: Shell | undefined;

  constructor(config: ContainerConfig, place: ContainerPlace) {
    this.config = config;
    this.place = place;
    this.createdAt = place.nowNs();
    this.#log = new ContainerLog(this.logPath, () => place.clock.now());
    this.#ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get id(): string {
    return this.place.id;
  }

  get logPath(): string {
    return this.config.logPath === '' ? '' : join(this.place.logDirectory, this.config.logPath);
  }

  get running(): boolean {
    return this.state === ContainerState.CONTAINER_RUNNING;
  }

  /** Why its program cannot be started; it has ended then. */
  start(): string | undefined {
    const words = this.#words();
    const unknown = missing(words[0] ?? '');
    if (unknown !== undefined) {
      this.state = ContainerState.CONTAINER_EXITED;
      this.exitCode = 128;
      this.reason = 'StartError';
      this.message = unknown;
      this.finishedAt = this.place.nowNs();
      this.place.ended(this);
      this.#end();
      return unknown;
    }
    this.state = ContainerState.CONTAINER_RUNNING;
    this.startedAt = this.place.nowNs();
    this.#log.open();
    const shell = this.#process(this.#life.signal, (stream, text) => {
      if (this.running) this.#log.write(stream, text);
    });
    this.#shell = shell;
    void this.#live(shell, words);
    return undefined;
  }

  /** The signal, the time, then the kill; 0: the kill. */
  async stop(graceMs: number): Promise<void> {
    if (!this.running) return;
    const over = new AbortController();
    if (graceMs > 0) {
      this.#shell?.signal(this.#stopSignal);
      await Promise.race([this.#ended, this.place.clock.sleep(graceMs, over.signal)]);
      over.abort();
    }
    this.kill();
    await this.#ended;
  }

  /** At once, and as a death of the machine does it where a reason is given. */
  kill(exitCode = 137, reason?: string): void {
    if (!this.running) return;
    this.#finish(exitCode, reason);
  }

  async exec(
    words: readonly string[],
    signal: AbortSignal,
  ): Promise<{ stdout: string; stderr: string; exitCode: number }> {
    const output = { 1: '', 2: '' };
    const life = AbortSignal.any([signal, this.#life.signal]);
    const shell = this.#process(life, (stream, text) => {
      output[stream] += text;
    });
    const exitCode = await shell.main(words);
    return { stdout: output[1], stderr: output[2], exitCode };
  }

  /** Why a program cannot be executed in it. */
  missing(name: string): string | undefined {
    return missing(name);
  }

  reopenLog(): void {
    this.#log.reopen();
  }

  listed(): MessageInitShape<typeof ContainerSchema> {
    const { metadata, image, labels, annotations } = this.config;
    return {
      id: this.id,
      podSandboxId: this.place.sandboxId,
      ...(metadata ? { metadata } : {}),
      image: { image: image?.image ?? '' },
      imageRef: this.place.imageRef,
      state: this.state,
      createdAt: this.createdAt,
      labels,
      annotations,
    };
  }

  status(): MessageInitShape<typeof ContainerStatusSchema> {
    const { metadata, labels, annotations, mounts } = this.config;
    return {
      id: this.id,
      ...(metadata ? { metadata } : {}),
      state: this.state,
      createdAt: this.createdAt,
      startedAt: this.startedAt,
      finishedAt: this.finishedAt,
      exitCode: this.exitCode,
      image: { image: this.place.image.name },
      imageRef: this.place.imageRef,
      reason: this.reason,
      message: this.message,
      labels,
      annotations,
      mounts,
      logPath: this.logPath,
      stopSignal: this.place.stopSignal,
    };
  }

  async #live(shell: Shell, words: readonly string[]): Promise<void> {
    const status = await shell.main(words);
    if (this.running) this.#finish(status);
  }

  #finish(exitCode: number, reason?: string): void {
    this.state = ContainerState.CONTAINER_EXITED;
    this.exitCode = exitCode;
    this.reason = reason ?? (exitCode === 0 ? 'Completed' : 'Error');
    this.finishedAt = this.place.nowNs();
    this.#life.abort();
    this.#log.close();
    this.place.ended(this);
    this.#end();
  }

  #process(life: AbortSignal, write: Write): Shell {
    const { place, config } = this;
    const { image, clock } = place;
    const variables = new Map<string, string>([
      ['PATH', '/bin'],
      ['HOSTNAME', place.hostname],
      ...Object.entries(image.env ?? {}),
      ...config.envs.map(({ key, value }) => [key, value] as const),
    ]);
    const around = {
      hostname: place.hostname,
      podIp: place.podIp,
      workingDir: config.workingDir === '' ? '/' : config.workingDir,
      file: (path: string) => this.#file(path),
      life,
      sleep: async (ms: number, signal: AbortSignal) => clock.sleep(ms, signal),
      nowMs: () => clock.now(),
      outOfMemory: () => {
        this.kill(137, 'OOMKilled');
      },
    };
    return new Shell(around, variables, write);
  }

  /** Through the mount that covers it most closely. */
  #file(path: string): string {
    const mounts = this.config.mounts.filter(
      ({ containerPath }) => path === containerPath || path.startsWith(`${containerPath}/`),
    );
    const [mount] = mounts.toSorted((a, b) => b.containerPath.length - a.containerPath.length);
    if (!mount) return join(this.place.root, path);
    return join(mount.hostPath, path.slice(mount.containerPath.length));
  }

  get #stopSignal(): string {
    const { stopSignal } = this.place;
    const named = SignalSchema.values.find(({ number }) => number === stopSignal && number !== 0);
    return named?.localName.replace(/^SIG/, '') ?? 'TERM';
  }

  #words(): readonly string[] {
    const { command, args } = this.config;
    const { image } = this.place;
    if (command.length > 0) return [...command, ...args];
    return [...(image.entrypoint ?? []), ...(args.length > 0 ? args : (image.command ?? []))];
  }
}

function missing(name: string): string | undefined {
  if (program(name.slice(name.lastIndexOf('/') + 1))) return undefined;
  const why = name.startsWith('/')
    ? `stat ${name}: no such file or directory`
    : 'executable file not found in $PATH';
  return `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "${name}": ${why}: unknown`;
}

/** Missing sources of mounts are made by the runtime, as directories. */
export function missingSources(config: ContainerConfig): readonly string[] {
  return config.mounts.map(({ hostPath }) => hostPath).filter((path) => !existsSync(path));
}
