import type { KubeletBase } from '../base/kubelet-base.ts';
import type { RuntimeSettings } from '../runtime/settings.ts';
import type { NodeParts } from './node-parts.ts';
import { PodAdmission } from './pod-admission.ts';
import { runtimeSettings } from './runtime-settings.ts';
import type { StandingParts } from './standing-parts.ts';

/** What only a runtime that answers can say. */
export interface Found {
  readonly settings: RuntimeSettings;
  readonly admission: PodAdmission;
}

/** Asks it, and has its pods listed. */
export async function askRuntime(
  base: KubeletBase,
  node: NodeParts,
  { dns, view }: StandingParts,
  signal: AbortSignal,
): Promise<Found> {
  const admission = await PodAdmission.open(base, node, signal);
  await dns.read();
  const settings = await runtimeSettings(base);
  await view.relist();
  return { settings, admission };
}
