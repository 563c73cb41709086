/** ConfigMaps and Secrets are watched one by one, for as long as a pod refers to them. */
import { Buffer } from 'node:buffer';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { runProgram } from '../../../../src/host/run-program.ts';
import { loadApiClient } from '../../../../src/informer/api-client.ts';
import type { ApiClient } from '../../../../src/informer/api-client.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { referencesOf } from '../../../../src/kubelet/volumes/references.ts';
import { WatchedReferences } from '../../../../src/kubelet/volumes/referenced-objects.ts';
import { startFakeApiServer } from '../../../support/fake-api-server.ts';
import type { FakeApiServer } from '../../../support/fake-api-server.ts';
import { ManualClock, recordingLog, until } from '../../informer/widgets.ts';
import { container, pod } from '../support/pods.ts';

const maps = '/api/v1/namespaces/shop/configmaps';
const secrets = '/api/v1/namespaces/shop/secrets';
const { signal } = new AbortController();

let server: FakeApiServer;
let client: ApiClient;
let clock: ManualClock;
let objects: WatchedReferences;
let changed: string[][];
let lines: readonly string[];

beforeEach(async () => {
  server = await startFakeApiServer();
  clock = new ManualClock();
  changed = [];
  const recording = recordingLog();
  ({ lines } = recording);
  const { log } = recording;
  client = await loadApiClient({ master: server.url, log, clock, env: {}, runProgram });
  const onChange = (uids: readonly string[]): void => {
    changed.push([...uids]);
  };
  objects = new WatchedReferences({ client, clock, random: () => 0.5, log, onChange });
});

afterEach(async () => {
  await objects.close();
  await client.close();
  await server.close();
});

function podOf(uid: string, names: { readonly map?: string; readonly secret?: string }): Pod {
  const envFrom = [
    ...(names.map === undefined ? [] : [{ configMapRef: { name: names.map } }]),
    ...(names.secret === undefined ? [] : [{ secretRef: { name: names.secret } }]),
  ];
  return pod({ containers: [container({ envFrom })] }, { uid });
}

function putMap(name: string, data: object, more: object = {}): void {
  server.put(maps, { kind: 'ConfigMap', apiVersion: 'v1', metadata: { name }, data, ...more });
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

describe('what a pod refers to', () => {
  it('is found in variables, volumes and image pull secrets, once each', () => {
    const of = pod({
      imagePullSecrets: [{ name: 'pull' }, {}, { name: '' }],
      initContainers: [container({ envFrom: [{ secretRef: { name: 's1' } }] })],
      containers: [
        container({
          envFrom: [{ configMapRef: { name: 'm1' } }],
          env: [
            { name: 'A', valueFrom: { configMapKeyRef: { name: 'm2', key: 'k' } } },
            { name: 'B', valueFrom: { secretKeyRef: { name: 's2', key: 'k' } } },
            { name: 'C', value: 'plain' },
          ],
        }),
      ],
      volumes: [
        { name: 'v1', configMap: { name: 'm1', defaultMode: 0o644 } },
        { name: 'v2', secret: { secretName: 's3', defaultMode: 0o644 } },
        {
          name: 'v3',
          projected: {
            defaultMode: 0o644,
            sources: [{ configMap: { name: 'm3' } }, { secret: { name: 's4' } }],
          },
        },
        { name: 'v4', emptyDir: {} },
      ],
    });
    expect(referencesOf(of).map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      'ConfigMap m1',
      'ConfigMap m2',
      'ConfigMap m3',
      'Secret pull',
      'Secret s1',
      'Secret s2',
      'Secret s3',
      'Secret s4',
    ]);
  });
});

describe('referenced objects', () => {
  it('are waited for at first, and then told of as they change', async () => {
    putMap('settings', { COLOR: 'red' }, { binaryData: { raw: base64('\u0001') } });
    server.put(secrets, { metadata: { name: 'keys' }, type: 'x/y', data: { key: base64('abc') } });
    objects.register(podOf('a', { map: 'settings', secret: 'keys' }));
    expect(await objects.configMap('shop', 'settings', signal)).toMatchObject({
      data: { COLOR: 'red' },
      binaryData: { raw: Buffer.from('\u0001') },
      immutable: false,
    });
    expect(await objects.secret('shop', 'keys', signal)).toMatchObject({
      type: 'x/y',
      data: { key: Buffer.from('abc') },
    });
    expect(changed).toEqual([]);
    await until('the watch is open', () => server.watchers(maps) > 0);
    putMap('settings', { COLOR: 'blue' });
    await until('it is told', () => changed.length > 0);
    expect(changed).toEqual([['a']]);
    expect(await objects.configMap('shop', 'settings', signal)).toMatchObject({
      data: { COLOR: 'blue' },
    });
  });

  it('are undefined where there is none, and told of when they come and go', async () => {
    objects.register(podOf('a', { map: 'late' }));
    expect(await objects.configMap('shop', 'late', signal)).toBeUndefined();
    await until('the watch is open', () => server.watchers(maps) > 0);
    putMap('late', { A: '1' });
    await until('it is told', () => changed.length === 1);
    expect(await objects.configMap('shop', 'late', signal)).toMatchObject({ data: { A: '1' } });
    server.remove('/api/v1/configmaps', 'shop/late');
    await until('it is told', () => changed.length === 2);
    expect(await objects.configMap('shop', 'late', signal)).toBeUndefined();
  });

  it('are asked for one by one, with one watch for all pods, which ends with the last of them', async () => {
    putMap('settings', {});
    objects.register(podOf('a', { map: 'settings' }));
    objects.register(podOf('b', { map: 'settings' }));
    objects.register(podOf('b', { map: 'settings' }));
    await objects.configMap('shop', 'settings', signal);
    await until('the watch is open', () => server.watchers(maps) === 1);
    for (const { path, query } of server.requests) {
      expect([path, query['fieldSelector']]).toEqual([maps, 'metadata.name=settings']);
    }
    expect(server.requests).toHaveLength(2);
    objects.unregister('a');
    putMap('settings', { A: '1' });
    await until('it is told', () => changed.length > 0);
    expect(changed).toEqual([['b']]);
    objects.unregister('b');
    await until('the watch is closed', () => server.watchers(maps) === 0);
    await expect(objects.configMap('shop', 'settings', signal)).rejects.toThrow(
      'object "shop"/"settings" not registered',
    );
  });

  it('are let go where a new version of the pod refers to others', async () => {
    putMap('old', {});
    putMap('new', { A: '1' });
    objects.register(podOf('a', { map: 'old' }));
    await objects.configMap('shop', 'old', signal);
    objects.register(podOf('a', { map: 'new' }));
    expect(await objects.configMap('shop', 'new', signal)).toMatchObject({ data: { A: '1' } });
    await expect(objects.configMap('shop', 'old', signal)).rejects.toThrow('not registered');
  });

  it('are not watched on where they are immutable', async () => {
    putMap('fixed', { A: '1' }, { immutable: true });
    objects.register(podOf('a', { map: 'fixed' }));
    expect(await objects.configMap('shop', 'fixed', signal)).toMatchObject({ immutable: true });
    expect(server.requests.map(({ query }) => query['watch'])).toEqual([undefined]);
    await until('nothing goes on', () => clock.sleeping.length === 0);
    expect(server.watchers(maps)).toBe(0);
    expect(await objects.configMap('shop', 'fixed', signal)).toMatchObject({ data: { A: '1' } });
  });

  it('are asked for again where the node authoriser does not know the pod yet', async () => {
    putMap('settings', { A: '1' });
    server.inject({ on: 'list', path: maps, type: 'status', status: 403, times: 3 });
    objects.register(podOf('a', { map: 'settings' }));
    const found = objects.configMap('shop', 'settings', signal);
    await until(
      'three waits have passed',
      () => clock.slept.filter((ms) => ms < 800).length === 3,
      () => clock.pass(200),
    );
    clock.pass(200);
    expect(await found).toMatchObject({ data: { A: '1' } });
    expect(lines.filter((line) => line.startsWith('warn'))).toEqual([]);
  });

  it('say what is wrong where nothing is known of them, and come as soon as it is right', async () => {
    putMap('settings', { A: '1' });
    server.inject({ on: 'list', path: maps, type: 'status', status: 500 });
    objects.register(podOf('a', { map: 'settings' }));
    await expect(objects.configMap('shop', 'settings', signal)).rejects.toThrow(
      'failed to sync configmap cache: cannot list namespaces/shop/configmaps: answered 500: injected 500',
    );
    await until(
      'it is told',
      () => changed.length > 0,
      () => clock.pass(),
    );
    expect(await objects.configMap('shop', 'settings', signal)).toMatchObject({ data: { A: '1' } });
  });

  it('are kept while the server is away', async () => {
    putMap('settings', { A: '1' });
    objects.register(podOf('a', { map: 'settings' }));
    await objects.configMap('shop', 'settings', signal);
    await until('the watch is open', () => server.watchers(maps) > 0);
    await server.down();
    await until('it is noticed', () => lines.some((line) => line.includes('cannot watch')));
    expect(lines.filter((line) => !line.startsWith('debug'))).toEqual([]);
    expect(await objects.configMap('shop', 'settings', signal)).toMatchObject({ data: { A: '1' } });
    expect(changed).toEqual([]);
  });

  it('wait no longer than their caller, and no longer than ten seconds', async () => {
    server.inject({ on: 'list', path: maps, type: 'hold', until: new Promise(() => undefined) });
    objects.register(podOf('a', { map: 'settings' }));
    const stop = new AbortController();
    const given = objects.configMap('shop', 'settings', stop.signal);
    const other = objects.configMap('shop', 'settings', signal);
    stop.abort(new Error('the pod ends'));
    await expect(given).rejects.toThrow('the pod ends');
    clock.advance(10_000);
    await expect(other).rejects.toThrow(
      'failed to sync configmap cache: timed out waiting for the condition',
    );
  });

  it('never show in the log what a secret holds', async () => {
    const data = { key: base64('geheim') };
    server.put(secrets, { metadata: { name: 'keys' }, data });
    objects.register(podOf('a', { secret: 'keys' }));
    await objects.secret('shop', 'keys', signal);
    await until('the watch is open', () => server.watchers(secrets) > 0);
    server.emitRaw(secrets, `${data.key} and more\n`);
    await until('it is noticed', () => lines.some((line) => line.includes('is no event')));
    expect(lines.join('\n')).not.toContain(data.key);
  });
});
