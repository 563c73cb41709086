// What the runtime can do, as pods are held against it.
import { expect, it } from 'vitest';
import type { KubeletBase } from '../../../../src/kubelet/base/kubelet-base.ts';
import type { NodeParts } from '../../../../src/kubelet/parts/node-parts.ts';
import { PodAdmission } from '../../../../src/kubelet/parts/pod-admission.ts';

it('signals are those of the release that runs, also of one that takes the place of another', async () => {
  const runtime = {
    status: async () => ({ runtimeHandlers: [] }),
    version: async () => ({ runtimeName: 'containerd', runtimeVersion: 'v2.3.1' }),
  };
  const cri = { runtime } as unknown as KubeletBase['cri'];
  const health: { stopSignals: boolean | undefined } = { stopSignals: undefined };
  const { signal } = new AbortController();
  const { features } = await PodAdmission.open({ cri, health }, {} as NodeParts, signal);
  expect(features.stopSignals).toBe(true);
  health.stopSignals = false;
  expect(features.stopSignals).toBe(false);
  health.stopSignals = true;
  expect(features.stopSignals).toBe(true);
});
