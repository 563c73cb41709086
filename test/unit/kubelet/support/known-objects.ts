import { Buffer } from 'node:buffer';

import type { ReferencedObjects } from '../../../../src/kubelet/ports/referenced-objects.ts';

type Texts = Readonly<Record<string, string>>;

/** What is there, by `namespace/name`; tests change it as they like. */
export interface Known {
  configMaps: Readonly<Record<string, Texts>>;
  secrets: Readonly<Record<string, Texts>>;
}

/** ConfigMaps and Secrets that are just there. */
export function knownObjects(known: Known): Pick<ReferencedObjects, 'configMap' | 'secret'> {
  return {
    configMap: async (namespace, name) => {
      const data = known.configMaps[`${namespace}/${name}`];
      return data && { data, binaryData: {}, immutable: false };
    },
    secret: async (namespace, name) => {
      const data = known.secrets[`${namespace}/${name}`];
      return data && { type: 'Opaque', data: bytes(data), immutable: false };
    },
  };
}

function bytes(data: Texts): Readonly<Record<string, Uint8Array>> {
  return Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text)]));
}
