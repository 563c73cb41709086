// How a node pulls images: by what programs say of its registries, with passwords that are wrong, and how many at a time.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ServedRegistry } from './contract/registry.ts';
import { containerdRuntime } from './contract/runtimes.ts';
import { statusOf } from './contract/test-pod.ts';
import type { TestPod } from './contract/test-pod.ts';
import { Trial, forever, one } from './contract/trial.ts';
import { World } from './contract/world.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import { fabricAddress } from './node-machine.ts';

const cluster = new KubeletCluster(['n1']);
const registry = new ServedRegistry(fabricAddress);
const protocol = 'credentialprovider.kubelet.k8s.io/v1';
let world: World;
let trial: Trial;
/** Where programs that give credentials lie, and what they were asked. */
let programs = '';

beforeAll(async () => {
  await cluster.start([pauseImage(), busyboxImage()]);
  await registry.start();
  const node = cluster.nodes[0] ?? expect.fail();
  programs = join(node.folder, 'programs');
  world = new World(containerdRuntime(node, registry), cluster, { flags: writePrograms() });
  await world.start();
});

afterAll(async () => {
  await world.stop();
  await cluster.stop();
  registry.stop();
});

beforeEach(() => {
  trial = new Trial(world, 0);
});

afterEach(async () => {
  await trial.end();
});

/** One that gives a password, and one that fails, each for a part of the registry; gives the flags that name them. */
function writePrograms(): readonly string[] {
  mkdirSync(programs);
  const program = (name: string, script: string): void =>
    writeFileSync(join(programs, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  program('giver', 'cat >> "$ASKED"; echo >> "$ASKED"; printf %s "$1"');
  program('broken', 'echo no password today >&2; exit 3');
  const given = {
    apiVersion: protocol,
    kind: 'CredentialProviderResponse',
    cacheKeyType: 'Registry',
    cacheDuration: '1h',
    auth: { [registry.host]: { username: 'me', password: 'given' } },
  };
  const usual = { apiVersion: protocol, defaultCacheDuration: '0s' };
  const config = {
    apiVersion: 'kubelet.config.k8s.io/v1',
    kind: 'CredentialProviderConfig',
    providers: [
      {
        ...usual,
        name: 'giver',
        matchImages: [`${registry.host}/given`],
        args: [JSON.stringify(given)],
        env: [{ name: 'ASKED', value: join(programs, 'asked') }],
      },
      { ...usual, name: 'broken', matchImages: [`${registry.host}/broken`] },
    ],
  };
  const file = join(programs, 'config.json');
  writeFileSync(file, JSON.stringify(config));
  return [
    `--image-credential-provider-config=${file}`,
    `--image-credential-provider-bin-dir=${programs}`,
  ];
}

/** What the program that gives was asked, a line each time. */
function asked(): readonly unknown[] {
  const file = join(programs, 'asked');
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line): unknown => JSON.parse(line));
}

/** A pod of one container, whose image is pulled. */
async function pulling(image: string, more: object = {}): Promise<TestPod> {
  return trial.pod({ ...more, ...one(forever, { image, imagePullPolicy: 'Always' }) });
}

function dockerConfig(password: string): object {
  return { auths: { [registry.host]: { username: 'me', password } } };
}

describe('a registry that asks who pulls', () => {
  it('has it from a program, which is asked once while its answer counts', async () => {
    const credentials = 'me:given';
    const pod = await pulling(trial.offer('given/one:1', { credentials }));
    await pod.running();
    await pod.event('Pulled', /^Successfully pulled image "[^"]+\/given\/one:1" in /);
    const other = await pulling(trial.offer('given/other:1', { credentials }));
    const free = await pulling(trial.offer('free:1'));
    await Promise.all([other.running(), free.running()]);
    const image = `${registry.host}/given/one`;
    expect(asked()).toEqual([{ kind: 'CredentialProviderRequest', apiVersion: protocol, image }]);
  });

  it('is asked with what else there is where a program fails', async () => {
    const image = trial.offer('broken:1', { credentials: 'me:hidden' });
    const { name } = await trial.pullSecret(dockerConfig('hidden'));
    const pod = await pulling(image, { imagePullSecrets: [{ name }] });
    await pod.running();
    expect(world.kubelet.log).toContain('a credential provider gives nothing for an image');
    expect(world.kubelet.log).toContain('no password today');
    const without = await pulling(image);
    await without.waiting('ErrImagePull');
  });

  it('refuses a wrong password: ErrImagePull and back-off, until the Secret is put right', async () => {
    const image = trial.offer('private:1', { credentials: 'me:hidden' });
    const { name } = await trial.pullSecret(dockerConfig('wrong'));
    const pod = await pulling(image, { imagePullSecrets: [{ name }] });
    const messageAt = async (reason: string): Promise<string | undefined> =>
      statusOf(await pod.waiting(reason), 'main')?.state.waiting?.message;
    expect(await messageAt('ErrImagePull')).toContain(image);
    expect(await messageAt('ImagePullBackOff')).toContain(
      `Back-off pulling image "${image}": ErrImagePull: `,
    );
    await pod.event('Pulling', `Pulling image "${image}"`);
    await pod.event('Failed', `Failed to pull image "${image}": `);
    await pod.event('Failed', 'Error: ErrImagePull');
    await pod.event('BackOff', `Back-off pulling image "${image}"`);
    expect(await pod.containers()).toEqual([]);
    const right = JSON.stringify(dockerConfig('hidden'));
    await trial.merge('secrets', name, { stringData: { '.dockerconfigjson': right } });
    await pod.running();
    expect(world.kubelet.log).not.toContain('hidden');
  });
});

describe('pulls at the same time', () => {
  const cases = [
    {
      title: 'are none where nobody asks for them: one image comes after the other',
      configuration: {},
      most: 1,
    },
    {
      title: 'are as many as are allowed, and the next begins when one has ended',
      configuration: { serializeImagePulls: false, maxParallelImagePulls: 2 },
      most: 2,
    },
  ];

  it.each(cases)('$title', async ({ configuration, most }) => {
    await trial.otherKubelet({ configuration });
    const held = new Map(
      ['a', 'b', 'c', 'd'].map((name) => [name, Promise.withResolvers<void>()] as const),
    );
    const begun = new Set<string>();
    const pods = await Promise.all(
      [...held].map(async ([name, { promise }]) => {
        const gate = async (): Promise<void> => {
          begun.add(name);
          await promise;
        };
        return pulling(trial.offer(`held/${most}-${name}:1`, { gate }));
      }),
    );
    await world.until('all have come so far', async () => {
      const sandboxes = await Promise.all(pods.map(async (pod) => pod.sandboxes()));
      return begun.size >= most && sandboxes.every(({ length }) => length === 1);
    });
    for (const count of [most, most + 1]) {
      await world.until(`pull ${count} has begun`, () => begun.size >= count);
      // One whose image is there starts meanwhile: there was time for a pull that may not be.
      await trial.kubeletWorks();
      expect(begun.size).toBe(count);
      const [first = ''] = [...begun].slice(count - most);
      held.get(first)?.resolve();
    }
    for (const { resolve } of held.values()) resolve();
    await Promise.all(pods.map(async (pod) => pod.running()));
  });
});
