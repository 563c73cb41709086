import type { Pod } from '../pod/pod.ts';
import type { PodAddresses } from '../ports/environment.ts';
import { goQuoted } from './go-quoted.ts';

/** `metadata.labels['tier']` */
const oneOfMap = /^metadata\.(?<map>labels|annotations)\['(?<key>.*)'\]$/;

/**
 * What a `fieldRef` means (Kubernetes: Downward API). Without `addresses` it is one of a volume, which knows labels and annotations as a
 * whole, but no status. undefined: it cannot refer to this.
 */
export function podField(
  { metadata, spec }: Pick<Pod, 'metadata' | 'spec'>,
  path: string,
  addresses?: PodAddresses,
): string | undefined {
  const { map, key = '' } = oneOfMap.exec(path)?.groups ?? {};
  if (map === 'labels' || map === 'annotations') {
    return Object.hasOwn(metadata[map], key) ? metadata[map][key] : '';
  }
  const { name, namespace, uid } = metadata;
  const known: Readonly<Record<string, string>> = {
    'metadata.name': name,
    'metadata.namespace': namespace,
    'metadata.uid': uid,
  };
  if (Object.hasOwn(known, path)) return known[path];
  return addresses === undefined ? mapField(metadata, path) : runningField(spec, path, addresses);
}

function mapField({ labels, annotations }: Pod['metadata'], path: string): string | undefined {
  if (path === 'metadata.labels') return mapText(labels);
  return path === 'metadata.annotations' ? mapText(annotations) : undefined;
}

function runningField(
  spec: Pod['spec'],
  path: string,
  { podIPs, hostIPs }: PodAddresses,
): string | undefined {
  const ownIPs = podIPs.length === 0 && spec.hostNetwork ? hostIPs : podIPs;
  switch (path) {
    case 'spec.nodeName':
      return spec.nodeName;
    case 'spec.serviceAccountName':
      return spec.serviceAccountName ?? '';
    case 'status.hostIP':
      return hostIPs[0] ?? '';
    case 'status.hostIPs':
      return hostIPs.join(',');
    case 'status.podIP':
      return ownIPs[0] ?? '';
    case 'status.podIPs':
      return ownIPs.join(',');
    default:
      return undefined;
  }
}

function mapText(map: Readonly<Record<string, string>>): string {
  return Object.keys(map)
    .toSorted()
    .map((key) => `${key}=${goQuoted(map[key] ?? '')}`)
    .join('\n');
}
