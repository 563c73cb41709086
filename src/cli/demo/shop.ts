import { access, cp, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { Document } from 'yaml';
import { SwitchyardError } from '../../error.ts';
import type { Attachment } from './topology.ts';

/** A pod of the shop: its name is its role, its server's name and the slices' targetRef. */
export interface ShopPod {
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** All pods that run; web-4 is in no slice until the demo scales web. */
export const shopPods: readonly ShopPod[] = [
  pod('web-1', 11),
  pod('web-2', 12),
  pod('web-3', 13),
  pod('web-4', 14),
  pod('api-1', 21),
  pod('checkout-1', 31),
];

/** Two customers share the namespace `client`; only the first may use the load balancer. */
export const customers = { welcome: '192.0.2.10', stranger: '192.0.2.66' } as const;

/** Addresses and ports of the manifests in examples/. */
export const shop = {
  nodeName: 'node-a',
  nodeAddress: '192.0.2.1',
  podPort: 8080,
  clusterCidrs: '10.244.0.0/16,fd00:10:244::/48',
  web: { to: '10.96.0.10', port: 80 },
  web6: { to: 'fd00:10:96::10', port: 80 },
  cart: { to: '10.96.0.40', port: 80 },
  search: { to: '10.96.0.50', port: 80 },
  api: { to: '192.0.2.1', port: 30080 },
  checkout: { to: '203.0.113.30', port: 443 },
} as const;

/** What stands around the node. */
export function shopAttachments(): readonly Attachment[] {
  return [
    {
      role: 'client',
      addresses: [`${customers.welcome}/32`, `${customers.stranger}/32`, '2001:db8::10/128'],
      node: [`${shop.nodeAddress}/32`, '2001:db8::1/128'],
    },
    ...shopPods.map(({ name, ipv4, ipv6 }) => ({
      role: name,
      addresses: [`${ipv4}/32`, `${ipv6}/128`],
      node: ['10.244.0.1/32', 'fd00:10:244::1/128'],
    })),
  ];
}

/** The folder `examples` above a source file or the bundle; undefined where there is none. */
export async function findExamples(start: string): Promise<string | undefined> {
  for (let folder = start; ; folder = dirname(folder)) {
    const candidate = join(folder, 'examples');
    if (await exists(join(candidate, 'web.yaml'))) return candidate;
    if (dirname(folder) === folder) return undefined;
  }
}

/** A private copy of the manifests, which the demo then edits as a controller would. */
export class ShopManifests {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async copy(from: string, to: string): Promise<ShopManifests> {
    await cp(from, to, { recursive: true });
    return new ShopManifests(to);
  }

  /** Makes exactly these pods the endpoints of a service, in one step for both families. */
  async scale(service: string, pods: readonly string[]): Promise<void> {
    const file = join(this.folder, `${service}.yaml`);
    const documents = parseAllDocuments(await readFile(file, 'utf8'));
    const members = pods.map(podNamed);
    for (const document of documents as Document[]) {
      if (document.get('kind') !== 'EndpointSlice') continue;
      const family = document.get('addressType') === 'IPv6' ? 'ipv6' : 'ipv4';
      document.set(
        'endpoints',
        members.map((member) => ({
          addresses: [member[family]],
          nodeName: shop.nodeName,
          conditions: { ready: true },
          targetRef: { kind: 'Pod', namespace: 'shop', name: member.name },
        })),
      );
    }
    const text = (documents as Document[])
      .map((document) =>
        document
          .toString()
          .replace(/^---\n/, '')
          .replace(/\n\.\.\.\n$/, '\n'),
      )
      .join('---\n');
    // A reader sees the old file or the new one, never half of it.
    const temporary = `${this.folder}.${service}`;
    await writeFile(temporary, text);
    await rename(temporary, file);
  }
}

function pod(name: string, host: number): ShopPod {
  return { name, ipv4: `10.244.0.${host}`, ipv6: `fd00:10:244::${host}` };
}

function podNamed(name: string): ShopPod {
  const found = shopPods.find((each) => each.name === name);
  if (found === undefined) throw new SwitchyardError('internal', `no pod ${name} in the shop`);
  return found;
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
