import { SwitchyardError } from '../../error.ts';
import { podText } from '../pod/pod.ts';
import type { Pod } from '../pod/pod.ts';

/** How a pod calls itself (Kubernetes: DNS for Services and Pods). */
export interface PodHostname {
  /** Without the domain: for `/etc/hosts`. */
  readonly hostname: string;
  /** `web.default.svc.cluster.local`; '' without a subdomain. */
  readonly domain: string;
  /** What the sandbox gets: the hostname, or all of it with `setHostnameAsFQDN`. */
  readonly sandbox: string;
}

/** A label of DNS. */
const longestLabel = 63;
/** The kernel's own limit. */
const longestHostname = 64;

/** Throws where the name is longer than a kernel takes it. */
export function podHostname(
  { metadata, spec }: Pick<Pod, 'metadata' | 'spec'>,
  clusterDomain: string,
): PodHostname {
  if (spec.hostnameOverride !== undefined) {
    const hostname = spec.hostnameOverride;
    return { hostname, domain: '', sandbox: hostname };
  }
  const given = spec.hostname ?? '';
  const hostname = shortened(given === '' ? metadata.name : given);
  const subdomain = spec.subdomain ?? '';
  const domain = subdomain === '' ? '' : `${subdomain}.${metadata.namespace}.svc.${clusterDomain}`;
  if (spec.setHostnameAsFQDN !== true || domain === '') {
    return { hostname, domain, sandbox: hostname };
  }
  const sandbox = `${hostname}.${domain}`;
  if (sandbox.length > longestHostname) {
    throw new SwitchyardError(
      'object',
      `failed to construct FQDN from pod hostname and cluster domain, FQDN ${sandbox} is too long (${longestHostname} characters is the max, ${sandbox.length} characters requested)`,
      { hint: `shorten the hostname of ${podText({ metadata })}` },
    );
  }
  return { hostname, domain, sandbox };
}

function shortened(name: string): string {
  return name.length > longestLabel ? name.slice(0, longestLabel).replace(/[-.]+$/, '') : name;
}
