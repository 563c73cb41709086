import type { Kind, Slimmed } from '../informer/kind.ts';
import { FieldReader, isRaw } from './field-reader.ts';
import type { Raw } from './field-reader.ts';
import { labelOf, metaOf } from './object-meta.ts';
import type { EndpointSliceObject, SliceObjectEndpoint } from './objects.ts';
import { proxyLabelSelector, selectedByLabels } from './selection.ts';

const triggerTime = 'endpoints.kubernetes.io/last-change-trigger-time';

/** EndpointSlices of Services that are ours; the selector hides copies of other proxies' labels. */
export const endpointSliceKind: Kind<EndpointSliceObject> = {
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  resource: 'endpointslices',
  labelSelector: proxyLabelSelector,
  selects: selectedByLabels,
  slim: slimSlice,
};

function slimSlice(value: unknown): Slimmed<EndpointSliceObject> {
  const reader = new FieldReader();
  const { problems } = reader;
  if (!isRaw(value))
    return { object: undefined, problems: [{ field: '', reason: 'expected an object' }] };
  const meta = metaOf(value, reader, true);
  if (meta === undefined) return { object: undefined, problems };
  const serviceName = labelOf(value, reader, 'kubernetes.io/service-name') ?? '';
  if (serviceName === '') {
    reader.report(
      'metadata.labels[kubernetes.io/service-name]',
      'expected the name of the Service, got none',
    );
  }
  const object: EndpointSliceObject = {
    meta,
    serviceName,
    addressType: reader.text(value, 'addressType', 'addressType') ?? '',
    ports: reader.objects(value, 'ports', 'ports').map(([raw, path]) => ({
      name:
        reader.text(raw, 'name', `${path}.name`) ?? (raw['name'] === undefined ? '' : undefined),
      port: reader.int(raw, 'port', `${path}.port`, 1, 65_535),
      protocol: reader.text(raw, 'protocol', `${path}.protocol`) ?? 'TCP',
    })),
    endpoints: reader
      .objects(value, 'endpoints', 'endpoints')
      .map(([raw, path]) => endpointOf(raw, path, reader)),
    triggerTimeMs: triggerTimeOf(value, reader),
  };
  return { object, problems };
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
  return reader
    .objects(hints, key, `${path}.hints.${key}`)
    .flatMap(([raw, at]) => reader.text(raw, 'name', `${at}.name`) ?? []);
}

function triggerTimeOf(value: Raw, reader: FieldReader): number | undefined {
  const meta = reader.object(value, 'metadata', 'metadata');
  const annotations = reader.object(meta, 'annotations', 'metadata.annotations');
  const text = reader.text(annotations, triggerTime, `metadata.annotations[${triggerTime}]`);
  const time = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(time) ? undefined : time;
}
