import type { FlagValues } from './flag-table.ts';
import type { KubeletConfig, UrlPodsConfig } from './kubelet-config.ts';

export type PodSourcesConfig = Pick<KubeletConfig, 'kubeconfig' | 'staticPods' | 'urlPods'>;

/** What reads settings and takes down what is wrong with them. */
interface Reading {
  readonly flags: FlagValues;
  readonly positive: (field: string) => number;
  readonly problem: (field: string, text: string) => void;
}

const fileForm = /^file:(.+)$/s;
/** `url:` may be left out. */
const urlForm = /^(?:url:)?(https?:.+)$/s;

/** Where pods come from: fields and flags of each source, and --source, which says the same and may leave the API server out. */
export function podSources(reading: Reading): PodSourcesConfig {
  const { flags, positive, problem } = reading;
  const given = flags.list('source');
  const path = onePlace(reading, fileForm, 'staticPodPath', 'path');
  const url = onePlace(reading, urlForm, 'staticPodURL', 'URL');
  const wantsApi = given.length === 0 || given.includes('kubernetes');
  const kubeconfig = wantsApi ? flags.text('kubeconfig') : '';
  checkNamed(given, kubeconfig, problem);
  if ([path, url, kubeconfig].every((each) => each === ''))
    problem('kubeconfig', 'is missing, and so are static pods (--source=file:PATH or url:URL)');
  const filePollMs = positive('fileCheckFrequency');
  const urlPollMs = positive('httpCheckFrequency');
  return {
    kubeconfig,
    staticPods: path === '' ? undefined : { path, pollMs: filePollMs },
    urlPods: url === '' ? undefined : { ...urlOf(url, reading), pollMs: urlPollMs },
  };
}

function checkNamed(
  given: readonly string[],
  kubeconfig: string,
  problem: Reading['problem'],
): void {
  if (given.includes('kubernetes') && kubeconfig === '')
    problem('source', 'kubernetes needs --kubeconfig');
  for (const each of given) {
    if (each !== 'kubernetes' && !fileForm.test(each) && !urlForm.test(each))
      problem(
        'source',
        `${JSON.stringify(withoutPassword(each))} is not kubernetes, file:PATH or url:URL`,
      );
  }
}

/** '': none is named. */
function onePlace({ flags, problem }: Reading, form: RegExp, field: string, what: string): string {
  const named = flags.list('source').map((each) => form.exec(each)?.[1] ?? '');
  const places = new Set([...named, flags.text(field)].filter((each) => each !== ''));
  const all = [...places].map(withoutPassword).join(' and ');
  if (places.size > 1) problem('source', `static pods are of one ${what}, not ${all}`);
  return [...places][0] ?? '';
}

function urlOf(url: string, { flags, problem }: Reading): Omit<UrlPodsConfig, 'pollMs'> {
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? ''))
    problem('staticPodURL', `${JSON.stringify(withoutPassword(url))} is no http or https URL`);
  return { url, headers: headersOf(flags, problem) };
}

/** A URL as others may see it: a query may hold a token. */
export function withoutPassword(place: string): string {
  return place.replace(/\/\/[^/]*@/, '//…@').replace(/(\/\/[^?]*)\?.+$/s, '$1?…');
}

const headerName = /^[!#$%&'*+\-.^_`|~\w]+$/;

/** No word of a value: it may be a secret. */
function headersOf(flags: FlagValues, problem: Reading['problem']): UrlPodsConfig['headers'] {
  const headers = new Map<string, string[]>();
  for (const each of flags.list('staticPodURLHeader')) {
    const at = each.indexOf(':');
    const name = each.slice(0, at).trim();
    const value = each.slice(at + 1).trim();
    if (!headerName.test(name))
      problem('staticPodURLHeader', `${JSON.stringify(name)} is no name of a header`);
    else if (/[^\t\u0020-\u007E\u0080-\u00FF]/.test(value))
      problem('staticPodURLHeader', `${name}: its value has characters that no header may have`);
    else headers.set(name, [...(headers.get(name) ?? []), value]);
  }
  return Object.fromEntries(headers);
}
