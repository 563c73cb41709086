// Which right on the node each path needs, by each method; what a right is enough for, and what it is not.
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { ApiWriter } from '../../../../../src/informer/api-client.ts';
import {
  Authorization,
  neededAccess,
} from '../../../../../src/kubelet/server/access/authorization.ts';
import { VirtualClock } from '../../../proxy/virtual-clock.ts';

const user = { name: 'ann', uid: '', groups: ['readers'], extra: {} };

/** Allowed are just these, each as `VERB SUBRESOURCE`. */
function allowing(...rights: readonly string[]): Authorization {
  const api: ApiWriter = {
    server: 'https://api.test',
    async send(_verb: string, _path: string, value: unknown): ReturnType<ApiWriter['send']> {
      const { spec } = value as {
        readonly spec: {
          readonly resourceAttributes: { readonly verb: string; readonly subresource: string };
        };
      };
      const { verb, subresource } = spec.resourceAttributes;
      const allowed = rights.includes(`${verb} ${subresource}`);
      const body = Readable.from([JSON.stringify({ status: { allowed } })]);
      return Promise.resolve({ status: 201, headers: {}, body });
    },
    async reloadCredentials(): Promise<void> {
      return Promise.resolve();
    },
  };
  return new Authorization({
    mode: 'Webhook',
    api,
    nodeName: 'n1',
    clock: new VirtualClock(),
    allowTtlMs: 1,
    denyTtlMs: 1,
  });
}

const verbs = { GET: 'get', HEAD: 'get', POST: 'create', PUT: 'update', PATCH: 'patch' };

/** Of each path what of the node is enough, where the verb is that of the method. */
const reading: readonly (readonly [path: string, subresources: readonly string[]])[] = [
  ['/pods', ['pods', 'proxy']],
  ['/runningpods/', ['pods', 'proxy']],
  ['/healthz', ['healthz', 'proxy']],
  ['/healthz/syncloop', ['healthz', 'proxy']],
  ['/configz', ['configz', 'proxy']],
  ['/stats/summary', ['stats']],
  ['/metrics', ['metrics']],
  ['/metrics/cadvisor', ['metrics']],
  ['/metrics/resource', ['metrics']],
  ['/metrics/probes', ['metrics']],
  ['/logs/', ['log']],
  ['/logs/syslog', ['log']],
  ['/checkpoint/shop/web/app', ['checkpoint']],
  ['/statusz', ['statusz']],
  ['/flagz', ['configz']],
  ['/containerLogs/shop/web/app', ['proxy']],
  ['/debug/pprof/profile', ['proxy']],
  ['/nothing', ['proxy']],
  ['/', ['proxy']],
];

const acting = [
  '/exec/shop/web/app',
  '/attach/shop/web/app',
  '/run/shop/web/app',
  '/portForward/shop/web',
];

describe.each(Object.entries(verbs))('%s', (method, verb) => {
  test.each(reading)('%s needs the verb of the method on any of %j', async (path, subresources) => {
    expect(neededAccess(method, path)).toEqual({ verb, subresources });
    for (const each of subresources) {
      const decision = await allowing(`${verb} ${each}`).decide(user, method, path);
      expect(decision).toEqual({ kind: 'allowed' });
    }
    const others = [
      'pods',
      'healthz',
      'configz',
      'stats',
      'metrics',
      'log',
      'proxy',
      'exec',
    ].filter((each) => !subresources.includes(each));
    const rights = others.map((each) => `${verb} ${each}`);
    expect(await allowing(...rights).decide(user, method, path)).toMatchObject({ kind: 'denied' });
  });

  test.each(acting)('%s needs create on proxy, whatever the method', async (path) => {
    expect(neededAccess(method, path)).toEqual({ verb: 'create', subresources: ['proxy'] });
    const reader = allowing('get proxy', 'update proxy', 'patch proxy', 'get pods', 'get exec');
    expect(await reader.decide(user, method, path)).toEqual({
      kind: 'denied',
      text: 'Forbidden (user=ann, verb=create, resource=nodes, subresource(s)=[proxy])',
    });
    expect(await allowing('create proxy').decide(user, method, path)).toEqual({ kind: 'allowed' });
  });
});

test('a method that no verb stands for is allowed to nobody who has but the usual verbs', async () => {
  const rights = Object.values(verbs).map((verb) => `${verb} metrics`);
  expect(await allowing(...rights).decide(user, 'OPTIONS', '/metrics')).toMatchObject({
    kind: 'denied',
  });
});
