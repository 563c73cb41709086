/** Credential providers as the agent starts them: a file and real programs. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../../../src/clock.ts';
import { openCredentialProviders } from '../../../../src/kubelet/base/open-credential-providers.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { ownFolder } from '../../../support/own-folder.ts';

const apiVersion = 'credentialprovider.kubelet.k8s.io/v1';
let folder: string;

beforeEach(() => {
  folder = ownFolder('swy-providers');
  writeFileSync(
    join(folder, 'providers.yaml'),
    `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: giver
    apiVersion: ${apiVersion}
    matchImages: ['*.reg.test']
    defaultCacheDuration: 1m
    args: [u]
    env: [{ name: SUFFIX, value: '-1' }]
`,
  );
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

async function open() {
  const credentialProviders = { file: join(folder, 'providers.yaml'), folder };
  return openCredentialProviders({ credentialProviders }, systemClock, silentLog);
}

it('a program is given its request, and what it says is what a pull is tried with', async () => {
  const answer = `{"kind":"CredentialProviderResponse","apiVersion":"${apiVersion}","cacheKeyType":"Image","auth":{"a.reg.test":{"username":"'$1$SUFFIX'","password":"'$image'"}}}`;
  const script = `#!/bin/sh
image=$(sed 's/.*"image":"\\([^"]*\\)".*/\\1/')
echo '${answer}'
`;
  writeFileSync(join(folder, 'giver'), script, { mode: 0o755 });
  const providers = await open();
  const found = await providers?.for('a.reg.test/app:7', new AbortController().signal);
  expect(found).toEqual([{ username: 'u-1', password: 'a.reg.test/app' }]);
});

it('a program that is not there, or cannot be run, is an error of the start', async () => {
  await expect(open()).rejects.toThrow('provider "giver"');
  writeFileSync(join(folder, 'giver'), '', { mode: 0o644 });
  await expect(open()).rejects.toThrow('cannot be run');
});

it('so is a file that is not there, or is larger than any', async () => {
  const file = join(folder, 'none.yaml');
  const none = { credentialProviders: { file, folder } };
  const opened = openCredentialProviders(none, systemClock, silentLog);
  await expect(opened).rejects.toThrow('--image-credential-provider-config: cannot read');
  writeFileSync(join(folder, 'providers.yaml'), ' '.repeat(1024 * 1024 + 1));
  await expect(open()).rejects.toThrow('at most');
});
