/** What a process has of its container. */
export interface Surroundings {
  readonly hostname: string;
  readonly podIp: string;
  readonly workingDir: string;
  /** Where a path of the container lies on this machine. */
  file(path: string): string;
  /** Ends when the process is killed, or what had started it. */
  readonly life: AbortSignal;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  nowMs(): number;
  /** For what takes all memory that there is. */
  outOfMemory(): void;
}

export type Write = (stream: 1 | 2, text: string) => void;

/** A process ends with this status. */
export class Exit extends Error {
  readonly status: number;
  constructor(status: number) {
    super(`exit ${status}`);
    this.status = status;
  }
}

/** What a program sees of the shell that runs it. */
export interface Running {
  readonly around: Surroundings;
  readonly variables: Map<string, string>;
  write(stream: 1 | 2, text: string): void;
  run(words: readonly string[], write: Write): Promise<number>;
  script(text: string, args?: readonly string[]): Promise<number>;
  trap(action: string, signals: readonly string[]): void;
  /** Until all jobs ended, or a trap is due. */
  wait(): Promise<void>;
}
