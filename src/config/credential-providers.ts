import { SwitchyardError } from '../error.ts';
import { parseDuration } from './duration.ts';
import { isFields, readDocument } from './file-document.ts';
import { refuse } from './problems.ts';
import type { FieldProblem } from './problems.ts';

/** A program that gives credentials for registries (KEP-2133). */
export interface CredentialProviderConfig {
  /** Of the program, in the folder of such. */
  readonly name: string;
  /** Registries, or parts of such: `*.dkr.ecr.*.amazonaws.com`, `reg.test:5000/team`. */
  readonly matchImages: readonly string[];
  /** How long what it gave counts, where it does not say so itself. */
  readonly cacheMs: number;
  /** Of its requests and responses. */
  readonly apiVersion: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const kind = 'CredentialProviderConfig';
const protocols = ['v1', 'v1beta1', 'v1alpha1'].map(
  (version) => `credentialprovider.kubelet.k8s.io/${version}`,
);
const known: ReadonlySet<string> = new Set([
  'name',
  'matchImages',
  'defaultCacheDuration',
  'apiVersion',
  'args',
  'env',
  'tokenAttributes',
]);

/** Reads the file of `--image-credential-provider-config`; throws a usage error that names each field with which something is wrong. */
export function readCredentialProviders(
  text: string,
  path: string,
): readonly CredentialProviderConfig[] {
  const { root } = readDocument(text, path, { apiVersion: 'kubelet.config.k8s.io/v1', kind });
  const reading = new Reading(path);
  const providers = reading.providers(isFields(root) ? root['providers'] : undefined);
  refuse(reading.problems);
  return providers;
}

type Fields = Readonly<Record<string, unknown>>;

class Reading {
  readonly problems: FieldProblem[] = [];
  readonly #path: string;
  readonly #names = new Set<string>();

  constructor(path: string) {
    this.#path = path;
  }

  providers(value: unknown): readonly CredentialProviderConfig[] {
    if (!Array.isArray(value) || value.length === 0) {
      this.#add('providers', 'has to have one at least');
      return [];
    }
    return value.map((each: unknown, index) =>
      this.#provider(isFields(each) ? each : {}, `providers[${index}]`),
    );
  }

  #provider(raw: Fields, at: string): CredentialProviderConfig {
    for (const key of Object.keys(raw))
      if (!known.has(key)) this.#add(`${at}.${key}`, 'is no field');
    if ((raw['tokenAttributes'] ?? undefined) !== undefined)
      this.#add(`${at}.tokenAttributes`, 'tokens of service accounts are not given to programs');
    return {
      name: this.#name(raw['name'], `${at}.name`),
      matchImages: this.#patterns(raw['matchImages'], `${at}.matchImages`),
      cacheMs: this.#duration(raw['defaultCacheDuration'], `${at}.defaultCacheDuration`),
      apiVersion: this.#protocol(raw['apiVersion'], `${at}.apiVersion`),
      args: this.#texts(raw['args'], `${at}.args`),
      env: this.#env(raw['env'], `${at}.env`),
    };
  }

  /** It is a file of one folder, whatever it says. */
  #name(value: unknown, at: string): string {
    const name = typeof value === 'string' ? value : '';
    if (!/^[^/\s]+$/.test(name) || name === '.' || name === '..')
      this.#add(at, 'has to be the name of a program, without a path or blanks');
    if (this.#names.has(name)) this.#add(at, `${JSON.stringify(name)} is there twice`);
    this.#names.add(name);
    return name;
  }

  #patterns(value: unknown, at: string): readonly string[] {
    const patterns = this.#texts(value, at);
    if (patterns.length === 0) this.#add(at, 'has to name one registry at least');
    for (const [index, each] of patterns.entries()) {
      if (!/^[^\s/]+(?:\/\S*)?$/.test(each) || each.includes('://'))
        this.#add(`${at}[${index}]`, 'has to be HOST[:PORT][/PATH], without a scheme');
    }
    return patterns;
  }

  #duration(value: unknown, at: string): number {
    const ms = typeof value === 'string' ? parseDuration(value) : undefined;
    if (ms === undefined || ms < 0) this.#add(at, 'has to be a duration such as 12h or 0s');
    return ms ?? 0;
  }

  #protocol(value: unknown, at: string): string {
    if (typeof value === 'string' && protocols.includes(value)) return value;
    this.#add(at, `has to be one of ${protocols.join(', ')}`);
    return '';
  }

  #texts(value: unknown, at: string): readonly string[] {
    if (value === undefined || value === null) return [];
    if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value;
    this.#add(at, 'has to be a list of texts');
    return [];
  }

  /** What is wrong is told without values: they may be secrets. */
  #env(value: unknown, at: string): Readonly<Record<string, string>> {
    const list: readonly unknown[] = Array.isArray(value) ? value : [];
    if (!Array.isArray(value) && (value ?? undefined) !== undefined)
      this.#add(at, 'has to be a list of name and value');
    return Object.fromEntries(
      list.map((each, index) => {
        const { name, value: text } = isFields(each) ? each : {};
        if (typeof name !== 'string' || name === '' || typeof text !== 'string')
          this.#add(`${at}[${index}]`, 'has to have a name and a value, both texts');
        return [String(name), String(text)];
      }),
    );
  }

  #add(field: string, what: string): void {
    this.problems.push({ message: `${this.#path}: ${field}: ${what}`, hint: undefined });
  }
}

/** A file of that size is none. */
const mostBytes = 1024 * 1024;

/** Throws where it is too large to be one. */
export function checkSize(path: string, bytes: number): void {
  if (bytes <= mostBytes) return;
  throw new SwitchyardError('usage', `${path}: has ${bytes} bytes, at most ${mostBytes} are read`);
}
