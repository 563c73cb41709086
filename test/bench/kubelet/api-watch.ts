import { request } from 'node:https';
import type { ControlPlane } from '../../cluster/control-plane.ts';
import { tokens } from '../../cluster/control-plane.ts';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly lastHeartbeatTime?: string;
}

interface Seen {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
  readonly status: {
    readonly phase?: string;
    readonly conditions?: readonly Condition[];
    readonly containerStatuses?: readonly { readonly restartCount: number }[];
  };
}

interface Event {
  readonly type: string;
  readonly object: Seen;
}

/** What a watch of pods and nodes has told, by the clock of this process (`performance.now()`). */
export class ApiWatch {
  readonly #control: ControlPlane;
  /** When a pod was seen to be Ready for the first time. */
  readonly readyMs = new Map<string, number>();
  /** When a pod was seen in the phase Failed or Succeeded. */
  readonly overMs = new Map<string, number>();
  /** Pods that were Ready, and then were not, though nobody deleted them. */
  readonly faltered = new Set<string>();
  /** The most restarts that a container of a pod was said to have. */
  mostRestarts = 0;
  /** When the node was last seen to be Ready with a newer date than before; 0: never. */
  nodeReportedMs = 0;
  #heartbeat = '';

  constructor(control: ControlPlane) {
    this.#control = control;
  }

  async start(): Promise<void> {
    await Promise.all([
      this.#follow('/api/v1/pods', (event) => this.#podSeen(event)),
      this.#follow('/api/v1/nodes', ({ object }) => this.#nodeSeen(object)),
    ]);
  }

  #podSeen({ type, object }: Event): void {
    const { metadata, status } = object;
    if (type === 'DELETED' || metadata.deletionTimestamp !== undefined) return;
    const now = performance.now();
    const { name } = metadata;
    const isOver = status.phase === 'Failed' || status.phase === 'Succeeded';
    if (isOver && !this.overMs.has(name)) this.overMs.set(name, now);
    if (conditionIs(object, 'Ready', 'True')) {
      if (!this.readyMs.has(name)) this.readyMs.set(name, now);
    } else if (this.readyMs.has(name) && !isOver) this.faltered.add(name);
    const restarts = (status.containerStatuses ?? []).map(({ restartCount }) => restartCount);
    this.mostRestarts = Math.max(this.mostRestarts, ...restarts);
  }

  #nodeSeen({ status }: Seen): void {
    const ready = status.conditions?.find(({ type }) => type === 'Ready');
    if (ready?.status !== 'True' || ready.lastHeartbeatTime === this.#heartbeat) return;
    this.#heartbeat = ready.lastHeartbeatTime ?? '';
    this.nodeReportedMs = performance.now();
  }

  /** A watch that goes on as long as this process does; resolves when it is open. */
  async #follow(path: string, seen: (event: Event) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const call = request(
        {
          host: this.#control.address,
          port: 6443,
          path: `${path}?watch=true&timeoutSeconds=3600`,
          ca: this.#control.certificate,
          headers: { authorization: `Bearer ${tokens.admin}` },
        },
        (response) => {
          resolve();
          let rest = '';
          response.setEncoding('utf8').on('data', (text: string) => {
            const lines = (rest + text).split('\n');
            rest = lines.pop() ?? '';
            for (const line of lines) seen(JSON.parse(line) as Event);
          });
          response.once('close', () => {
            process.stderr.write(`bench:kubelet: the watch of ${path} has ended\n`);
            process.exit(1);
          });
        },
      );
      call.once('error', reject);
      call.end();
    });
  }
}

function conditionIs({ status }: Seen, type: string, value: string): boolean {
  return status.conditions?.some((each) => each.type === type && each.status === value) === true;
}
