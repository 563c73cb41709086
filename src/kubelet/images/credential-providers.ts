import { join } from 'node:path';
import type { Clock } from '../../clock.ts';
import type { CredentialProviderConfig } from '../../config/credential-providers.ts';
import { errorText } from '../../error.ts';
import type { RunProgram } from '../../informer/exec-plugin.ts';
import type { Log } from '../../telemetry/log.ts';
import { credentialsFor, repositoryOf } from './docker-config.ts';
import type { RegistryCredential } from './docker-config.ts';
import type { Auth, FindAuth } from './images.ts';
import { readProviderResponse } from './provider-response.ts';
import type { CacheScope, ProviderResponse } from './provider-response.ts';
import { SharedCalls } from './shared-calls.ts';

export interface CredentialProvidersOptions {
  readonly providers: readonly CredentialProviderConfig[];
  /** Where their programs lie. */
  readonly folder: string;
  /** What every program gets of the agent's own environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly run: RunProgram;
  readonly clock: Clock;
  readonly log: Log;
}

/** They ask services of a cloud and may be slow; one that is slower hangs. */
const longestRunMs = 60_000;
/** Answers that are kept of one program; the oldest go first. */
const mostKept = 500;

interface Kept {
  readonly credentials: readonly RegistryCredential[];
  readonly untilMs: number;
}

/**
 * Asks the programs of `--image-credential-provider-config` for what a registry wants (CredentialProviderRequest and -Response). One that
 * fails is told of in the log, and the pull is tried with what else there is.
 */
export class CredentialProviders {
  readonly #options: CredentialProvidersOptions;
  readonly #providers: readonly Provider[];

  constructor(options: CredentialProvidersOptions) {
    this.#options = options;
    this.#providers = options.providers.map((config) => new Provider(config, options));
  }

  /** Those that are for an image. Rejects only when `signal` aborts. */
  async for(image: string, signal: AbortSignal): Promise<readonly Auth[]> {
    const asked = this.#providers.filter((provider) => provider.isFor(image));
    const found = await Promise.all(asked.map(async (each) => this.#ask(each, image, signal)));
    return credentialsFor(image, found.flat());
  }

  async #ask(
    provider: Provider,
    image: string,
    signal: AbortSignal,
  ): Promise<readonly RegistryCredential[]> {
    try {
      return await provider.ask(image, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      const fields = { provider: provider.name, image, error: errorText(thrown) };
      this.#options.log.warn(fields, 'a credential provider gives nothing for an image');
      return [];
    }
  }
}

/** What others have for an image first, and then what the providers give. */
export function withProviders(
  find: FindAuth,
  providers: Pick<CredentialProviders, 'for'> | undefined,
): FindAuth {
  if (providers === undefined) return find;
  return async (pod, image, signal) => {
    const [known, given] = await Promise.all([
      find(pod, image, signal),
      providers.for(image, signal),
    ]);
    return [...new Map([...known, ...given].map((auth) => [JSON.stringify(auth), auth])).values()];
  };
}

/** One of the programs, with what it said. */
class Provider {
  readonly #config: CredentialProviderConfig;
  readonly #options: CredentialProvidersOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #calls = new SharedCalls<ProviderResponse>();

  constructor(config: CredentialProviderConfig, options: CredentialProvidersOptions) {
    this.#config = config;
    this.#options = options;
  }

  get name(): string {
    return this.#config.name;
  }

  isFor(image: string): boolean {
    const patterns = this.#config.matchImages.map((registry) => ({ registry, auth: {} }));
    return credentialsFor(image, patterns).length > 0;
  }

  /** Pulls of one image at the same time ask once. */
  async ask(image: string, signal: AbortSignal): Promise<readonly RegistryCredential[]> {
    const repository = repositoryOf(image);
    for (const scope of ['Image', 'Registry', 'Global'] as const) {
      const kept = this.#kept.get(keyOf(scope, repository));
      if (kept !== undefined && this.#options.clock.monotonic() < kept.untilMs)
        return kept.credentials;
    }
    const { scope, cacheMs, credentials } = await this.#calls.call(
      repository,
      async (ending) => this.#run(repository, ending),
      signal,
    );
    this.#keep(keyOf(scope, repository), credentials, cacheMs ?? this.#config.cacheMs);
    return credentials;
  }

  async #run(image: string, signal: AbortSignal): Promise<ProviderResponse> {
    const { name, args, env, apiVersion } = this.#config;
    const { folder, clock, run, env: around } = this.#options;
    const request = { kind: 'CredentialProviderRequest', apiVersion, image };
    const program = {
      command: join(folder, name),
      args,
      env: { ...around, ...env },
      input: JSON.stringify(request),
      timeoutMs: longestRunMs,
    };
    return readProviderResponse(await run(program, clock, signal), apiVersion);
  }

  #keep(key: string, credentials: readonly RegistryCredential[], forMs: number): void {
    this.#kept.delete(key);
    if (forMs <= 0) return;
    this.#kept.set(key, { credentials, untilMs: this.#options.clock.monotonic() + forMs });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > mostKept && oldest !== undefined) this.#kept.delete(oldest);
  }
}

function keyOf(scope: CacheScope, repository: string): string {
  switch (scope) {
    case 'Image':
      return `image ${repository}`;
    case 'Registry':
      return `registry ${repository.slice(0, repository.indexOf('/'))}`;
    case 'Global':
      return 'global';
    default:
      return scope satisfies never;
  }
}
