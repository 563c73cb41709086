import { readFile } from 'node:fs/promises';
import type { KubeletBase } from './kubelet.ts';
import type { NodeParts } from './node-parts.ts';
import type { Pod } from './pod/pod.ts';
import type { RuntimeFeatures } from './pod/unsupported.ts';
import { rejection } from './sources/admission.ts';
import type { AdmissionNode, Rejection } from './sources/admission.ts';

type Features = RuntimeFeatures & Pick<AdmissionNode, 'hasGroupsPolicy' | 'hasAppArmor'>;

/** What the machine and its runtime can do, and which pods are let in by that and by the node. */
export class PodAdmission {
  readonly features: Features;
  readonly #base: Pick<KubeletBase, 'metrics'>;
  readonly #node: NodeParts;

  private constructor(base: Pick<KubeletBase, 'metrics'>, node: NodeParts, features: Features) {
    this.#base = base;
    this.#node = node;
    this.features = features;
  }

  /** Asks the runtime. */
  static async open(
    base: Pick<KubeletBase, 'metrics' | 'cri'>,
    node: NodeParts,
    signal: AbortSignal,
  ): Promise<PodAdmission> {
    const { runtimeHandlers, features } = await base.cri.runtime.status({}, { signal });
    const usual = runtimeHandlers.find(({ name }) => name === '');
    return new PodAdmission(base, node, {
      recursiveReadOnlyMounts: usual?.features?.recursiveReadOnlyMounts ?? false,
      hasGroupsPolicy: features?.supplementalGroupsPolicy ?? false,
      hasAppArmor: await hasAppArmor(),
    });
  }

  /** Why a pod may not run beside others; undefined: it may. */
  judge(pod: Pod, others: readonly Pod[]): Rejection | undefined {
    const { hasAppArmor: apparmor, hasGroupsPolicy } = this.features;
    const node = this.#node.admission({ hasAppArmor: apparmor, hasGroupsPolicy });
    const found = rejection({ pod, others, node });
    if (found !== undefined) this.#base.metrics.pods.rejected(found.reason);
    return found;
  }
}

/** Whether the kernel keeps AppArmor profiles. */
async function hasAppArmor(): Promise<boolean> {
  const text = await readFile('/sys/module/apparmor/parameters/enabled', 'utf8').catch(() => '');
  return text.startsWith('Y');
}
