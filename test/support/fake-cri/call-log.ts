import { Code, ConnectError } from '@connectrpc/connect';

/** One call that the runtime was asked for. */
export interface RuntimeCall {
  /** `RunPodSandbox`. */
  readonly name: string;
  readonly request: unknown;
}

/** A call's moment: nothing is done yet, or all is done and the answer not yet given. */
export type Phase = 'before' | 'after';

/** Throws, waits or does something else at this moment; the calls are counted from 0. */
export type Fault = (phase: Phase, call: RuntimeCall, index: number) => void | Promise<void>;

/** All calls, in order, and what goes wrong with them. */
export class CallLog {
  readonly calls: RuntimeCall[] = [];
  /** undefined: nothing goes wrong. */
  fault: Fault | undefined;
  /** The runtime is not there. */
  down = false;

  count(name: string): number {
    return this.calls.filter((call) => call.name === name).length;
  }

  /** Those that change something, by name. */
  get changes(): readonly string[] {
    return this.calls.map(({ name }) => name).filter((name) => !reading.has(name));
  }

  async through<R>(call: RuntimeCall, work: () => R | Promise<R>): Promise<R> {
    if (this.down) throw new ConnectError('connection refused', Code.Unavailable);
    const index = this.calls.push(call) - 1;
    await this.fault?.('before', call, index);
    const answer = await work();
    await this.fault?.('after', call, index);
    if (this.down) throw new ConnectError('connection reset', Code.Unavailable);
    return answer;
  }
}

const reading = new Set([
  'Version',
  'Status',
  'ListPodSandbox',
  'PodSandboxStatus',
  'ListContainers',
  'ContainerStatus',
  'ListImages',
  'ImageStatus',
  'ImageFsInfo',
  'ListContainerStats',
  'ListPodSandboxStats',
  'RuntimeConfig',
]);
