// The fields that keep a node from filling up, and those of its shutdown: what they become, and all that is wrong with them.
import { expect, test } from 'vitest';
import { readKubeletFiles } from '../../../src/config/kubelet-file.ts';
import { kubeletFlags } from '../../../src/config/kubelet-flags.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { kubeletConfig } from '../../../src/config/read-kubelet-config.ts';
import type { KubeletConfig } from '../../../src/config/kubelet-config.ts';

function read(text: string): KubeletConfig {
  const head = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
  const { flags } = parseFlags(kubeletFlags, ['--kubeconfig=k']);
  const files = [{ path: '/k.yaml', text: head + text }];
  return kubeletConfig(readKubeletFiles(files, kubeletFlags, flags).flags);
}

test('nothing said: the defaults of Kubernetes', () => {
  const { eviction, imageGc, shutdown } = read('');
  expect(eviction.thresholds.map(({ signal, below }) => `${signal}<${below}`)).toEqual([
    'memory.available<100Mi',
    'nodefs.available<10%',
    'nodefs.inodesFree<5%',
    'imagefs.available<15%',
    'imagefs.inodesFree<5%',
  ]);
  expect(eviction).toMatchObject({ maxPodGraceSeconds: 0, transitionMs: 300_000 });
  expect(imageGc).toEqual({ highPercent: 85, lowPercent: 80, minAgeMs: 120_000, maxAgeMs: 0 });
  expect(shutdown).toEqual([]);
});

test('hard and soft thresholds, each with what is to be reclaimed; 0% is none', () => {
  const { eviction, node } = read(`
evictionHard: { memory.available: 1Gi, nodefs.available: 0%, imagefs.available: 100% }
evictionSoft: { memory.available: 10%, pid.available: 500 }
evictionSoftGracePeriod: { memory.available: 1m30s, pid.available: 0s }
evictionMinimumReclaim: { memory.available: 0, pid.available: 5% }
evictionMaxPodGracePeriod: 60
evictionPressureTransitionPeriod: 10s
`);
  expect(eviction).toEqual({
    thresholds: [
      { signal: 'memory.available', below: '1Gi', graceMs: undefined, reclaim: '0' },
      { signal: 'memory.available', below: '10%', graceMs: 90_000, reclaim: '0' },
      { signal: 'pid.available', below: '500', graceMs: 0, reclaim: '5%' },
    ],
    maxPodGraceSeconds: 60,
    transitionMs: 10_000,
  });
  // What is switched off keeps nothing from pods.
  expect(node.evictionHard).toEqual({ 'memory.available': '1Gi' });
});

test('defaults are there beside what is said, where that is asked for', () => {
  const text = 'mergeDefaultEvictionSettings: true\nevictionHard: { memory.available: 1Gi }';
  const found = read(text).eviction.thresholds.map(({ below }) => below);
  expect(found).toEqual(['1Gi', '10%', '5%', '15%', '5%']);
});

test('a shutdown: two groups by the time of all pods and of critical ones, or as many as are named', () => {
  const both = read('shutdownGracePeriod: 30s\nshutdownGracePeriodCriticalPods: 10s');
  expect(both.shutdown).toEqual([
    { priority: 0, seconds: 20 },
    { priority: 2_000_000_000, seconds: 10 },
  ]);
  const named = read(`
shutdownGracePeriodByPodPriority:
  - { priority: 1000, shutdownGracePeriodSeconds: 5 }
  - { priority: -10, shutdownGracePeriodSeconds: 60 }
`);
  expect(named.shutdown).toEqual([
    { priority: -10, seconds: 60 },
    { priority: 1000, seconds: 5 },
  ]);
});

test.for([
  ['evictionHard: { memory.available: 101% }', '"101%" is neither a quantity nor a percentage'],
  ['evictionHard: { memory.available: -1% }', '"-1%" is neither a quantity nor a percentage'],
  ['evictionHard: { memory.available: -1Gi }', '"-1Gi" is neither a quantity nor a percentage'],
  ['evictionHard: { memory.available: 0Mi }', '"0Mi" is not above 0; 0% switches it off'],
  ['evictionSoft: { cpu.available: 1 }', '"cpu.available" is not one of memory.available'],
  [
    'evictionSoft: { memory.available: 1Gi }',
    'evictionSoftGracePeriod: memory.available is missing, evictionSoft has it',
  ],
  ['evictionSoftGracePeriod: { memory.available: -1s }', '"-1s" is not a duration'],
  ['evictionSoftGracePeriod: { memory.available: soon }', '"soon" is not a duration'],
  ['evictionMinimumReclaim: { disk: 1Gi }', '"disk" is not one of'],
  ['evictionMinimumReclaim: { nodefs.available: much }', '"much" is neither a quantity'],
  ['imageGCHighThresholdPercent: 101', '101 is not 0 to 100'],
  ['imageGCLowThresholdPercent: 85', '85 is not below imageGCHighThresholdPercent, which is 85'],
  ['imageMaximumGCAge: 1m', 'has to be above imageMinimumGCAge'],
  ['shutdownGracePeriod: 500ms', 'has to be 0, or a second at least'],
  ['shutdownGracePeriodCriticalPods: 10s', 'is longer than shutdownGracePeriod'],
  [
    'shutdownGracePeriodByPodPriority: [{ priority: low }]',
    '{"priority":"low"} is not a priority and its shutdownGracePeriodSeconds',
  ],
  ['shutdownGracePeriodByPodPriority: [{ priority: 1 }, { priority: 1 }]', 'has a priority twice'],
  [
    'shutdownGracePeriod: 30s\nshutdownGracePeriodByPodPriority: [{ priority: 1 }]',
    'cannot be together with shutdownGracePeriod',
  ],
] as const)('%s: %s', ([text, problem]) => {
  expect(() => read(text)).toThrow(problem);
});

test('all that is wrong is told at once', () => {
  const text = 'evictionHard: { a: 1, nodefs.available: x }\nevictionMinimumReclaim: { b: 1 }';
  expect(() => read(text)).toThrow(/"a" is not[^]*"x" is neither[^]*"b" is not/);
});
