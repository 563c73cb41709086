import type { AnyCheck } from '../check.ts';
import { api, certificates } from './certificates.ts';
import { cgroups, mounts, ports, privileges, swap, tools } from './machine.ts';
import type { KubeletReadings, KubeletSubject } from './readings.ts';
import { network, runtime } from './runtime.ts';

/** Every check of the kubelet, in the order in which findings are told. */
export const kubeletChecks: readonly AnyCheck<KubeletReadings, KubeletSubject>[] = [
  privileges,
  runtime,
  cgroups,
  network,
  mounts,
  tools,
  swap,
  ports,
  certificates,
  api,
];
