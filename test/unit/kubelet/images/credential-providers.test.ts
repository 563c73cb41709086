/** Programs that give credentials for registries: whom they are asked for, how long what they said counts, and that a failure is no more than told. */
import { describe, expect, it } from 'vitest';
import { readCredentialProviders } from '../../../../src/config/credential-providers.ts';
import type { Program } from '../../../../src/informer/exec-plugin.ts';
import {
  CredentialProviders,
  withProviders,
} from '../../../../src/kubelet/images/credential-providers.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { ManualClock } from '../../informer/widgets.ts';
import { pod } from '../runtime/made-pods.ts';

const apiVersion = 'credentialprovider.kubelet.k8s.io/v1';
const { signal } = new AbortController();

function file(...providers: readonly object[]): string {
  const kind = 'CredentialProviderConfig';
  return JSON.stringify({ apiVersion: 'kubelet.config.k8s.io/v1', kind, providers });
}

const ecr = {
  name: 'ecr',
  matchImages: ['*.cloud.test', 'reg.test:5000/team'],
  defaultCacheDuration: '1h',
  apiVersion,
  args: ['--region', 'x'],
  env: [{ name: 'PROFILE', value: 'prod' }],
};

interface Answer {
  readonly cacheKeyType?: string;
  readonly cacheDuration?: string;
  readonly auth?: unknown;
}

function response({ auth, cacheKeyType = 'Registry', cacheDuration }: Answer = {}): string {
  const kind = 'CredentialProviderResponse';
  const usual = { '*.cloud.test': { username: 'u', password: 'geheim' } };
  return JSON.stringify({ apiVersion, kind, cacheKeyType, cacheDuration, auth: auth ?? usual });
}

/** Providers whose programs say what `say` says. */
function lab(say: (program: Program, signal: AbortSignal) => string | Promise<string>) {
  const clock = new ManualClock();
  const lines: string[] = [];
  const warn = (fields: object, message: string): void =>
    void lines.push(`${message} ${JSON.stringify(fields)}`);
  const runs: Program[] = [];
  const providers = new CredentialProviders({
    providers: readCredentialProviders(file(ecr), 'p.yaml'),
    folder: '/opt/providers',
    env: { HOME: '/root', PROFILE: 'none' },
    run: async (program, _clock, ending) => {
      runs.push(program);
      return say(program, ending);
    },
    clock,
    log: { ...silentLog, warn },
  });
  return { providers, runs, clock, lines };
}

const mine = [{ username: 'u', password: 'geheim' }];

describe('a credential provider', () => {
  it('is asked with the repository on its standard input, by its arguments and environment', async () => {
    const { providers, runs } = lab(() => response());
    expect(await providers.for('a.cloud.test/app/web:1', signal)).toEqual(mine);
    expect(runs).toEqual([
      {
        command: '/opt/providers/ecr',
        args: ['--region', 'x'],
        env: { HOME: '/root', PROFILE: 'prod' },
        input: JSON.stringify({
          kind: 'CredentialProviderRequest',
          apiVersion,
          image: 'a.cloud.test/app/web',
        }),
        timeoutMs: 60_000,
      },
    ]);
  });

  it.each([
    ['reg.test:5000/team/app:1', true],
    ['reg.test:5000/other/app:1', false],
    ['reg.test/team/app:1', false],
    ['a.b.cloud.test/app', false],
    ['busybox:1', false],
  ])('for %s: %s', async (image, isAsked) => {
    const { providers, runs } = lab(() => response());
    await providers.for(image, signal);
    expect(runs).toHaveLength(isAsked ? 1 : 0);
  });

  it('gives nothing for a registry that its answer does not name', async () => {
    const auth = { 'other.test': { username: 'u', password: 'p' } };
    const { providers } = lab(() => response({ auth }));
    expect(await providers.for('a.cloud.test/app', signal)).toEqual([]);
  });
});

describe('what was said counts', () => {
  it.each([
    ['Image', [true, false, false]],
    ['Registry', [true, true, false]],
    ['Global', [true, true, true]],
  ])('for the same image, registry, or all: %s', async (cacheKeyType, isKept) => {
    const { providers, runs } = lab(() => response({ cacheKeyType }));
    await providers.for('a.cloud.test/app:1', signal);
    const asked: boolean[] = [];
    for (const image of ['a.cloud.test/app:2', 'a.cloud.test/web', 'b.cloud.test/app']) {
      const before = runs.length;
      await providers.for(image, signal);
      asked.push(runs.length === before);
    }
    expect(asked).toEqual(isKept);
  });

  it.each([
    ['as long as it says', '10m', 600_000],
    ['as long as the file says, where it does not', undefined, 3_600_000],
  ])('%s', async (_what, cacheDuration, ms) => {
    const { providers, runs, clock } = lab(() =>
      response({ ...(cacheDuration !== undefined && { cacheDuration }) }),
    );
    await providers.for('a.cloud.test/app', signal);
    clock.advance(ms - 1);
    await providers.for('a.cloud.test/app', signal);
    expect(runs).toHaveLength(1);
    clock.advance(1);
    await providers.for('a.cloud.test/app', signal);
    expect(runs).toHaveLength(2);
  });

  it('not at all where it says 0', async () => {
    const { providers, runs } = lab(() => response({ cacheDuration: '0s' }));
    await providers.for('a.cloud.test/app', signal);
    await providers.for('a.cloud.test/app', signal);
    expect(runs).toHaveLength(2);
  });

  it('for all who ask for one image at the same time', async () => {
    const { providers, runs } = lab(() => response());
    const both = await Promise.all([
      providers.for('a.cloud.test/app:1', signal),
      providers.for('a.cloud.test/app:2', signal),
    ]);
    expect(both).toEqual([mine, mine]);
    expect(runs).toHaveLength(1);
  });
});

describe('a failure', () => {
  it.each<[string, () => string, string]>([
    [
      'of the program',
      () => {
        throw new Error('ended with 1 and said: no network');
      },
      'ended with 1 and said: no network',
    ],
    ['no JSON', () => 'geheim', 'its answer is not JSON'],
    ['another kind', () => '{"kind":"geheim"}', 'its answer is no CredentialProviderResponse'],
    [
      'another version',
      () => response().replace(apiVersion, 'geheim'),
      `its answer is not of ${apiVersion}, which it was asked in`,
    ],
    [
      'an unknown scope',
      () => response({ cacheKeyType: 'geheim' }),
      'cacheKeyType is none of Image, Registry, Global',
    ],
    ['a bad duration', () => response({ cacheDuration: 'geheim' }), 'cacheDuration is no duration'],
    [
      'half an entry',
      () => response({ auth: { 'a.cloud.test': { username: 'geheim' } } }),
      'auth has something without username and password',
    ],
  ])('is told of, and no secret with it: %s', async (_what, say, error) => {
    const { providers, lines } = lab(say);
    expect(await providers.for('a.cloud.test/app:1', signal)).toEqual([]);
    expect(lines.join()).toContain(`"error":${JSON.stringify(error)}`);
    expect(lines.join()).not.toContain('geheim');
  });

  it('is not kept', async () => {
    let says = 'nothing';
    const { providers } = lab(() => says);
    await providers.for('a.cloud.test/app', signal);
    says = response();
    expect(await providers.for('a.cloud.test/app', signal)).toEqual(mine);
  });
});

it('a program ends when nobody waits for it any more, and not before', async () => {
  const ended: string[] = [];
  const { providers, runs } = lab(
    async (_program, ending) =>
      new Promise((_resolve, reject) => {
        ending.addEventListener('abort', () => {
          ended.push('ended');
          reject(new Error('was ended'));
        });
      }),
  );
  const [one, other] = [new AbortController(), new AbortController()];
  const asking = [one, other].map(async (each) => providers.for('a.cloud.test/app', each.signal));
  const gone = Promise.allSettled(asking);
  one.abort(new Error('the pod is deleted'));
  await expect(asking[0]).rejects.toThrow('the pod is deleted');
  expect(ended).toEqual([]);
  other.abort(new Error('that one too'));
  await gone;
  expect(ended).toEqual(['ended']);
  expect(runs).toHaveLength(1);
});

it('what others have for an image comes first, and nothing twice', async () => {
  const { providers } = lab(() => response());
  const own = { username: 'pod', password: 'p' };
  const find = withProviders(async () => [own, mine[0] ?? {}], providers);
  expect(await find(pod(), 'a.cloud.test/app', signal)).toEqual([own, ...mine]);
});

describe('the file of providers', () => {
  it.each<[string, object, string]>([
    [
      'a path in the name',
      { name: '../ecr' },
      'providers[0].name: has to be the name of a program',
    ],
    ['no images', { matchImages: [] }, 'providers[0].matchImages: has to name one registry'],
    [
      'a scheme',
      { matchImages: ['https://a.test'] },
      'providers[0].matchImages[0]: has to be HOST',
    ],
    [
      'no duration',
      { defaultCacheDuration: undefined },
      'defaultCacheDuration: has to be a duration',
    ],
    ['another protocol', { apiVersion: 'v7' }, 'providers[0].apiVersion: has to be one of'],
    ['an unknown field', { matchImage: [] }, 'providers[0].matchImage: is no field'],
    [
      'tokens',
      { tokenAttributes: {} },
      'tokenAttributes: tokens of service accounts are not given',
    ],
    ['a variable without a value', { env: [{ name: 'A' }] }, 'providers[0].env[0]: has to have'],
  ])('is refused with %s', (_what, change, message) => {
    expect(() => readCredentialProviders(file({ ...ecr, ...change }), 'p.yaml')).toThrow(message);
  });

  it('is refused without providers, with one twice, and where it is another file', () => {
    expect(() => readCredentialProviders(file(), 'p')).toThrow('providers: has to have one');
    expect(() => readCredentialProviders(file(ecr, ecr), 'p')).toThrow('is there twice');
    expect(() => readCredentialProviders('kind: Pod', 'p')).toThrow('CredentialProviderConfig');
  });
});
