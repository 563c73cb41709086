// What a node has, and what of it is left for pods.
import { expect, test } from 'vitest';
import { nodeCapacity, thresholdOf } from '../../../../src/kubelet/node/capacity.ts';
import { reportedVersion } from '../../../../src/kubelet/node/kubelet-version.ts';

const mib = 1024 ** 2;
const machine = {
  cpus: 2,
  memoryBytes: 4096 * mib,
  hugePages: new Map([
    [2 * mib, 64],
    [1024 * mib, 0],
  ]),
};
const disk = { bytes: 1000 * mib, availableBytes: 1, inodes: 1, freeInodes: 1 };
const settings = {
  maxPods: 10,
  podsPerCore: 0,
  systemReserved: { cpu: '250m', memory: '100Mi' },
  kubeReserved: { cpu: '0.5', 'ephemeral-storage': '10Mi' },
  evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '10%' },
  countsLocalStorage: true,
};

test('what is reserved, the limits of eviction and huge pages are no pod’s', () => {
  expect(nodeCapacity(machine, disk, settings)).toEqual({
    capacity: {
      cpu: '2',
      'ephemeral-storage': `${1000 * 1024}Ki`,
      'hugepages-1Gi': '0',
      'hugepages-2Mi': `${128 * 1024}Ki`,
      memory: `${4096 * 1024}Ki`,
      pods: '10',
    },
    allocatable: {
      cpu: '1250m',
      'ephemeral-storage': `${890 * 1024}Ki`,
      'hugepages-1Gi': '0',
      'hugepages-2Mi': `${128 * 1024}Ki`,
      memory: `${(4096 - 200 - 128) * 1024}Ki`,
      pods: '10',
    },
  });
});

test('nothing is below nothing, and storage that is not counted is not told', () => {
  const all = {
    ...settings,
    systemReserved: { cpu: '5', memory: '5Gi' },
    countsLocalStorage: false,
  };
  expect(nodeCapacity(machine, disk, all).allocatable).toEqual({
    cpu: '0',
    'hugepages-1Gi': '0',
    'hugepages-2Mi': `${128 * 1024}Ki`,
    memory: '0',
    pods: '10',
  });
});

test.each([
  [0, 10],
  [3, 6],
  [5, 10],
  [6, 10],
])('with %i pods a core and 2 cores the node takes %i', (podsPerCore, expected) => {
  const { capacity, allocatable } = nodeCapacity(machine, disk, { ...settings, podsPerCore });
  expect([capacity['pods'], allocatable['pods']]).toEqual([`${expected}`, `${expected}`]);
});

test.each([
  ['100Mi', 100 * mib],
  ['10%', 100],
  ['7.5%', 75],
  [undefined, 0],
  ['', 0],
])('of 1000, the threshold %s is %i', (text, expected) => {
  expect(thresholdOf(text, 1000)).toBe(expected);
});

test('a version is said whole where nothing is known of the server', () => {
  expect(reportedVersion(undefined)).toMatch(/^v1\.\d+\.\d+$/);
});
