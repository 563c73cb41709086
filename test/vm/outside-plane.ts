import { ControlPlane } from '../cluster/control-plane.ts';
import { serviceCidrs } from '../cluster/twin-nodes.ts';
import { outsideAddress } from './guest.ts';
import type { Guest } from './guest.ts';

/** What a control plane outside may start with. */
interface PlaneOptions {
  /** Writes etcd's data before the API server starts; gets its network namespace. */
  readonly load?: (namespace: string) => Promise<void>;
  readonly signal: AbortSignal;
}

/**
 * Starts a control plane outside of a guest, where it has the speed of the machine; the guest reaches it as
 * {@link outsideAddress}, port 6443. `stop` ends it.
 */
export async function outsidePlane(
  guest: Guest,
  { load, signal }: PlaneOptions,
): Promise<ControlPlane> {
  const { namespace } = guest;
  const plane = new ControlPlane({ namespace, address: outsideAddress, serviceCidrs, signal });
  try {
    await guest.ip([
      `addr add ${outsideAddress}/32 dev lo`,
      'route add default dev lo', // the API server wants to find an address of its own
    ]);
    plane.startEtcd();
    await load?.(namespace);
    await plane.startApiServer();
    return plane;
  } catch (error) {
    await plane.stop();
    throw error;
  }
}
