import { expect, test } from 'vitest';

import { serviceKind } from '../../../src/services/service-kind.ts';

const headless = 'service.kubernetes.io/headless';
const otherProxy = 'service.kubernetes.io/service-proxy-name';

function service(labels: unknown, spec: object = { clusterIP: '10.0.0.1' }) {
  return { metadata: { namespace: 'default', name: 'web', labels }, spec };
}

test.each([
  ['no labels', undefined, true],
  ['other labels', { app: 'web' }, true],
  ['an empty value', { [headless]: '' }, false],
  ['no value at all', { [headless]: null }, false],
  ['a value that is no text', { [otherProxy]: true }, false],
])('a Service with %s is selected by the presence of the keys', (_name, labels, selected) => {
  expect(serviceKind.selects?.(service(labels))).toBe(selected);
});

test.each([
  ['a Service without an address', {}, ['spec.clusterIP']],
  ['one with an address', { clusterIP: '10.0.0.1' }, []],
  ['one with a list of addresses alone', { clusterIPs: ['10.0.0.1'] }, ['spec.clusterIP']],
  ['an ExternalName', { type: 'ExternalName' }, []],
])('%s %o is reported where the address is missing', (_name, spec, fields) => {
  const { object, problems } = serviceKind.slim(service(undefined, spec));
  expect(object).toBeDefined();
  expect(problems.map(({ field }) => field)).toEqual(fields);
});
