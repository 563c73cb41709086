import { configTree } from './config-object.ts';
import type { ConfigValue } from './config-object.ts';
import type { FlagTable, FlagValues } from './flag-table.ts';
import type { KubeletConfig } from './kubelet-config.ts';
import { kubeletFileKind } from './kubelet-file.ts';
import { withoutPassword } from './kubelet-pod-sources.ts';

/**
 * The configuration that is used, as a KubeletConfiguration with all fields, sorted by name: what flags say is in it, and every default.
 * Headers may be credentials: their values are not shown, and neither is a password of a URL.
 */
export function kubeletConfigObject(
  table: FlagTable,
  flags: FlagValues,
  config: Pick<KubeletConfig, 'node' | 'runtime'>,
): { readonly [name: string]: ConfigValue } {
  const headers = flags.list('staticPodURLHeader').map((each) => each.slice(0, each.indexOf(':')));
  return configTree(
    table,
    flags,
    new Map<string, ConfigValue>([
      ['apiVersion', kubeletFileKind.apiVersion],
      ['kind', kubeletFileKind.kind],
      ['evictionHard', config.node.evictionHard],
      ['cgroupRoot', config.runtime.cgroups.root],
      ['staticPodURL', withoutPassword(flags.text('staticPodURL'))],
      ['staticPodURLHeader', Object.fromEntries(headers.map((name) => [name, ['<hidden>']]))],
    ]),
  );
}
