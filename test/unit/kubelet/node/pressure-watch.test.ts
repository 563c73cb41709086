// When a node is under pressure, and when something has to be done about it.
import { expect, it } from 'vitest';
import { evictionThresholds } from '../../../../src/config/eviction-config.ts';
import { observe } from '../../../../src/kubelet/node/observations.ts';
import { PressureWatch } from '../../../../src/kubelet/node/pressure-watch.ts';
import type { NodeReadings } from '../../../../src/kubelet/node/node-readings.ts';

type Readings = Omit<NodeReadings, 'problems'>;

const nothing: Readings = {
  memory: undefined,
  disk: undefined,
  imageDisk: undefined,
  processes: undefined,
};

function memory(available: number): Readings {
  return { ...nothing, memory: { total: 1000, available } };
}

function watch(hard: Record<string, string>, soft = {}, graceMs = {}, reclaim = {}) {
  const thresholds = evictionThresholds({ hard, soft, graceMs, reclaim });
  return new PressureWatch({ thresholds, maxPodGraceSeconds: 0, transitionMs: 300 });
}

/** Signals of what is met. */
function met(of: PressureWatch, readings: Readings, nowMs = 0): readonly string[] {
  return of.observe(observe(readings), nowMs).map(({ threshold }) => threshold.signal);
}

it('tells of what is below its threshold, by number or by percentage', () => {
  const of = watch({ 'memory.available': '100', 'pid.available': '50%' });
  expect(met(of, memory(100))).toEqual([]);
  expect(met(of, { ...memory(99), processes: { most: 10, now: 6 } })).toEqual([
    'memory.available',
    'pid.available',
  ]);
  expect(of.observe(observe(memory(99)), 0)[0]).toMatchObject({
    below: 100,
    available: 99,
    capacity: 1000,
  });
  expect([...of.pressures(0)]).toEqual(['MemoryPressure', 'PIDPressure']);
});

it('says nothing of what was not read, or is nonsense', () => {
  const of = watch({ 'memory.available': '2k', 'nodefs.inodesFree': '99%' });
  expect(met(of, nothing)).toEqual([]);
  for (const available of [-1, 1001, Number.NaN]) expect(met(of, memory(available))).toEqual([]);
  const uncounted = { bytes: 10, availableBytes: 10, inodes: 0, freeInodes: 0 };
  expect(met(of, { ...nothing, disk: uncounted })).toEqual([]);
  expect(of.pressures(0).size).toBe(0);
  expect(met(of, memory(1000))).toEqual(['memory.available']);
});

it('waits where a threshold has a grace, and from the beginning when it was not met in between', () => {
  const of = watch({}, { 'memory.available': '100' }, { 'memory.available': 50 });
  expect(met(of, memory(10), 0)).toEqual([]);
  expect([...of.pressures(0)]).toEqual(['MemoryPressure']);
  expect(met(of, memory(10), 49)).toEqual([]);
  expect(met(of, memory(500), 50)).toEqual([]);
  expect(met(of, memory(10), 60)).toEqual([]);
  expect(met(of, nothing, 100)).toEqual([]);
  expect(met(of, memory(10), 110)).toEqual([]);
  expect(met(of, memory(10), 160)).toEqual(['memory.available']);
});

it('goes on until there is as much more as is to be reclaimed', () => {
  const of = watch({ 'memory.available': '100' }, {}, {}, { 'memory.available': '20' });
  expect(met(of, memory(110))).toEqual([]);
  expect(met(of, memory(90))).toEqual(['memory.available']);
  expect(met(of, memory(119))).toEqual(['memory.available']);
  expect(met(of, memory(120))).toEqual([]);
  expect(met(of, memory(119))).toEqual([]);
});

it('tells of pressure for a while after it is over', () => {
  const of = watch({ 'nodefs.available': '10' });
  const disk = { bytes: 100, availableBytes: 5, inodes: 9, freeInodes: 9 };
  met(of, { ...nothing, disk }, 1000);
  met(of, { ...nothing, disk: { ...disk, availableBytes: 50 } }, 1100);
  expect([...of.pressures(1300)]).toEqual(['DiskPressure']);
  expect(of.pressures(1301).size).toBe(0);
});

it('thinks of memory before all else', () => {
  const of = watch({ 'nodefs.available': '10', 'memory.available': '100' });
  const disk = { bytes: 100, availableBytes: 5, inodes: 9, freeInodes: 9 };
  expect(met(of, { ...memory(1), disk })).toEqual(['memory.available', 'nodefs.available']);
});
