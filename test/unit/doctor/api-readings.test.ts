/** What is asked of an API server, and what of credentials is kept: dates alone. */
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Clock } from '../../../src/clock.ts';
import { readApi, withoutPassword } from '../../../src/doctor/api-readings.ts';
import { credentialDates, credentialKind } from '../../../src/doctor/credential-dates.ts';
import { SwitchyardError } from '../../../src/error.ts';
import type { ApiClient, ApiResponse, ApiWriter } from '../../../src/informer/api-client.ts';
import { certificates } from '../informer/certificates.ts';

const { signal } = new AbortController();
const nowMs = Date.UTC(2026, 5, 1, 12, 0, 30);
const clock: Clock = { now: () => nowMs, monotonic: () => 0, sleep: async () => {} };

type Answers = (
  path: string,
  query: Readonly<Record<string, string>>,
  body?: unknown,
) => readonly [number, unknown];

/** An API server that answers as a test says; what it was asked stands in `asked`. */
function serverOf(answers: Answers): { client: ApiClient & ApiWriter; asked: string[] } {
  const asked: string[] = [];
  const respond = (
    verb: string,
    path: string,
    query: Readonly<Record<string, string>>,
    body?: unknown,
  ): ApiResponse => {
    asked.push(`${verb} ${path} ${new URLSearchParams(query).toString()}`.trim());
    const [status, value] = answers(path, query, body);
    const headers = {
      date: new Date(nowMs - 30_000).toUTCString(),
      'content-type': 'application/json',
    };
    return { status, headers, body: Readable.from([Buffer.from(JSON.stringify(value))]) };
  };
  const client: ApiClient & ApiWriter = {
    server: 'https://me:geheim@192.0.2.1:6443',
    get: async (path, query) => respond('GET', path, query),
    send: async (_verb, path, value) => respond('POST', path, {}, value),
    reloadCredentials: async () => {},
    close: async () => {},
  };
  return { client, asked };
}

const node = {
  metadata: { name: 'node-a', uid: 'u' },
  spec: { podCIDR: '10.244.1.0/24' },
  status: {},
};
const forbidden = [403, { kind: 'Status', message: 'no' }] as const;

function usual(
  path: string,
  query: Readonly<Record<string, string>>,
  body?: unknown,
): readonly [number, unknown] {
  if (path === '/version') return [200, { gitVersion: 'v1.37.2' }];
  if (path.endsWith('selfsubjectaccessreviews')) {
    const { spec } = body as { spec: { resourceAttributes: { verb: string; resource: string } } };
    const { verb, resource } = spec.resourceAttributes;
    return [201, { status: { allowed: !(verb === 'watch' && resource === 'services') } }];
  }
  if (path.endsWith('/nodes')) {
    const isOther = 'fieldSelector' in query && query['fieldSelector'] !== 'metadata.name=node-a';
    return [200, { items: isOther ? [] : [node] }];
  }
  return [200, { items: [] }];
}

describe('an API server', () => {
  it('is asked for one object of each kind, and for each right; its clock is compared', async () => {
    const { client, asked } = serverOf(usual);
    const found = await readApi({ client, clock, nodeName: 'node-a', signal });
    if (found.kind !== 'answered') throw new Error(found.kind);
    expect(found).toMatchObject({
      server: 'https://192.0.2.1:6443',
      version: 'v1.37.2',
      aheadMs: 29_500,
    });
    expect(found.node).toMatchObject({ kind: 'found', node: { podCIDRs: ['10.244.1.0/24'] } });
    const denied = found.access.filter(({ answer }) => answer === 'denied');
    expect(denied.map(({ verb, need }) => `${verb} ${need}`)).toEqual(['watch services']);
    expect(found.access).toHaveLength(11);
    expect(asked.toSorted()).toEqual(
      [
        'GET /version',
        'GET /api/v1/services limit=1',
        'GET /api/v1/nodes limit=1',
        'GET /api/v1/nodes limit=1&fieldSelector=metadata.name%3Dnode-a',
        'GET /apis/discovery.k8s.io/v1/endpointslices limit=1',
        'GET /apis/networking.k8s.io/v1/servicecidrs limit=1',
        ...Array.from(
          { length: 11 },
          () => 'POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        ),
      ].toSorted(),
    );
  });

  it('is asked for other Nodes where there is none of that name', async () => {
    const { client } = serverOf(usual);
    const found = await readApi({ client, clock, nodeName: 'node-b', signal });
    expect(found).toMatchObject({ kind: 'answered', node: { kind: 'absent', others: ['node-a'] } });
  });

  it('that refuses everything but its version is told in its words', async () => {
    const { client } = serverOf((path, query) =>
      path === '/version' ? usual(path, query) : forbidden,
    );
    const found = await readApi({ client, clock, nodeName: 'node-a', signal });
    if (found.kind !== 'answered') throw new Error(found.kind);
    expect(found.lists.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403]);
    expect(found.access.every(({ answer }) => answer === 'unknown')).toBe(true);
    expect(found.node).toMatchObject({ kind: 'unread' });
  });

  it('that does not answer is named without what its URL carries', async () => {
    const { client } = serverOf(usual);
    const get = async (): Promise<never> => {
      throw new SwitchyardError('source', `API server ${client.server}: ECONNREFUSED`);
    };
    const found = await readApi({ client: { ...client, get }, clock, nodeName: 'node-a', signal });
    expect(found).toEqual({
      kind: 'silent',
      server: 'https://192.0.2.1:6443',
      problem: 'API server https://192.0.2.1:6443: ECONNREFUSED',
    });
    expect(withoutPassword('https://192.0.2.1:6443')).toBe('https://192.0.2.1:6443');
  });
});

describe('credentials', () => {
  const payload = Buffer.from(JSON.stringify({ iat: 1000, exp: 5000, sub: 'geheim' })).toString(
    'base64url',
  );

  it('are their dates, and a word on their kind', () => {
    const given = {
      headers: { authorization: `Bearer eyJhbGciOiJub25lIn0.${payload}.sig` },
      tls: {
        cert: certificates.first.cert,
        key: certificates.first.key,
        ca: certificates.second.cert,
      },
    };
    const dates = credentialDates(given);
    expect(dates.map(({ what }) => what)).toEqual([
      'client certificate',
      'certificate authority',
      'token',
    ]);
    expect(new Date(dates[0]?.notAfterMs ?? 0).getUTCFullYear()).toBe(2126);
    expect(dates[2]).toEqual({ what: 'token', notBeforeMs: 1_000_000, notAfterMs: 5_000_000 });
    expect(credentialKind(given)).toBe('a client certificate and a token');
    expect(JSON.stringify(dates)).not.toContain('geheim');
  });

  it('that say nothing of their end have no date', () => {
    const opaque = { headers: { authorization: 'Bearer opaque' }, tls: {} };
    expect(credentialDates(opaque)).toEqual([]);
    expect(credentialKind(opaque)).toBe('a token');
    expect(credentialKind({ headers: {}, tls: {} })).toContain('anonymous');
    expect(credentialKind({ headers: { authorization: 'Basic x' }, tls: {} })).toContain(
      'password',
    );
  });
});
