import { expect, test } from 'vitest';
import { logContainer } from '../../../../../src/kubelet/server/logs/log-container.ts';
import { parseLogOptions } from '../../../../../src/kubelet/server/logs/log-options.ts';
import { pod, running, runningPod } from '../../support/pods.ts';

/** What of which log is meant by a request. */

const nowMs = Date.parse('2026-01-02T03:04:05Z');
const parse = (query: string): ReturnType<typeof parseLogOptions> =>
  parseLogOptions(new URLSearchParams(query), nowMs);

const plain = {
  follow: false,
  previous: false,
  timestamps: false,
  tailLines: undefined,
  since: undefined,
  limitBytes: undefined,
  stream: undefined,
};

test.each([
  ['', {}],
  ['follow=true&previous=1&timestamps=true', { follow: true, previous: true, timestamps: true }],
  ['follow=false', {}],
  ['tailLines=3', { tailLines: 3 }],
  ['tailLines=0&limitBytes=10', { tailLines: 0, limitBytes: 10 }],
  ['tail=all', {}],
  ['tail=5', { tailLines: 5 }],
  ['sinceSeconds=5', { since: BigInt(nowMs - 5000) * 1_000_000n }],
  ['sinceTime=2026-01-02T03:04:05.000000007Z', { since: BigInt(nowMs) * 1_000_000n + 7n }],
  ['sinceTime=2026-01-02T05:04:05%2B02:00', { since: BigInt(nowMs) * 1_000_000n }],
  ['stream=Stderr', { stream: 'stderr' }],
])('"%s" asks for %o', (query, changes) => {
  expect(parse(query)).toEqual({ kind: 'options', options: { ...plain, ...changes } });
});

test.each(['follow=perhaps', 'tailLines=many', 'sinceTime=yesterday', 'limitBytes=1.5'])(
  '"%s" cannot be understood: 400',
  (query) => {
    expect(parse(query)).toMatchObject({ kind: 'refused', status: 400 });
  },
);

test.each([
  'tailLines=-1',
  'sinceSeconds=0',
  'limitBytes=0',
  'sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z',
  'stream=Stdin',
])('"%s" makes no sense: 422', (query) => {
  expect(parse(query)).toMatchObject({ kind: 'refused', status: 422 });
});

const ended = { terminated: { exitCode: 1, containerID: 'containerd://before' } };
const waitsFor = (reason?: string): object => ({
  containerID: '',
  state: { waiting: reason === undefined ? {} : { reason } },
});

test.each([
  [{ state: { running: {} } }, false, 'one'],
  [{ state: { terminated: { exitCode: 0, containerID: 'containerd://now' } } }, false, 'now'],
  [{ ...waitsFor('CrashLoopBackOff'), lastState: ended }, false, 'before'],
  [{ lastState: ended }, true, 'before'],
  [{}, true, 'previous terminated container "app" in pod "web" not found'],
  [
    waitsFor('PodInitializing'),
    false,
    'container "app" in pod "web" is waiting to start: PodInitializing',
  ],
  [
    waitsFor('ErrImagePull'),
    false,
    'container "app" in pod "web" is waiting to start: image can\'t be pulled',
  ],
  [
    waitsFor('ImagePullBackOff'),
    false,
    'container "app" in pod "web" is waiting to start: trying and failing to pull image',
  ],
])('of %o, previous %s, it is %s', (changes, previous, expected) => {
  const found = logContainer({ ...pod(), status: runningPod(running(changes)) }, 'app', previous);
  expect(found.kind === 'container' ? found.id : found.text).toBe(expected);
});

test('a container without a status is not available yet', () => {
  expect(logContainer(pod(), 'app', false)).toEqual({
    kind: 'none',
    text: 'container "app" in pod "web" is not available',
  });
});
