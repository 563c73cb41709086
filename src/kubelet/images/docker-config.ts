import { Buffer } from 'node:buffer';
import { SwitchyardError } from '../../error.ts';
import { isRaw } from '../../services/field-reader.ts';
import type { Auth } from './images.ts';

/** What a docker configuration has for a registry, or for a part of one. */
export interface RegistryCredential {
  /** As it is written there: `https://index.docker.io/v1/`, `*.reg.test:5000/team`. */
  readonly registry: string;
  readonly auth: Auth;
}

/**
 * Reads a docker configuration, `.dockerconfigjson` with its `auths` or `.dockercfg`, which is what stands in them. Throws where it is none;
 * the message holds nothing of what was read.
 */
export function readDockerConfig(
  data: Uint8Array,
  form: '.dockerconfigjson' | '.dockercfg',
): readonly RegistryCredential[] {
  const whole = parsed(data, form);
  const auths = form === '.dockercfg' ? whole : (whole['auths'] ?? {});
  if (!isRaw(auths)) throw unreadable(`${form}: auths is not an object`);
  return Object.entries(auths).flatMap(([registry, entry]) => {
    const auth = authOf(entry, form);
    return auth === undefined ? [] : [{ registry, auth }];
  });
}

function parsed(data: Uint8Array, form: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(data).toString('utf8'));
  } catch {
    // what a parser says quotes what it read
    throw unreadable(`${form} is not JSON`);
  }
  if (!isRaw(value)) throw unreadable(`${form} is not an object`);
  return value;
}

/** undefined: it only says that there is something elsewhere, as those of a credential helper do. */
function authOf(entry: unknown, form: string): Auth | undefined {
  if (!isRaw(entry)) throw unreadable(`${form}: what a registry has is not an object`);
  const text = (key: string): string => (typeof entry[key] === 'string' ? entry[key] : '');
  const identityToken = text('identitytoken');
  if (identityToken !== '') return { identityToken };
  const encoded = text('auth');
  if (encoded === '') {
    const [username, password] = [text('username'), text('password')];
    return username === '' && password === '' ? undefined : { username, password };
  }
  const decoded = trimmedEnd(Buffer.from(encoded, 'base64').toString('utf8'), '\0');
  const at = decoded.indexOf(':');
  if (at < 0) throw unreadable(`${form}: auth is not base64 of USER:PASSWORD`);
  return { username: decoded.slice(0, at), password: decoded.slice(at + 1) };
}

function unreadable(what: string): SwitchyardError {
  return new SwitchyardError('object', what);
}

/** A registry with a part of it: a name of an image, or what credentials are for. */
interface Place {
  /** In lower case. */
  readonly host: string;
  readonly port: string;
  /** `/library/busybox`; '' for all of a registry. */
  readonly path: string;
}

/**
 * Those that are for an image (Kubernetes: Images), the most particular first: a registry's own name before a pattern, a longer path before
 * a shorter one; of equals that one that was given first. None twice.
 */
export function credentialsFor(
  image: string,
  credentials: readonly RegistryCredential[],
): readonly Auth[] {
  const wanted = placeOfImage(image);
  const found = credentials
    .map(({ registry, auth }) => ({ place: placeOfRegistry(registry), auth }))
    .filter(({ place }) => covers(place, wanted))
    .toSorted((a, b) => patterns(a.place) - patterns(b.place) || length(b.place) - length(a.place))
    .map(({ auth }) => auth);
  return [...new Map(found.map((auth) => [JSON.stringify(auth), auth])).values()];
}

const hub = 'docker.io';

/** `busybox` is that of Docker Hub's library. */
function placeOfImage(image: string): Place {
  const name = image.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const hasHost = /[.:]/.test(first) || first === 'localhost';
  if (hasHost && !isHub(first)) return { ...hostOf(first), path: name.slice(slash) };
  const rest = hasHost ? name.slice(slash + 1) : name;
  return { host: hub, port: '', path: rest.includes('/') ? `/${rest}` : `/library/${rest}` };
}

/** `docker.io/library/busybox`: registry and name of an image, without tag and digest. */
export function repositoryOf(image: string): string {
  const { host, port, path } = placeOfImage(image);
  return `${host}${port === '' ? '' : `:${port}`}${path}`;
}

/** The version of a registry's API, as docker writes it, is no part of a name. */
function placeOfRegistry(registry: string): Place {
  const bare = registry.trim().replace(/^[a-z]+:\/\//i, '');
  const slash = bare.indexOf('/');
  const host = slash < 0 ? bare : bare.slice(0, slash);
  const path = slash < 0 ? '' : bare.slice(slash).replace(/^\/v[12](?=\/|$)/, '');
  const named = isHub(host) ? { host: hub, port: '' } : hostOf(host);
  return { ...named, path: trimmedEnd(path, '/') };
}

/** Without this character at its end. By hand: a regular expression begins anew at each of a run that is not at the end. */
function trimmedEnd(text: string, character: string): string {
  let end = text.length;
  while (end > 0 && text[end - 1] === character) end -= 1;
  return text.slice(0, end);
}

function isHub(host: string): boolean {
  return /^(?:index\.)?docker\.io$/i.test(host);
}

function hostOf(text: string): Pick<Place, 'host' | 'port'> {
  const colon = text.lastIndexOf(':');
  const port = colon < 0 ? '' : text.slice(colon + 1);
  if (!/^\d+$/.test(port)) return { host: text.toLowerCase(), port: '' };
  return { host: text.slice(0, colon).toLowerCase(), port };
}

function covers(place: Place, wanted: Place): boolean {
  return (
    place.port === wanted.port &&
    wanted.path.startsWith(place.path) &&
    matchesHost(place.host, wanted.host)
  );
}

/** Each label may be a pattern; there have to be as many. */
function matchesHost(pattern: string, host: string): boolean {
  const labels = host.split('.');
  const wanted = pattern.split('.');
  return (
    wanted.length === labels.length &&
    wanted.every((label, at) => matchesLabel(label, labels[at] ?? ''))
  );
}

/** The longest label that a name in DNS has. */
const longestLabel = 63;

/**
 * `*` stands for any rest, `?` for one character. By hand: whoever may make a Secret could write a regular expression that is tried for
 * hours.
 */
function matchesLabel(pattern: string, label: string): boolean {
  // each character of a label is compared with the pattern as often as the label is long
  if (label.length > longestLabel) return pattern === label;
  let at = 0;
  let star = -1;
  let from = 0;
  for (let read = 0; read < label.length;) {
    if (pattern[at] === '*') {
      star = at;
      from = read;
      at += 1;
    } else if (pattern[at] === '?' || pattern[at] === label[read]) {
      at += 1;
      read += 1;
    } else if (star >= 0) {
      // the last star takes one more
      at = star + 1;
      from += 1;
      read = from;
    } else return false;
  }
  return /^\**$/.test(pattern.slice(at));
}

function patterns({ host }: Place): number {
  return host.replaceAll(/[^*?]/g, '').length;
}

function length({ path }: Place): number {
  return path.length;
}
