// The table of a node's pods, what is said below it, and which pod a name means.
import { expect, test } from 'vitest';
import { chooseContainer, choosePod } from '../../../src/cli/pod-choice.ts';
import { psText } from '../../../src/cli/ps-text.ts';
import type { PodEntry, PodsDocument } from '../../../src/kubelet/admin/pods-document.ts';

const now = '2026-01-01T01:00:00.000Z';

function entry(name: string, changes: Partial<PodEntry> = {}): PodEntry {
  const container = {
    name: 'app',
    kind: 'container',
    image: 'shop/app:1',
    id: '',
    state: 'running',
    reason: '',
    message: '',
    exitCode: null,
    ready: true,
    restarts: 0,
  } as const;
  return {
    namespace: 'default',
    name,
    uid: name,
    source: 'file',
    status: 'Running',
    message: '',
    ready: 1,
    total: 1,
    restarts: 0,
    lastRestart: null,
    created: '2026-01-01T00:57:55.000Z',
    ips: ['10.244.0.7', 'fd00::7'],
    containers: [{ ...container, name: 'wait', kind: 'init' }, container],
    ...changes,
  };
}

function document(changes: Partial<PodsDocument> = {}): PodsDocument {
  return { now, node: 'n1', waitsFor: null, pods: [], sources: [], ...changes };
}

const crashing = entry('web-n1', {
  status: 'CrashLoopBackOff',
  ready: 0,
  restarts: 3,
  lastRestart: '2026-01-01T00:59:50.000Z',
  message: 'back-off 40s restarting\nfailed container',
});
const pending = entry('db-n1', { status: 'Pending', ready: 0, created: null, ips: [] });

test('a pod a line, and why one does not run below', () => {
  expect(psText(document({ pods: [crashing, pending, entry('x-n1')] }), false)).toBe(`\
NAME            READY  STATUS            RESTARTS     AGE   IP
default/web-n1  0/1    CrashLoopBackOff  3 (10s ago)  2m5s  10.244.0.7
default/db-n1   0/1    Pending           0            -     -
default/x-n1    1/1    Running           0            2m5s  10.244.0.7

default/web-n1: back-off 40s restarting; failed container
`);
});

test('wide, with all addresses, the source, images and the message', () => {
  const [, line] = psText(document({ pods: [crashing] }), true).split('\n');
  expect(line).toMatch(
    /10\.244\.0\.7,fd00::7 {2}file +shop\/app:1,shop\/app:1 {2}back-off 40s restarting; failed container$/,
  );
});

test('what of the sources is not run is told', () => {
  const sources = [
    {
      name: 'file',
      place: '/etc/pods',
      complete: true,
      stale: false,
      refused: [{ what: '/etc/pods/a.yaml', reason: 'is left out: spec: is missing' }],
    },
    {
      name: 'http',
      place: 'http://a/b',
      complete: false,
      stale: true,
      refused: [
        { what: 'http://a/b', reason: 'cannot be used' },
        { what: 'items[1] (default/x)', reason: 'is left out: no' },
      ],
    },
    { name: 'api', place: 'https://api', complete: false, stale: false, refused: [] },
  ] as const;
  expect(psText(document({ sources }), false)).toBe(`\
there are no pods on n1

/etc/pods/a.yaml is left out: spec: is missing
http://a/b cannot be used
http://a/b: items[1] (default/x) is left out: no
https://api has not said yet which pods there are
`);
});

test('an agent that waits says for what', () => {
  expect(psText(document({ waitsFor: 'containerd is away' }), false)).toBe(
    'no pods are run yet: containerd is away\n',
  );
});

test('a pod is meant by its name, with its namespace or without, and by the name in its manifest', () => {
  const other = entry('web-n1', { namespace: 'shop', uid: 'other' });
  const all = document({ pods: [crashing, other, pending, entry('db', { uid: 'exact' })] });
  expect(choosePod(all, 'shop/web-n1', '').uid).toBe('other');
  expect(choosePod(all, 'web', 'shop').uid).toBe('other');
  expect(choosePod(all, 'db', '').uid).toBe('exact');
  expect(() => choosePod(all, 'web', '')).toThrow('"web" is default/web-n1 and shop/web-n1');
  expect(() => choosePod(all, 'none', '')).toThrow('there is no pod "none" on n1');
});

test('of a pod that ends and the one that follows it, the latter is meant', () => {
  const old = entry('web-n1', { uid: 'old', status: 'Terminating' });
  expect(choosePod(document({ pods: [old, entry('web-n1')] }), 'web', '').uid).toBe('web-n1');
  expect(choosePod(document({ pods: [old] }), 'web', '').uid).toBe('old');
});

test('the first container that lasts is meant, and another one by its name', () => {
  expect(chooseContainer(crashing, '')).toBe('app');
  expect(chooseContainer(crashing, 'wait')).toBe('wait');
  expect(() => chooseContainer(crashing, 'side')).toThrow('has no container "side"');
});
