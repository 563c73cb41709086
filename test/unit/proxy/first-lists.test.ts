import { expect, it } from 'vitest';
import { tellWaiting } from '../../../src/proxy/first-lists.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { VirtualClock } from './virtual-clock.ts';

function rig() {
  const clock = new VirtualClock();
  const told: (readonly [number, string])[] = [];
  const warn = (_: object, message: string): void => void told.push([clock.now(), message]);
  const services = { name: 'services', synced: false };
  const slices = { name: 'endpointslices', synced: false };
  const stop = new AbortController();
  const done = tellWaiting([services, slices], { clock, log: { ...silentLog, warn } }, stop.signal);
  return { clock, told, services, slices, stop, done };
}

it('names the lists that are missing, ever more rarely', async () => {
  const { clock, told, services, slices, done } = rig();
  await clock.advance(29_999);
  services.synced = true;
  await clock.advance(40_001);
  slices.synced = true;
  await clock.advance(80_000);
  await done;
  const rest = 'no rules are written before it';
  expect(told).toEqual([
    [10_000, `still waiting for the first list of services, endpointslices: ${rest}`],
    [30_000, `still waiting for the first list of endpointslices: ${rest}`],
    [70_000, `still waiting for the first list of endpointslices: ${rest}`],
  ]);
});

it('says nothing where the lists are there in time, or the agent stops', async () => {
  const quick = rig();
  quick.services.synced = true;
  quick.slices.synced = true;
  await quick.clock.advance(10_000);
  await quick.done;
  const stopped = rig();
  stopped.stop.abort();
  await stopped.done;
  expect([...quick.told, ...stopped.told]).toEqual([]);
});
