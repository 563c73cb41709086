import { parseDuration } from '../../config/duration.ts';
import { isRaw } from '../../services/field-reader.ts';
import type { RegistryCredential } from './docker-config.ts';

/** For what else the answer of a credential provider counts: this image, all of its registry, or everything. */
export type CacheScope = 'Image' | 'Registry' | 'Global';

export interface ProviderResponse {
  readonly scope: CacheScope;
  /** undefined: it does not say. */
  readonly cacheMs: number | undefined;
  readonly credentials: readonly RegistryCredential[];
}

const scopes = ['Image', 'Registry', 'Global'] as const;

/** Reads a CredentialProviderResponse. Throws where it is none; the message holds nothing of what was read. */
export function readProviderResponse(text: string, apiVersion: string): ProviderResponse {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('its answer is not JSON');
  }
  if (!isRaw(value) || value['kind'] !== 'CredentialProviderResponse')
    throw new Error('its answer is no CredentialProviderResponse');
  if (value['apiVersion'] !== apiVersion)
    throw new Error(`its answer is not of ${apiVersion}, which it was asked in`);
  const scope = scopes.find((each) => value['cacheKeyType'] === each);
  if (scope === undefined) throw new Error(`cacheKeyType is none of ${scopes.join(', ')}`);
  return { scope, cacheMs: cacheOf(value['cacheDuration']), credentials: ofAuth(value['auth']) };
}

function cacheOf(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  const ms = typeof value === 'string' ? parseDuration(value) : undefined;
  if (ms === undefined) throw new Error('cacheDuration is no duration');
  return Math.max(0, ms);
}

/** null: it has nothing for this image. */
function ofAuth(value: unknown): readonly RegistryCredential[] {
  if (value === undefined || value === null) return [];
  if (!isRaw(value)) throw new Error('auth is no map');
  return Object.entries(value).map(([registry, entry]) => {
    if (!isRaw(entry)) throw new Error('auth has something that is no username and password');
    const { username, password } = entry;
    if (typeof username !== 'string' || typeof password !== 'string')
      throw new Error('auth has something without username and password');
    return { registry, auth: { username, password } };
  });
}
