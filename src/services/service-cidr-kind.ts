import type { Kind } from '../informer/kind.ts';
import { slimNamed } from './object-meta.ts';
import type { ServiceCidrObject } from './objects.ts';
import { proxyLabelSelector, selectedByLabels } from './selection.ts';
import { serviceCidrWire } from './wire-schemas.ts';

/** The prefixes cluster IPs come from (KEP-1880). */
export const serviceCidrKind: Kind<ServiceCidrObject> = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'ServiceCIDR',
  resource: 'servicecidrs',
  wire: serviceCidrWire,
  labelSelector: proxyLabelSelector,
  selects: selectedByLabels,
  slim: (value) =>
    slimNamed(value, false, (raw, meta, reader) => {
      const spec = reader.object(raw, 'spec', 'spec');
      return { meta, cidrs: reader.cidrs(spec, 'cidrs', 'spec.cidrs') };
    }),
};
