import type { Kind } from '../informer/kind.ts';
import { FieldReader, isRaw } from './field-reader.ts';
import { metaOf } from './object-meta.ts';
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
  slim: (value) => {
    const reader = new FieldReader();
    if (!isRaw(value)) {
      return { object: undefined, problems: [{ field: '', reason: 'expected an object' }] };
    }
    const meta = metaOf(value, reader, false);
    const spec = reader.object(value, 'spec', 'spec');
    const cidrs = reader.cidrs(spec, 'cidrs', 'spec.cidrs');
    return { object: meta && { meta, cidrs }, problems: reader.problems };
  },
};
