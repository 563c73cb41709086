import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import type { Clock } from '../../clock.ts';
import { checkSize, readCredentialProviders } from '../../config/credential-providers.ts';
import type { CredentialProviderConfig } from '../../config/credential-providers.ts';
import type { RuntimeConfig } from '../../config/kubelet-config.ts';
import { errorText, SwitchyardError } from '../../error.ts';
import { runProgram } from '../../host/run-program.ts';
import type { Log } from '../../telemetry/log.ts';
import { CredentialProviders } from '../images/credential-providers.ts';

const flag = '--image-credential-provider-config';

/** Reads what programs give credentials for registries; undefined: none are configured. Throws where the file is wrong, or a program is not there. */
export async function openCredentialProviders(
  { credentialProviders: configured }: Pick<RuntimeConfig, 'credentialProviders'>,
  clock: Clock,
  log: Log,
): Promise<CredentialProviders | undefined> {
  if (configured === undefined) return undefined;
  const { file, folder } = configured;
  const providers = readCredentialProviders(await textOf(file), file);
  for (const provider of providers) await checkProgram(folder, provider);
  log.info({ providers: providers.map(({ name }) => name) }, 'credential providers');
  return new CredentialProviders({
    providers,
    folder,
    env: process.env,
    run: runProgram,
    clock,
    log,
  });
}

async function textOf(file: string): Promise<string> {
  try {
    checkSize(file, (await stat(file)).size);
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (cause instanceof SwitchyardError) throw cause;
    throw new SwitchyardError('usage', `${flag}: cannot read ${file}: ${errorText(cause)}`, {
      cause,
    });
  }
}

async function checkProgram(folder: string, { name }: CredentialProviderConfig): Promise<void> {
  const path = join(folder, name);
  try {
    await access(path, constants.X_OK);
  } catch (cause) {
    const what = `${flag}: provider ${JSON.stringify(name)}: ${path} cannot be run: ${errorText(cause)}`;
    const hint = 'put the program there, or take the provider out of the file';
    throw new SwitchyardError('usage', what, { cause, hint });
  }
}
