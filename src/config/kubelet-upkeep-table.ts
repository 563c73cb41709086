import type { FlagTable } from './flag-table.ts';
import { anything, bool, duration, int, kubeletField, pairs } from './kubelet-field.ts';

const minuteMs = 60_000;
/** Zero is a value of its own. */
const time = { type: 'duration', default: 0 } as const;

/** Fields of KubeletConfiguration that keep a node from filling up, and those of its shutdown. */
export const kubeletUpkeepFields: FlagTable = [
  kubeletField(
    'evictionHard',
    pairs,
    'Where the node is under pressure, and pods are evicted at once: memory.available, nodefs.available, nodefs.inodesFree, imagefs.available, imagefs.inodesFree, pid.available. Default: memory.available=100Mi, nodefs.available=10%, nodefs.inodesFree=5%, imagefs.available=15%, imagefs.inodesFree=5%.',
  ),
  kubeletField(
    'mergeDefaultEvictionSettings',
    bool,
    'Whether limits that evictionHard does not name have their defaults.',
  ),
  kubeletField(
    'evictionSoft',
    pairs,
    'The same, where pods are evicted only once it was so for a while.',
  ),
  kubeletField('evictionSoftGracePeriod', pairs, 'For how long, by signal.'),
  kubeletField(
    'evictionMaxPodGracePeriod',
    int(0),
    'How many seconds a pod has to end then, at most; -1: as many as it says itself.',
  ),
  kubeletField(
    'evictionMinimumReclaim',
    pairs,
    'How much more than the limit there has to be before it is over, by signal.',
  ),
  kubeletField(
    'evictionPressureTransitionPeriod',
    duration(5 * minuteMs),
    'How long pressure is told of after it is over.',
  ),
  kubeletField(
    'imageGCHighThresholdPercent',
    int(85),
    'Images that nobody uses go when so much of their disk is full; 100: never.',
  ),
  kubeletField('imageGCLowThresholdPercent', int(80), 'Until no more of it is than this.'),
  kubeletField('imageMinimumGCAge', duration(2 * minuteMs), 'Younger ones stay.'),
  kubeletField(
    'imageMaximumGCAge',
    time,
    'What was not used for longer goes, however much room there is; 0: stays.',
  ),
  kubeletField(
    'shutdownGracePeriod',
    time,
    'So long a shutdown of the machine waits for pods to end, all of them together; 0: not at all. Needs systemd.',
  ),
  kubeletField(
    'shutdownGracePeriodCriticalPods',
    time,
    'So much of it is kept for critical pods, which end last.',
  ),
  kubeletField(
    'shutdownGracePeriodByPodPriority',
    anything,
    'Instead of both: a list of priority and shutdownGracePeriodSeconds; pods from a priority up to the next end together, the lowest first.',
  ),
];
