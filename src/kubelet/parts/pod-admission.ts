import { readFile } from 'node:fs/promises';
import type { KubeletBase } from '../base/kubelet-base.ts';
import { takesStopSignals } from '../cri/stop-signals.ts';
import type { NodeParts } from './node-parts.ts';
import type { Pod } from '../pod/pod.ts';
import type { RuntimeFeatures } from '../pod/unsupported.ts';
import { rejection } from '../sources/admission.ts';
import type { AdmissionNode, Rejection } from '../sources/admission.ts';

type Features = RuntimeFeatures & Pick<AdmissionNode, 'hasGroupsPolicy' | 'hasAppArmor'>;

/** What the machine and its runtime can do, and which pods are let in by that and by the node. */
export class PodAdmission {
  readonly features: Features;
  readonly #node: NodeParts;

  private constructor(node: NodeParts, features: Features) {
    this.#node = node;
    this.features = features;
  }

  /** Asks the runtime. */
  static async open(
    {
      cri,
      health,
    }: Pick<KubeletBase, 'cri'> & { health: Pick<KubeletBase['health'], 'stopSignals'> },
    node: NodeParts,
    signal: AbortSignal,
  ): Promise<PodAdmission> {
    const { runtimeHandlers, features } = await cri.runtime.status({}, { signal });
    const isTaken = takesStopSignals(await cri.runtime.version({ version: 'v1' }, { signal }));
    const usual = runtimeHandlers.find(({ name }) => name === '');
    return new PodAdmission(node, {
      recursiveReadOnlyMounts: usual?.features?.recursiveReadOnlyMounts ?? false,
      // Another release may take the place of this one.
      get stopSignals() {
        return health.stopSignals ?? isTaken;
      },
      hasGroupsPolicy: features?.supplementalGroupsPolicy ?? false,
      hasAppArmor: await hasAppArmor(),
    });
  }

  /** Why a pod may not run beside others; undefined: it may. */
  judge(pod: Pod, others: readonly Pod[]): Rejection | undefined {
    const { hasAppArmor: apparmor, hasGroupsPolicy } = this.features;
    const node = this.#node.admission({ hasAppArmor: apparmor, hasGroupsPolicy });
    return rejection({ pod, others, node });
  }
}

/** Whether the kernel keeps AppArmor profiles. */
async function hasAppArmor(): Promise<boolean> {
  const text = await readFile('/sys/module/apparmor/parameters/enabled', 'utf8').catch(() => '');
  return text.startsWith('Y');
}
