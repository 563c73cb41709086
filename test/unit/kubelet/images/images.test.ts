import { rmSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { errorText } from '../../../../src/error.ts';
import type { Auth } from '../../../../src/kubelet/images/images.ts';
import { Images } from '../../../../src/kubelet/images/images.ts';
import { normalImageName } from '../../../../src/kubelet/images/image-name.ts';
import { FakeRuntime } from '../../../support/fake-cri/fake-runtime.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { VirtualClock, settle } from '../../proxy/virtual-clock.ts';
import { container, pod } from '../runtime/made-pods.ts';

/** Images as pull policies want them. */

let folder: string;
let clock: VirtualClock;
let fake: FakeRuntime;
let events: string[];

beforeEach(() => {
  folder = ownFolder('switchyard-images');
  clock = new VirtualClock();
  fake = new FakeRuntime({ clock, folder });
  events = [];
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function images(
  maxPulls: number | undefined,
  auth: readonly Auth[] = [],
  rate = { qps: 0, burst: 0 },
): Images {
  return new Images({
    images: fake.connect().images,
    events: { tell: (_, { reason, message }) => void events.push(`${reason}: ${message}`) },
    clock,
    maxPulls,
    findAuth: async () => auth,
    rate,
  });
}

const never = new AbortController().signal;

const names = [
  ['busybox', 'busybox:latest'],
  ['reg.test:5000/team/app:v1', 'reg.test:5000/team/app:v1'],
  ['reg.test:5000/app', 'reg.test:5000/app:latest'],
  [`app@sha256:${'a'.repeat(64)}`, `app@sha256:${'a'.repeat(64)}`],
  ['BUSYBOX', undefined],
  ['a b', undefined],
  ['', undefined],
  ['app:', undefined],
  ['http://reg.test/app', undefined],
] as const;

test.each(names)('the name %s is %s', (given, expected) => {
  expect(normalImageName(given)).toBe(expected);
});

test('a name of more than 4096 characters is none', () => {
  const longest = `a${'/a'.repeat(2047)}b`;
  expect(normalImageName(longest)).toBe(`${longest}:latest`);
  expect(normalImageName(`${longest}c`)).toBeUndefined();
  expect(normalImageName(`a${'/a'.repeat(500_000)}`)).toBeUndefined();
});

test('Always pulls, and tells how long it took', async () => {
  fake.images.offer({ name: 'docker.io/library/app:1', pullMs: 1200, sizeBytes: 42 });
  const app = container('app', { image: 'app:1', imagePullPolicy: 'Always' });
  const pulling = images(1).ensure(pod(), app, {}, never);
  await clock.advance(1200);
  expect(await pulling).toMatchObject({ user: { username: '' } });
  expect(events).toEqual([
    'Pulling: Pulling image "app:1"',
    'Pulled: Successfully pulled image "app:1" in 1.2s (1.2s including waiting). Image size: 42 bytes.',
  ]);
});

/** How many are under way at once, of three. */
async function begun(maxPulls: number | undefined): Promise<number> {
  events = [];
  const all = images(maxPulls);
  const pulls = ['a', 'b', 'c'].map(async (name) => {
    fake.images.offer({ name: `docker.io/library/${name}:1`, pullMs: 1000 });
    return all.ensure(
      pod(),
      container(name, { image: `${name}:1`, imagePullPolicy: 'Always' }),
      {},
      never,
    );
  });
  await settle();
  const count = events.filter((event) => event.startsWith('Pulling')).length;
  for (let second = 0; second < 4; second += 1) await clock.advance(1000);
  await Promise.all(pulls);
  return count;
}

test('one pull at a time, or as many as are allowed', async () => {
  expect(await begun(1)).toBe(1);
  expect(await begun(2)).toBe(2);
  expect(await begun(undefined)).toBe(3);
});

test('credentials are tried in order until one is taken', async () => {
  fake.images.offer({ name: 'docker.io/library/app:1', credentials: 'a:right' });
  const app = container('app', { image: 'app:1' });
  const auth = [
    { username: 'a', password: 'wrong' },
    { username: 'a', password: 'right' },
  ];
  await images(1, auth).ensure(pod(), app, {}, never);
  expect(fake.log.count('PullImage')).toBe(2);
  const refused = images(1, [auth[0] ?? {}]).ensure(
    pod(),
    { ...app, imagePullPolicy: 'Always' },
    {},
    never,
  );
  await expect(refused).rejects.toMatchObject({
    reason: 'ErrImagePull',
    message: /401 Unauthorized/,
  });
});

test('pulls beyond the rate fail, and may go when some time has gone by', async () => {
  const all = images(undefined, [], { qps: 2, burst: 3 });
  const pull = async (name: string): Promise<string> => {
    fake.images.offer({ name: `docker.io/library/${name}:1` });
    const app = container(name, { image: `${name}:1`, imagePullPolicy: 'Always' });
    try {
      await all.ensure(pod({}, { uid: name }), app, {}, never);
      return 'pulled';
    } catch (error) {
      return errorText(error);
    }
  };
  const exceeded = 'pull QPS exceeded';
  expect(await Promise.all(['a', 'b', 'c', 'd'].map(pull))).toEqual([
    'pulled',
    'pulled',
    'pulled',
    exceeded,
  ]);
  expect(events).toContain(`Failed: Failed to pull image "d:1": ${exceeded}`);
  expect(fake.log.count('PullImage')).toBe(3);
  await clock.advance(500);
  expect(await Promise.all(['e', 'f'].map(pull))).toEqual(['pulled', exceeded]);
});

test('back-off says what failed before, and until when', async () => {
  const all = images(1);
  const app = container('app', { image: 'app:1' });
  await expect(all.ensure(pod(), app, {}, never)).rejects.toMatchObject({ reason: 'ErrImagePull' });
  await expect(all.ensure(pod(), app, {}, never)).rejects.toMatchObject({
    reason: 'ImagePullBackOff',
    message: /^Back-off pulling image "app:1": ErrImagePull: rpc error: code = NotFound/,
    retryAtMs: 10_000,
  });
  await expect(all.ensure(pod({}, { uid: 'u2' }), app, {}, never)).rejects.toMatchObject({
    reason: 'ErrImagePull',
  });
});

test('a pull whose pod ends is left off', async () => {
  fake.images.offer({ name: 'docker.io/library/app:1', pullMs: 60_000 });
  const stop = new AbortController();
  const pulling = images(1).ensure(pod(), container('app', { image: 'app:1' }), {}, stop.signal);
  await settle();
  stop.abort();
  await expect(pulling).rejects.toThrow(/abort/);
  expect(events).toEqual(['Pulling: Pulling image "app:1"']);
});

interface Waiting {
  readonly stop: AbortController;
  readonly pulling: Promise<unknown>;
}

/** Pulls that have one turn among them, each for a minute. */
function waitingPulls<T extends string>(...called: readonly T[]): Readonly<Record<T, Waiting>> {
  const all = images(1);
  const pulls = called.map((name) => {
    fake.images.offer({ name: `docker.io/library/${name}:1`, pullMs: 60_000 });
    const stop = new AbortController();
    const app = container(name, { image: `${name}:1`, imagePullPolicy: 'Always' });
    const pulling = all.ensure(pod({}, { uid: name }), app, {}, stop.signal);
    pulling.catch(() => {});
    return [name, { stop, pulling }] as const;
  });
  return Object.fromEntries(pulls) as Readonly<Record<T, Waiting>>;
}

test('one that waits for its turn is let go when its pod ends, and the turn goes to the next', async () => {
  const { a, b, c } = waitingPulls('a', 'b', 'c');
  await settle();
  const reason = new Error('pod b has ended');
  b.stop.abort(reason);
  await expect(b.pulling).rejects.toBe(reason);
  expect(events).toEqual(['Pulling: Pulling image "a:1"']);
  await clock.advance(60_000);
  await a.pulling;
  await settle();
  expect(events.at(-1)).toBe('Pulling: Pulling image "c:1"');
  await clock.advance(60_000);
  await c.pulling;
});

test('one whose pod ends while it pulls hands its turn on', async () => {
  const { a, b, c } = waitingPulls('a', 'b', 'c');
  await settle();
  for (const { stop, pulling } of [a, b]) {
    stop.abort();
    await expect(pulling).rejects.toThrow(/abort/);
    await settle();
  }
  expect(events).toEqual(['a', 'b', 'c'].map((name) => `Pulling: Pulling image "${name}:1"`));
  await clock.advance(60_000);
  await c.pulling;
});
