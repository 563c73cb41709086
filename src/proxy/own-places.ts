import { join } from 'node:path';
import { StandingListeners } from '../backends/userspace/standing-backend.ts';
import type { BackendsOptions, FamilyBackend, OpenMode } from './open-mode.ts';
import { FileNeeds } from './file-needs.ts';
import { HeldInstances } from './held-instances.ts';
import { handOver, openKeeper, openRelay, relaySettings, workersOf } from './userspace-backends.ts';

/**
 * Userspace mode without portals: no tool is run, nothing of the machine is changed, and no privilege is needed. Another
 * agent is named and not waited for: it may serve other Services.
 */
export async function openOwnPlaces(options: BackendsOptions): Promise<OpenMode> {
  const { config, env, log, print, instances = new HeldInstances() } = options;
  const { userspace } = config;
  const { instance, other } = await instances.nameOther('switchyard-userspace-none', options);
  if (other !== undefined) {
    const hint =
      'end one of them where both serve the same Services: what it has ended for is served at the next look';
    log.warn({ hint }, `${other}: where it listens, this one cannot`);
  }
  const relay = await openRelay(userspace, options);
  const keeper = openKeeper(userspace.stateFile ?? usualOwnStateFile(env), options);
  const { addresses } = await keeper.load();
  const files = new FileNeeds(log, workersOf(userspace));
  const listeners = new StandingListeners({
    options: { ...relaySettings(userspace), portOffset: userspace.portOffset },
    relay,
    keeper,
    kept: addresses,
    print,
    onListening: (count) => files.listening('ipv4', count),
  });
  const families = (['ipv4', 'ipv6'] as const).map((family): FamilyBackend => ({
    family,
    backend: listeners.backend(family),
    untracked: true,
  }));
  return { families, relay, ...handOver(relay, instance) };
}

/** Where programs of a user keep their state; '' where the environment names no place. */
export function usualOwnStateFile(env: Readonly<Record<string, string | undefined>>): string {
  const { XDG_STATE_HOME: state, HOME: home } = env;
  const folder = state || (home ? join(home, '.local', 'state') : '');
  return folder === '' ? '' : join(folder, 'switchyard', 'userspace.json');
}
