import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keptPlacesText, parseKeptPlaces } from '../../../../src/backends/userspace/state-file.ts';
import type { ListenerKey } from '../../../../src/relay/relay.ts';
import type { ServiceName } from '../../../../src/services/service-port.ts';
import { address } from '../../../support/service-ports.ts';

// What one run leaves to the next: read as it was written, or not at all.

const ports = new Map([
  ['default/web:http/TCP local ipv4' as ListenerKey, 20_002],
  ['default/web:http/TCP cluster ipv4' as ListenerKey, 20_001],
]);
const addresses = new Map([['default/web' as ServiceName, address('127.83.7.1')]]);
const text = keptPlacesText({ ports, addresses });

describe('the state file', () => {
  it('comes back as it was written, in an order', () => {
    expect(parseKeptPlaces(text)).toEqual({ kept: { ports, addresses } });
    expect(text.indexOf('cluster')).toBeLessThan(text.indexOf('local'));
  });

  it.each([
    ['', 'it is no JSON'],
    [text.slice(0, -4), 'it is no JSON'],
    ['[]', 'expected an object'],
    ['{"ports":{},"addresses":{}}', 'expected version 1'],
    ['{"version":2,"ports":{},"addresses":{}}', 'expected version 1'],
    ['{"version":1,"ports":{}}', 'expected the objects ports and addresses'],
    ['{"version":1,"ports":[],"addresses":{}}', 'expected the objects ports and addresses'],
    ['{"version":1,"ports":{"a":0},"addresses":{}}', 'ports: ["a",0] is no port'],
    ['{"version":1,"ports":{"a":1.5},"addresses":{}}', 'ports: ["a",1.5] is no port'],
    ['{"version":1,"ports":{"a":"80"},"addresses":{}}', 'ports: ["a","80"] is no port'],
    [
      '{"version":1,"ports":{},"addresses":{"a":"127.0.0.01"}}',
      'addresses: ["a","127.0.0.01"] is no address',
    ],
    ['{"version":1,"ports":{},"addresses":{},"more":1}', 'unknown field "more"'],
  ])('%j: %s', (spoilt, problem) => {
    expect(parseKeptPlaces(spoilt)).toEqual({ problem });
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (any) => {
        expect(Object.keys(parseKeptPlaces(any))).toEqual(['problem']);
      }),
    );
  });
});
