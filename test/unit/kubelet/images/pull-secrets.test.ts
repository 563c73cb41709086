import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';

import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import type { SecretData } from '../../../../src/kubelet/ports/referenced-objects.ts';
import { credentialsFor, readDockerConfig } from '../../../../src/kubelet/images/docker-config.ts';
import type { RegistryCredential } from '../../../../src/kubelet/images/docker-config.ts';
import { pullSecrets } from '../../../../src/kubelet/images/pull-secrets.ts';
import { pod } from '../runtime/made-pods.ts';

/** What Secrets named by a pod have for the registry of an image, and what is said where they have none. */

const never = new AbortController().signal;

function bytes(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

test.each([
  ['auth', { auth: base64('bob:pass:word') }, { username: 'bob', password: 'pass:word' }],
  ['both names', { username: 'bob', password: 'pw' }, { username: 'bob', password: 'pw' }],
  [
    'auth before names',
    { username: 'x', password: 'y', auth: base64('bob:pw') },
    { username: 'bob', password: 'pw' },
  ],
  [
    'a token before auth',
    { auth: base64('<token>:'), identitytoken: 'tok' },
    { identityToken: 'tok' },
  ],
])('an entry with %s is read in either form', (_name, entry, auth) => {
  const read = [{ registry: 'reg.test', auth }];
  const whole = { auths: { 'reg.test': entry }, credsStore: 'desktop' };
  expect(readDockerConfig(bytes(whole), '.dockerconfigjson')).toEqual(read);
  expect(readDockerConfig(bytes({ 'reg.test': entry }), '.dockercfg')).toEqual(read);
});

test('an entry of a credential helper has nothing to offer', () => {
  expect(readDockerConfig(bytes({ auths: { 'reg.test': {} } }), '.dockerconfigjson')).toEqual([]);
  expect(readDockerConfig(bytes({}), '.dockerconfigjson')).toEqual([]);
});

test.each([
  ['not JSON', Buffer.from('{"auths": s3cret'), /^\.dockerconfigjson is not JSON$/],
  ['a list', bytes(['s3cret']), /is not an object$/],
  ['auths that are a text', bytes({ auths: 's3cret' }), /auths is not an object$/],
  ['an entry that is a text', bytes({ auths: { 'r.test': 's3cret' } }), /is not an object$/],
  [
    'an auth without a colon',
    bytes({ auths: { 'r.test': { auth: base64('s3cret') } } }),
    /auth is not base64 of USER:PASSWORD$/,
  ],
])('%s is refused, without a word of what is in it', (_name, data, words) => {
  const read = (): unknown => readDockerConfig(data, '.dockerconfigjson');
  expect(read).toThrow(words);
  expect(read).not.toThrow(/s3cret/);
});

const matches: readonly (readonly [string, string, boolean])[] = [
  ['reg.test/team/app:1', 'reg.test', true],
  ['reg.test/team/app:1', 'https://reg.test/v2/', true],
  ['reg.test/team/app:1', 'http://REG.test/', true],
  ['reg.test/team/app:1', 'reg.test/team', true],
  ['reg.test/team/app:1', 'reg.test/team/app', true],
  ['reg.test/team/app:1', 'https://reg.test/v1/team', true],
  ['reg.test/team/app:1', 'reg.test/other', false],
  ['reg.test/team/app:1', 'reg.test:5000', false],
  ['reg.test:5000/app:1', 'reg.test:5000', true],
  ['reg.test:5000/app:1', 'reg.test', false],
  ['localhost/app', 'localhost', true],
  ['[::1]:5000/app', '[::1]:5000', true],
  ['a.reg.test/app', '*.reg.test', true],
  ['a.reg.test/app', 'a*.reg.*', true],
  ['a.b.reg.test/app', '*.reg.test', false],
  ['reg.test/app', '*.reg.test', false],
  ['a.reg.test:5000/app', '*.reg.test:5000', true],
  ['a.reg.test:5000/app', '*.reg.test', false],
  ['axreg.test/app', 'a.reg.test', false],
  ['abcabc.test/app', '*abc.test', true],
  ['abcabd.test/app', '*abc.test', false],
  ['abc.test/app', 'a?c.test', true],
  ['ac.test/app', 'a?c.test', false],
  ['abc.test/app', 'abc**.test', true],
  [`${'a'.repeat(60)}.test/app`, `${'*a'.repeat(25)}b.test`, false],
  ['busybox', 'https://index.docker.io/v1/', true],
  ['busybox', 'docker.io', true],
  ['docker.io/library/busybox', 'index.docker.io', true],
  ['team/app@sha256:0123', 'docker.io/team', true],
  ['team/app', 'docker.io/library', false],
  ['busybox', 'reg.test', false],
  ['reg.test/app', 'https://index.docker.io/v1/', false],
];

test.each(matches)('for the image %s credentials of %s count: %s', (image, registry, expected) => {
  const auth = { username: 'a' };
  expect(credentialsFor(image, [{ registry, auth }])).toEqual(expected ? [auth] : []);
});

// Whoever may make a Secret chooses these: work that grows with the square of a length would end with the test's time alone.
const million = 1_000_000;

test.each([
  ['slashes', `reg.test/${'/'.repeat(million)}/x`],
  ['slashes at the end', `reg.test/x${'/'.repeat(million)}`],
  ['colons', `reg.test${':1'.repeat(million / 2)}x`],
  ['stars', `${'*'.repeat(million)}x.test`],
  ['blanks', `reg.test${' '.repeat(million)}x`],
])('a registry with a million %s is read all the same', (name, registry) => {
  const found = credentialsFor('reg.test/x/app', [{ registry, auth: { username: 'a' } }]);
  expect(found).toHaveLength(name === 'slashes at the end' ? 1 : 0);
});

test('a million NULs in an auth are read all the same', () => {
  const nuls = '\0'.repeat(million);
  const config = { within: { auth: base64(`${nuls}:x`) }, end: { auth: base64(`bob:pw${nuls}`) } };
  expect(readDockerConfig(bytes(config), '.dockercfg')).toEqual([
    { registry: 'within', auth: { username: nuls, password: 'x' } },
    { registry: 'end', auth: { username: 'bob', password: 'pw' } },
  ]);
});

test('a label longer than any in DNS fits no pattern, however many are tried', () => {
  const label = 'a'.repeat(4000);
  const credentials = Array.from({ length: 5000 }, (_, at) =>
    forRegistry(`*${'a'.repeat(2000)}b.test`, `${at}`),
  );
  expect(credentialsFor(`${label}.test/app`, [...credentials, forRegistry('*.test')])).toEqual([]);
  expect(credentialsFor(`${label}.test/app`, [forRegistry(`${label}.test`)])).toHaveLength(1);
});

function forRegistry(registry: string, username = registry): RegistryCredential {
  return { registry, auth: { username } };
}

test('the most particular is tried first, and none twice', () => {
  const list = [
    forRegistry('*.test'),
    forRegistry('*.test/team'),
    forRegistry('reg.test', 'first'),
    forRegistry('reg.test', 'second'),
    forRegistry('reg.test/team/app'),
    forRegistry('reg.test/team'),
    forRegistry('https://reg.test', 'first'),
  ];
  const names = credentialsFor('reg.test/team/app:1', list).map(({ username }) => username);
  expect(names).toEqual([
    'reg.test/team/app',
    'reg.test/team',
    'first',
    'second',
    '*.test/team',
    '*.test',
  ]);
});

interface Asked {
  readonly events: string[];
  readonly find: (pod: Pod, image: string) => Promise<unknown>;
}

function asked(
  secrets: Readonly<Record<string, SecretData | undefined>>,
  ofNode: readonly RegistryCredential[] = [],
): Asked {
  const events: string[] = [];
  const find = pullSecrets({
    objects: {
      secret: async (namespace, name) => {
        if (name === 'forbidden') throw new Error('403');
        return secrets[`${namespace}/${name}`];
      },
    },
    node: { read: async () => Promise.resolve(ofNode) },
    events: {
      tell: (_pod, { type, reason, message }) => {
        events.push(`${type} ${reason}: ${message}`);
      },
    },
  });
  return { events, find: async (of, image) => find(of, image, never) };
}

function secret(type: string, data: Readonly<Record<string, unknown>>): SecretData {
  const encoded = Object.entries(data).map(([key, value]) => [key, bytes(value)] as const);
  return { type, data: Object.fromEntries(encoded), immutable: false };
}

function podWith(...names: readonly string[]): Pod {
  return pod({ imagePullSecrets: names.map((name) => ({ name })) }, { namespace: 'shop' });
}

const entry = { username: 'u', password: 'p' };

test('Secrets of both types count, and others hold nothing', async () => {
  const { find, events } = asked({
    'shop/new': secret('kubernetes.io/dockerconfigjson', {
      '.dockerconfigjson': { auths: { 'reg.test': entry } },
    }),
    'shop/old': secret('kubernetes.io/dockercfg', {
      '.dockercfg': { 'reg.test': { username: 'old', password: 'p' } },
    }),
    'shop/opaque': secret('Opaque', { '.dockercfg': { 'reg.test': { username: 'no' } } }),
  });
  expect(await find(podWith('new', 'opaque', 'old'), 'reg.test/app:1')).toEqual([
    entry,
    { username: 'old', password: 'p' },
  ]);
  expect(await find(podWith('new', 'old'), 'other.test/app:1')).toEqual([]);
  expect(events).toEqual([]);
});

test('what is missing, or may not be read, is told of, and the rest counts', async () => {
  const { find, events } = asked({
    'shop/new': secret('kubernetes.io/dockerconfigjson', {
      '.dockerconfigjson': { auths: { 'reg.test': entry } },
    }),
  });
  const of = podWith('gone', 'new', 'forbidden', '', 'gone');
  expect(await find(of, 'reg.test/app:1')).toEqual([entry]);
  expect(events).toEqual([
    'Warning FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (gone, forbidden); attempting to pull the image may not succeed.',
  ]);
});

test('a pod that names none asks for none', async () => {
  const { find, events } = asked({});
  expect(await find(pod(), 'reg.test/app:1')).toEqual([]);
  expect(await find(pod({ imagePullSecrets: [{}] }), 'reg.test/app:1')).toEqual([]);
  expect(events).toEqual([]);
});

test('what the node has is tried after what the pod has, and once', async () => {
  const { find } = asked(
    {
      'shop/new': secret('kubernetes.io/dockerconfigjson', {
        '.dockerconfigjson': { auths: { 'reg.test': entry } },
      }),
    },
    [
      { registry: 'reg.test', auth: entry },
      { registry: 'reg.test/team', auth: { username: 'node' } },
      forRegistry('other.test'),
    ],
  );
  const node = { username: 'node' };
  expect(await find(podWith('new'), 'reg.test/team/app:1')).toEqual([entry, node]);
  expect(await find(pod(), 'reg.test/team/app:1')).toEqual([node, entry]);
});

test('a Secret without a docker configuration is named, not shown', async () => {
  const { find } = asked({
    'shop/bad': secret('kubernetes.io/dockerconfigjson', { '.dockerconfigjson': 's3cret' }),
  });
  await expect(find(podWith('bad'), 'reg.test/app')).rejects.toThrow(
    /^image pull secret shop\/bad: \.dockerconfigjson is not an object$/,
  );
});
