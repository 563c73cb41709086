import { compact } from '../compact.ts';
import { objectKey, within } from '../informer/kind.ts';
import type { Kind, ObjectMeta } from '../informer/kind.ts';
import { balancingOf } from './balancing-annotations.ts';
import { isRaw } from './field-reader.ts';
import type { FieldReader, Raw } from './field-reader.ts';
import { slimNamed } from './object-meta.ts';
import { labelProblem } from './object-names.ts';
import type { ServiceObject, ServiceObjectPort } from './objects.ts';
import { excludingLabel, proxyLabelSelector, selectedByLabels } from './selection.ts';
import type { ServiceName } from './service-port.ts';
import { serviceWire } from './wire-schemas.ts';

const types = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'];
const policies = ['Cluster', 'Local'];

/** A Service of whatever proxy. */
export interface AnyService extends ServiceObject {
  /** It is another proxy's; left out, as with most: it is ours. */
  readonly isOthers?: true;
}

/** Services but headless ones: what pods hear of, and all that any proxy serves. */
export const anyServiceKind: Kind<AnyService> = {
  apiVersion: 'v1',
  kind: 'Service',
  resource: 'services',
  wire: serviceWire,
  fieldSelector: 'spec.clusterIP!=None',
  selects: (raw) => !isHeadless(raw),
  slim: (value) =>
    slimNamed(value, true, (raw, meta, reader) => {
      const service = readService(raw, meta, reader);
      return selectedByLabels(raw) ? service : { ...service, isOthers: true };
    }),
};

/** Services, but headless ones and those of other proxies. */
export const serviceKind: Kind<ServiceObject> = {
  ...anyServiceKind,
  labelSelector: proxyLabelSelector,
  selects: (raw) => whyNotSelected(raw) === undefined,
  within: within(anyServiceKind, (service) => (service.isOthers === true ? undefined : service)),
  slim: (value) => slimNamed(value, true, readService),
};

/** The same for commands that answer questions: it keeps why it did not select a Service. */
export function recallingServiceKind(): {
  readonly kind: Kind<ServiceObject>;
  readonly unselected: ReadonlyMap<ServiceName, string>;
} {
  const unselected = new Map<ServiceName, string>();
  const selects = (raw: unknown): boolean => {
    const reason = whyNotSelected(raw);
    if (reason === undefined) return true;
    const { object } = serviceKind.slim(raw);
    if (object !== undefined) unselected.set(objectKey(object.meta) as ServiceName, reason);
    return false;
  };
  return { kind: { ...serviceKind, selects }, unselected };
}

/** Why a raw Service is none of this proxy's; undefined where it is. */
function whyNotSelected(raw: unknown): string | undefined {
  const label = excludingLabel(raw);
  if (label !== undefined) return `its label ${label} leaves it to others`;
  return isHeadless(raw) ? 'headless (clusterIP None)' : undefined;
}

function isHeadless(raw: unknown): boolean {
  return isRaw(raw) && isRaw(raw['spec']) && raw['spec']['clusterIP'] === 'None';
}

function readService(value: Raw, meta: ObjectMeta, reader: FieldReader): ServiceObject {
  const spec = reader.object(value, 'spec', 'spec');
  const affinity = reader.object(spec, 'sessionAffinityConfig', 'spec.sessionAffinityConfig');
  const clientIP = reader.object(affinity, 'clientIP', 'spec.sessionAffinityConfig.clientIP');
  const timeoutPath = 'spec.sessionAffinityConfig.clientIP.timeoutSeconds';
  const object: ServiceObject = {
    meta,
    type: reader.oneOf(spec, 'type', 'spec.type', types) ?? 'ClusterIP',
    clusterIP: reader.text(spec, 'clusterIP', 'spec.clusterIP') ?? '',
    clusterIPs: reader.texts(spec, 'clusterIPs', 'spec.clusterIPs'),
    ipFamilies: familiesOf(spec, reader),
    ports: portsOf(spec, reader),
    externalIPs: reader.texts(spec, 'externalIPs', 'spec.externalIPs'),
    loadBalancerSourceRanges: reader.texts(
      spec,
      'loadBalancerSourceRanges',
      'spec.loadBalancerSourceRanges',
    ),
    ingress: ingressOf(value, reader),
    sessionAffinity:
      reader.oneOf(spec, 'sessionAffinity', 'spec.sessionAffinity', ['None', 'ClientIP']) ?? 'None',
    affinityTimeoutSeconds: reader.int(clientIP, 'timeoutSeconds', timeoutPath, 1, 86_400),
    internalTrafficPolicy: policyOf(spec, 'internalTrafficPolicy', reader),
    externalTrafficPolicy: policyOf(spec, 'externalTrafficPolicy', reader),
    healthCheckNodePort:
      reader.int(spec, 'healthCheckNodePort', 'spec.healthCheckNodePort', 0, 65_535) ?? 0,
  };
  if (object.type !== 'ExternalName' && object.clusterIP === '') {
    // the API server would have given it one
    const beside = object.clusterIPs.length > 0 ? ', though spec.clusterIPs is set' : '';
    const reason = `expected an address, or None for a headless Service, got none${beside}`;
    reader.report('spec.clusterIP', reason);
  }
  const others = reader.problems.length;
  const balancing = balancingOf(value, reader);
  const misunderstood = reader.problems.slice(others);
  if (balancing === undefined) return object;
  return { ...object, balancing, ...(misunderstood.length > 0 && { misunderstood }) };
}

function policyOf(spec: Raw, key: string, reader: FieldReader): string | undefined {
  return reader.oneOf(spec, key, `spec.${key}`, policies);
}

function familiesOf(spec: Raw, reader: FieldReader): readonly string[] {
  const families = reader.texts(spec, 'ipFamilies', 'spec.ipFamilies');
  for (const [i, family] of families.entries()) {
    if (family !== 'IPv4' && family !== 'IPv6')
      reader.report(`spec.ipFamilies[${i}]`, `expected IPv4, IPv6, got ${JSON.stringify(family)}`);
  }
  return families;
}

function portsOf(spec: Raw, reader: FieldReader): readonly ServiceObjectPort[] {
  const ports = reader.objects(spec, 'ports', 'spec.ports').flatMap(([raw, path]) => {
    const port = reader.int(raw, 'port', `${path}.port`, 1, 65_535);
    const protocol = reader.text(raw, 'protocol', `${path}.protocol`) ?? 'TCP';
    if (port === undefined) {
      if (raw['port'] === undefined)
        reader.report(`${path}.port`, 'expected an integer 1..65535, got none');
      return [];
    }
    const name = reader.text(raw, 'name', `${path}.name`) ?? '';
    const badName = name === '' ? undefined : labelProblem(name);
    if (badName !== undefined) {
      reader.report(`${path}.name`, badName);
      return [];
    }
    const nodePort = reader.int(raw, 'nodePort', `${path}.nodePort`, 0, 65_535) ?? 0;
    return [{ name, protocol, port, nodePort }];
  });
  return compact(ports);
}

function ingressOf(value: Raw, reader: FieldReader): ServiceObject['ingress'] {
  const status = reader.object(value, 'status', 'status');
  const balancer = reader.object(status, 'loadBalancer', 'status.loadBalancer');
  const addresses = reader
    .objects(balancer, 'ingress', 'status.loadBalancer.ingress')
    .flatMap(([raw, path]) => {
      const ip = reader.text(raw, 'ip', `${path}.ip`) ?? '';
      const ipMode = reader.oneOf(raw, 'ipMode', `${path}.ipMode`, ['VIP', 'Proxy']);
      return ip === '' ? [] : [{ ip, ipMode }];
    });
  return compact(addresses);
}
