// Which docker configuration of the node counts, and what is said of one that cannot be read.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NodeCredentials } from '../../../../src/kubelet/images/node-credentials.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { ownFolder } from '../../../support/own-folder.ts';

let folder: string;
let warnings: string[];
let credentials: NodeCredentials;

beforeEach(() => {
  folder = ownFolder('switchyard-credentials');
  warnings = [];
  for (const each of ['root', 'home/.docker']) mkdirSync(join(folder, each), { recursive: true });
  const warn = (_fields: object, text: string): void => void warnings.push(text);
  const log = { ...silentLog, warn };
  credentials = new NodeCredentials({
    rootDir: join(folder, 'root'),
    home: join(folder, 'home'),
    log,
  });
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function put(file: string, value: unknown): void {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  writeFileSync(join(folder, file), text);
}

function of(username: string): object {
  return { 'reg.test': { username, password: 'p' } };
}

async function users(): Promise<readonly (string | undefined)[]> {
  return (await credentials.read()).map(({ auth }) => auth.username);
}

test('none has none', async () => {
  expect(await users()).toEqual([]);
  expect(warnings).toEqual([]);
});

test('the root directory’s counts before the home’s, the newer form before the older one, and at once', async () => {
  put('home/.dockercfg', of('old of home'));
  expect(await users()).toEqual(['old of home']);
  put('root/.dockercfg', of('old of root'));
  expect(await users()).toEqual(['old of root']);
  put('home/.docker/config.json', { auths: of('home') });
  expect(await users()).toEqual(['home']);
  put('root/config.json', { auths: of('root') });
  expect(await users()).toEqual(['root']);
});

test('one that is bad is told of once, without a word of what is in it, and the next counts', async () => {
  put('root/config.json', '{"auths": s3cret');
  put('home/.docker/config.json', { auths: of('home') });
  expect([await users(), await users()]).toEqual([['home'], ['home']]);
  const path = join(folder, 'root/config.json');
  expect(warnings).toEqual([
    `credentials for registries in ${path} do not count: .dockerconfigjson is not JSON`,
  ]);
});

test('a folder and a file that is too large do not count', async () => {
  mkdirSync(join(folder, 'root/config.json'));
  put('root/.dockercfg', `{${' '.repeat(1024 * 1024)}}`);
  expect(await users()).toEqual([]);
  expect(warnings).toEqual([
    expect.stringMatching(/config\.json do not count: it is no regular file$/),
    expect.stringMatching(/\.dockercfg do not count: it has 1048578 bytes, at most 1048576/),
  ]);
});
