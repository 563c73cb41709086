/** The variables that services give to containers. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  linkedServiceKind,
  serviceVariables,
} from '../../../../src/kubelet/environment/service-variables.ts';
import type { LinkedService } from '../../../../src/kubelet/environment/service-variables.ts';

type Port = LinkedService['ports'][number];

function port(number: number, name = '', protocol = 'TCP'): Port {
  return { name, protocol, port: number, nodePort: 30_000 };
}

function service(
  namespace: string,
  name: string,
  clusterIP: string,
  ...ports: Port[]
): LinkedService {
  return { meta: { namespace, name, uid: '', createdAtMs: 0 }, clusterIP, ports };
}

const kubernetes = service('default', 'kubernetes', '10.96.0.1', port(443, 'https'));

function lines(services: readonly LinkedService[], namespace = 'shop', links = true): string[] {
  return serviceVariables(services, namespace, links).map(({ name, value }) => `${name}=${value}`);
}

function hosts(found: readonly string[]): readonly string[] {
  return found.filter((line) => line.includes('SERVICE_HOST'));
}

function isOpen({ clusterIP }: LinkedService): boolean {
  return !['', 'None'].includes(clusterIP);
}

describe('variables of services', () => {
  it('are all that a link of Docker had', () => {
    const db = service('shop', 'my-db', '10.96.3.4', port(5432, 'pg-wire'), port(53, '', 'UDP'));
    expect(lines([db])).toEqual([
      'MY_DB_SERVICE_HOST=10.96.3.4',
      'MY_DB_SERVICE_PORT=5432',
      'MY_DB_SERVICE_PORT_PG_WIRE=5432',
      'MY_DB_PORT=tcp://10.96.3.4:5432',
      'MY_DB_PORT_5432_TCP=tcp://10.96.3.4:5432',
      'MY_DB_PORT_5432_TCP_PROTO=tcp',
      'MY_DB_PORT_5432_TCP_PORT=5432',
      'MY_DB_PORT_5432_TCP_ADDR=10.96.3.4',
      'MY_DB_PORT_53_UDP=udp://10.96.3.4:53',
      'MY_DB_PORT_53_UDP_PROTO=udp',
      'MY_DB_PORT_53_UDP_PORT=53',
      'MY_DB_PORT_53_UDP_ADDR=10.96.3.4',
    ]);
  });

  it('have IPv6 addresses in brackets before a port, and only there', () => {
    const six = lines([service('shop', 'six', 'fd00::1', port(80))]);
    expect(six).toContain('SIX_SERVICE_HOST=fd00::1');
    expect(six).toContain('SIX_PORT=tcp://[fd00::1]:80');
    expect(six).toContain('SIX_PORT_80_TCP_ADDR=fd00::1');
  });

  it('are not made for headless and external services, nor for those of other namespaces', () => {
    const others = [
      service('shop', 'headless', 'None', port(80)),
      service('shop', 'external', '', port(80)),
      service('bank', 'other', '10.96.9.9', port(80)),
    ];
    expect(lines(others)).toEqual([]);
  });

  it('are those of default/kubernetes alone where links are off', () => {
    const web = service('shop', 'web', '10.96.3.5', port(80));
    const own = service('shop', 'kubernetes', '10.96.7.7', port(8443));
    expect(hosts(lines([web, own, kubernetes], 'shop', false))).toEqual([
      'KUBERNETES_SERVICE_HOST=10.96.0.1',
    ]);
    expect(hosts(lines([kubernetes, own, web]))).toEqual([
      'KUBERNETES_SERVICE_HOST=10.96.7.7',
      'WEB_SERVICE_HOST=10.96.3.5',
    ]);
  });

  it('are the same whatever order services come in, one of each name for distinct services', () => {
    const name = fc.stringMatching(/^[a-z](?:[a-z0-9-]{0,6}[a-z0-9])?$/);
    const anyService = fc
      .record({
        namespace: fc.constantFrom('default', 'shop', 'bank'),
        name: fc.oneof(name, fc.constant('kubernetes')),
        clusterIP: fc.constantFrom('10.96.0.7', 'fd00::7', 'None', ''),
        ports: fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { minLength: 1, maxLength: 3 }),
      })
      .map((made) =>
        service(
          made.namespace,
          made.name,
          made.clusterIP,
          ...made.ports.map((number) => port(number, `p${number}`)),
        ),
      );
    const services = fc.uniqueArray(anyService, {
      selector: ({ meta }) => `${meta.namespace}/${meta.name}`,
      maxLength: 8,
    });
    fc.assert(
      fc.property(services, fc.boolean(), fc.infiniteStream(fc.nat()), (all, links, order) => {
        const shuffled = all
          .map((each) => [order.next().value ?? 0, each] as const)
          .toSorted(([a], [b]) => a - b)
          .map(([, each]) => each);
        const found = serviceVariables(all, 'shop', links);
        expect(serviceVariables(shuffled, 'shop', links)).toEqual(found);
        const own = all.filter((each) => each.meta.namespace === 'shop' && isOpen(each));
        const masters = all.filter(
          ({ meta }) => meta.namespace === 'default' && meta.name === 'kubernetes',
        );
        const seen = links ? [...own] : [];
        if (!seen.some(({ meta }) => meta.name === 'kubernetes')) {
          seen.push(...masters.filter(isOpen));
        }
        // host, port and url of each; one named port and four of a link for each of its ports
        const expected = seen.reduce((sum, { ports }) => sum + 3 + 5 * ports.length, 0);
        expect(found).toHaveLength(expected);
      }),
    );
  });

  it('are made of services that another proxy serves, too', () => {
    const raw = {
      metadata: {
        name: 'web',
        namespace: 'shop',
        labels: { 'service.kubernetes.io/service-proxy-name': 'other' },
      },
      spec: { clusterIP: '10.96.3.5', ports: [{ port: 80 }] },
    };
    expect(linkedServiceKind.labelSelector).toBeUndefined();
    const { object } = linkedServiceKind.slim(raw);
    expect(Object.keys(object ?? {})).toEqual(['meta', 'clusterIP', 'ports']);
  });
});
