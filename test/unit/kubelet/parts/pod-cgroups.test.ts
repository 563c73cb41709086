import { describe, expect, it } from 'vitest';
import { podCgroups } from '../../../../src/kubelet/parts/pod-cgroups.ts';
import { NamedSlices, OwnCgroups, noCgroups } from '../../../../src/kubelet/runtime/cgroups.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';
import { settings } from '../runtime/settings.ts';

function chosen(driver: 'cgroupfs' | 'systemd', perQos: boolean, hasBus: boolean) {
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (_: object, text: string) => void warnings.push(text) };
  const own = { ...settings, pidsLimit: 64n, cgroup: { ...settings.cgroup, driver, perQos } };
  const made = podCgroups(
    own,
    { clock: new VirtualClock(), log, meter: { cgroupChanged: () => {} } },
    hasBus,
  );
  return { made, warnings };
}

describe('who makes the cgroups of pods', () => {
  it.each([
    ['cgroupfs', false],
    ['cgroupfs', true],
    ['systemd', true],
  ] as const)('with the driver %s, and a bus: %s, this process', (driver, hasBus) => {
    const { made, warnings } = chosen(driver, true, hasBus);
    expect(made).toBeInstanceOf(OwnCgroups);
    expect(warnings).toEqual([]);
  });

  it('where systemd cannot be asked, the runtime: it is told what that means', () => {
    const { made, warnings } = chosen('systemd', true, false);
    expect(made).toBeInstanceOf(NamedSlices);
    expect(warnings).toEqual([
      expect.stringMatching(/^cgroups of pods have no limits, and stay: .*no \/run\/dbus/),
      expect.stringMatching(/^podPidsLimit has no effect: systemd cannot be asked/),
    ]);
  });

  it('nobody, where pods are to have none', () => {
    const { made, warnings } = chosen('systemd', false, true);
    expect(made).toBe(noCgroups);
    expect(warnings).toEqual(['podPidsLimit has no effect: pods have no cgroups']);
  });
});
