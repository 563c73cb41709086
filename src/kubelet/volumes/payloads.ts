import { Buffer } from 'node:buffer';

import { errorText, SwitchyardError } from '../../error.ts';
import { podField } from '../environment/pod-fields.ts';
import { resourceField } from '../environment/resource-field.ts';
import type { Allocatable } from '../environment/resource-field.ts';
import type { Pod } from '../pod/pod.ts';
import type { DownwardItem, KeyToPath, Projection, Volume } from '../pod/volume.ts';
import type { ReferencedObjects } from '../ports/referenced-objects.ts';
import type { Payload, PayloadFile } from './atomic-writer.ts';
import type { Tokens } from './tokens.ts';

/** Where the files of volumes come from. */
export interface PayloadSources {
  /** Undefined: there is no API server. */
  readonly objects: Pick<ReferencedObjects, 'configMap' | 'secret'> | undefined;
  /** Undefined: there is no API server. */
  readonly tokens: Pick<Tokens, 'token'> | undefined;
  readonly allocatable: Allocatable;
}

type Files = ReadonlyMap<string, PayloadFile>;
type ProjectedVolume = NonNullable<Volume['projected']>;

/** What a volume of files holds; undefined for a volume of another kind. Throws what `FailedMount` then says. */
export async function payloadOf(
  pod: Pod,
  volume: Volume,
  sources: PayloadSources,
  signal: AbortSignal,
): Promise<Payload | undefined> {
  const { configMap, secret, downwardAPI, projected } = volume;
  const from = new Sources(pod, sources, signal);
  if (configMap !== undefined) return from.configMap(configMap, configMap.defaultMode);
  if (secret !== undefined) {
    return from.secret({ ...secret, name: secret.secretName }, secret.defaultMode);
  }
  if (downwardAPI !== undefined) {
    return from.downward(downwardAPI.items ?? [], downwardAPI.defaultMode);
  }
  return projected === undefined ? undefined : from.projected(projected);
}

/** An object that files are made of. */
interface ObjectFiles {
  readonly name: string;
  readonly items?: readonly KeyToPath[];
  readonly optional?: boolean;
}

class Sources {
  readonly #pod: Pod;
  readonly #sources: PayloadSources;
  readonly #signal: AbortSignal;

  constructor(pod: Pod, sources: PayloadSources, signal: AbortSignal) {
    this.#pod = pod;
    this.#sources = sources;
    this.#signal = signal;
  }

  async configMap(wanted: ObjectFiles, mode: number): Promise<Files> {
    const { namespace } = this.#pod.metadata;
    const found = await this.#objects().configMap(namespace, wanted.name, this.#signal);
    if (found === undefined) return absent('configmap', wanted);
    const text = Object.entries(found.data).map(([key, value]) => [key, Buffer.from(value)]);
    const data = { ...found.binaryData, ...Object.fromEntries(text) };
    return chosen(data, wanted, { mode, word: 'config' });
  }

  async secret(wanted: ObjectFiles, mode: number): Promise<Files> {
    const { namespace } = this.#pod.metadata;
    const found = await this.#objects().secret(namespace, wanted.name, this.#signal);
    if (found === undefined) return absent('secret', wanted);
    return chosen(found.data, wanted, { mode, word: 'secret' });
  }

  downward(items: readonly DownwardItem[], defaultMode: number): Files {
    return new Map(
      items.map((item) => {
        const data = Buffer.from(this.#downwardValue(item));
        return [clean(item.path), { data, mode: item.mode ?? defaultMode }];
      }),
    );
  }

  /** All together; what is wrong with any of them is told at once. */
  async projected({ sources = [], defaultMode }: ProjectedVolume): Promise<Files> {
    const files = new Map<string, PayloadFile>();
    const problems: string[] = [];
    for (const source of sources) {
      try {
        for (const [path, file] of await this.#projection(source, defaultMode)) {
          files.set(path, file);
        }
      } catch (error) {
        this.#signal.throwIfAborted();
        problems.push(errorText(error));
      }
    }
    const [only] = problems;
    if (only === undefined) return files;
    throw refusal(problems.length === 1 ? only : `[${problems.join(', ')}]`);
  }

  async #projection(source: Projection, mode: number): Promise<Files> {
    const { configMap, secret, downwardAPI, serviceAccountToken } = source;
    if (configMap !== undefined) return this.configMap(configMap, mode);
    if (secret !== undefined) return this.secret(secret, mode);
    if (downwardAPI !== undefined) return this.downward(downwardAPI.items ?? [], mode);
    if (serviceAccountToken !== undefined) return this.#token(serviceAccountToken, mode);
    throw refusal('a projected source of this kind is not supported');
  }

  async #token(
    { path, audience = '', expirationSeconds }: NonNullable<Projection['serviceAccountToken']>,
    defaultMode: number,
  ): Promise<Files> {
    const { tokens } = this.#sources;
    if (tokens === undefined) throw refusal('kube client is not configured');
    const token = await tokens
      .token(this.#pod, { audience, expirationSeconds }, this.#signal)
      .catch((error: unknown) => {
        throw refusal(`failed to fetch token: ${errorText(error)}`);
      });
    const uid = commonUser(this.#pod);
    const isPrivate = uid !== undefined || this.#pod.spec.securityContext.fsGroup !== undefined;
    const file: PayloadFile = {
      data: Buffer.from(token),
      mode: isPrivate ? 0o600 : defaultMode,
      ...(uid !== undefined && { uid }),
    };
    return new Map([[clean(path), file]]);
  }

  #downwardValue({ fieldRef, resourceFieldRef }: DownwardItem): string {
    if (fieldRef !== undefined) {
      const value = podField(this.#pod, fieldRef.fieldPath);
      return value ?? refuse(`unsupported fieldPath: ${fieldRef.fieldPath}`);
    }
    if (resourceFieldRef === undefined) return refuse('an item refers to no field');
    const { containers, initContainers } = this.#pod.spec;
    const name = resourceFieldRef.containerName ?? '';
    const container = [...containers, ...initContainers].find((each) => each.name === name);
    if (container === undefined) return refuse(`container ${name} not found`);
    const value = resourceField(container, resourceFieldRef, this.#sources.allocatable);
    return value ?? refuse(`unsupported container resource : ${resourceFieldRef.resource}`);
  }

  #objects(): NonNullable<PayloadSources['objects']> {
    return this.#sources.objects ?? refuse('kube client is not configured');
  }
}

function chosen(
  data: Readonly<Record<string, Uint8Array>>,
  { items, optional }: ObjectFiles,
  { mode, word }: { readonly mode: number; readonly word: 'config' | 'secret' },
): Files {
  const paths = items ?? Object.keys(data).map((key): KeyToPath => ({ key, path: key }));
  const files = new Map<string, PayloadFile>();
  for (const item of paths) {
    const value = Object.hasOwn(data, item.key) ? data[item.key] : undefined;
    if (value !== undefined) files.set(clean(item.path), { data: value, mode: item.mode ?? mode });
    else if (optional !== true) refuse(`references non-existent ${word} key: ${item.key}`);
  }
  return files;
}

function absent(kind: string, { name, optional }: ObjectFiles): Files {
  return optional === true ? new Map() : refuse(`${kind} "${name}" not found`);
}

/** The user that all containers run as; undefined where they differ, or the image says. */
function commonUser({ spec }: Pod): number | undefined {
  const users = new Set(
    [...spec.initContainers, ...spec.containers].map(
      ({ securityContext }) => securityContext?.runAsUser ?? spec.securityContext.runAsUser,
    ),
  );
  return users.size === 1 ? [...users][0] : undefined;
}

/** `./a//b` is `a/b`; what leads out of the volume is left for the writer to refuse. */
function clean(path: string): string {
  if (path.startsWith('/')) return path;
  return path
    .split('/')
    .filter((element) => element !== '' && element !== '.')
    .join('/');
}

function refusal(message: string): SwitchyardError {
  return new SwitchyardError('object', message, { retryable: true });
}

function refuse(message: string): never {
  throw refusal(message);
}
