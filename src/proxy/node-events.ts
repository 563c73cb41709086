import type { Family } from '../ip/address.ts';
import { familyLabel } from '../ip/address.ts';
import type { Events, ObjectEvent } from '../telemetry/events.ts';

/** What is done about an address that cannot be taken off a node. */
export const stuckAdvice = 'what comes for it is refused, and it is tried again';

/** Events on this Node: what concerns no single Service. Who calls this tells each problem once, and again when it came back. */
export class NodeEvents {
  readonly #events: Events;
  readonly #nodeName: string;

  constructor(events: Events, nodeName: string) {
    this.#events = events;
    this.#nodeName = nodeName;
  }

  /** As kube-proxy says it. */
  starting(mode: string): void {
    this.#tell({
      reason: 'Starting',
      action: 'StartKubeProxy',
      note: `switchyard proxy begins to serve Services, mode ${mode}`,
      type: 'Normal',
    });
  }

  /** A server of the proxy's own cannot listen; the reason is kube-proxy's. */
  serverFailed(server: 'health' | 'metrics', why: string): void {
    this.#tell({
      reason: server === 'health' ? 'FailedToStartProxierHealthcheck' : 'FailedToStartMetricServer',
      action: 'Listen',
      note: why,
    });
  }

  /** For longer than passes by itself nothing could be written. */
  syncFails(family: Family, why: string, forMs: number): void {
    this.#tell({
      reason: 'SyncFailed',
      action: 'ProgramRules',
      note:
        `the ${familyLabel(family)} rules could not be written for ${Math.round(forMs / 1000)} s: ${why}; ` +
        'those that are in stay, and it is tried again; the log of switchyard there says more',
    });
  }

  /** The node still has an address of a Service that is gone. */
  addressStuck(why: string): void {
    this.#tell({
      reason: 'AddressStuck',
      action: 'UnbindAddress',
      note: `an address of a Service that is gone is left: ${why}; ${stuckAdvice}`,
    });
  }

  #tell(event: Omit<ObjectEvent, 'regarding' | 'scope'>): void {
    const name = this.#nodeName;
    // kubelet and kube-proxy give the name as the uid, by which `kubectl describe node` finds them
    const regarding = { apiVersion: 'v1', kind: 'Node', namespace: '', name, uid: name };
    this.#events.tell({ ...event, regarding, scope: 'node' });
  }
}
