import { compact } from '../compact.ts';
import type { Kind, ObjectMeta } from '../informer/kind.ts';
import type { FieldReader, Raw } from './field-reader.ts';
import { labelOf, slimNamed } from './object-meta.ts';
import { labelProblem } from './object-names.ts';
import type { EndpointSliceObject, SliceObjectEndpoint, SliceObjectPort } from './objects.ts';
import { proxyLabelSelector, selectedByLabels } from './selection.ts';
import { endpointSliceWire } from './wire-schemas.ts';

const triggerTime = 'endpoints.kubernetes.io/last-change-trigger-time';

/** EndpointSlices of Services that are ours; the selector hides copies of other proxies' labels. */
export const endpointSliceKind: Kind<EndpointSliceObject> = {
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  resource: 'endpointslices',
  wire: endpointSliceWire,
  labelSelector: proxyLabelSelector,
  selects: selectedByLabels,
  slim: (value) => slimNamed(value, true, readSlice),
};

function readSlice(value: Raw, meta: ObjectMeta, reader: FieldReader): EndpointSliceObject {
  const serviceName = labelOf(value, reader, 'kubernetes.io/service-name') ?? '';
  if (serviceName === '') {
    reader.report(
      'metadata.labels[kubernetes.io/service-name]',
      'expected the name of the Service, got none',
    );
  }
  return {
    meta,
    serviceName,
    addressType: addressTypeOf(value, reader),
    ports: reader.objects(value, 'ports', 'ports').map(([raw, path]) => portOf(raw, path, reader)),
    endpoints: reader
      .objects(value, 'endpoints', 'endpoints')
      .map(([raw, path]) => endpointOf(raw, path, reader)),
    triggerTimeMs: triggerTimeOf(value, reader),
  };
}

function addressTypeOf(value: Raw, reader: FieldReader): string {
  const known = ['IPv4', 'IPv6', 'FQDN'];
  if ((value['addressType'] ?? undefined) === undefined)
    reader.report('addressType', `expected ${known.join(', ')}, got none`);
  return reader.oneOf(value, 'addressType', 'addressType', known) ?? '';
}

/**
 * A port that serves nothing is reported. The API server gives a port without
 * a name the empty one, so a manifest may leave it out; null is no name.
 */
function portOf(raw: Raw, path: string, reader: FieldReader): SliceObjectPort {
  const given = raw['name'] === undefined ? '' : reader.text(raw, 'name', `${path}.name`);
  const badName = given === undefined || given === '' ? undefined : labelProblem(given);
  if (raw['name'] === null) reader.report(`${path}.name`, 'expected a name, got null');
  if (badName !== undefined) reader.report(`${path}.name`, badName);
  if ((raw['port'] ?? undefined) === undefined)
    reader.report(`${path}.port`, 'expected an integer 1..65535, got none');
  return {
    name: badName === undefined ? given : undefined,
    port: reader.int(raw, 'port', `${path}.port`, 1, 65_535),
    protocol: reader.oneOf(raw, 'protocol', `${path}.protocol`, ['TCP', 'UDP', 'SCTP']) ?? 'TCP',
  };
}

function endpointOf(raw: Raw, path: string, reader: FieldReader): SliceObjectEndpoint {
  const conditions = reader.object(raw, 'conditions', `${path}.conditions`);
  const hints = reader.object(raw, 'hints', `${path}.hints`);
  const flag = (name: string): boolean | undefined =>
    reader.flag(conditions, name, `${path}.conditions.${name}`);
  return {
    addresses: reader.texts(raw, 'addresses', `${path}.addresses`),
    ready: flag('ready'),
    serving: flag('serving'),
    terminating: flag('terminating'),
    nodeName: reader.text(raw, 'nodeName', `${path}.nodeName`),
    zoneHints: hintNames(hints, 'forZones', path, reader),
    nodeHints: hintNames(hints, 'forNodes', path, reader),
  };
}

function hintNames(hints: Raw, key: string, path: string, reader: FieldReader): readonly string[] {
  const names = reader
    .objects(hints, key, `${path}.hints.${key}`)
    .flatMap(([raw, at]) => reader.text(raw, 'name', `${at}.name`) ?? []);
  return compact(names);
}

function triggerTimeOf(value: Raw, reader: FieldReader): number | undefined {
  const meta = reader.object(value, 'metadata', 'metadata');
  const annotations = reader.object(meta, 'annotations', 'metadata.annotations');
  const text = reader.text(annotations, triggerTime, `metadata.annotations[${triggerTime}]`);
  const time = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(time) ? undefined : time;
}
