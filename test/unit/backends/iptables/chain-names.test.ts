import { describe, expect, test } from 'vitest';
import {
  affinitySet,
  dispatchChain,
  endpointChain,
  randomTreeChain,
  serviceChain,
} from '../../../../src/backends/iptables/chain-names.ts';
import type { Protocol, ServicePortName } from '../../../../src/services/service-port.ts';

const owner = (name: string, protocol: Protocol) => ({ name: name as ServicePortName, protocol });

describe("kube-proxy's names", () => {
  test.each([
    ['ns1/svc1:p80', 'TCP', 'XPGD46QRK7WJZT7O'],
    ['ns1/svc1:p80', 'UDP', 'OJWW7NSBVZTDHXNW'],
    ['ns1/svc1:p80', 'SCTP', 'GFCIFIA5VTFSTMSM'],
    ['ns1/svc1', 'TCP', 'AQI2S6QIMU7PVVRP'],
    ['default/kubernetes:https', 'TCP', 'NPX46M4PTMTKRN6Y'],
    ['kube-system/kube-dns:dns', 'UDP', 'TCOU7JCQXEZGVUNU'],
  ] as const)('the chains of %s over %s end in %s', (name, protocol, suffix) => {
    expect(serviceChain('SVC', owner(name, protocol))).toBe(`KUBE-SVC-${suffix}`);
    expect(serviceChain('SVL', owner(name, protocol))).toBe(`KUBE-SVL-${suffix}`);
    expect(serviceChain('EXT', owner(name, protocol))).toBe(`KUBE-EXT-${suffix}`);
    expect(serviceChain('FW', owner(name, protocol))).toBe(`KUBE-FW-${suffix}`);
  });

  test.each([
    ['ns1/svc1:p80', 'TCP', '10.180.0.1:80', 'SXIVWICOYRO3J4NJ'],
    ['ns1/svc1:p80', 'TCP', '[2001:db8::1]:80', 'PXJBZORW63OXSFDY'],
    ['ns1/svc1:p80', 'SCTP', '10.180.0.1:80', 'RFW33Y6OHVBQ4W3M'],
    ['kube-system/kube-dns:dns', 'UDP', '10.244.0.2:53', 'YIL6JZP7A3QYXJU2'],
  ] as const)('the chain of %s over %s to %s is KUBE-SEP-%s', (name, protocol, ep, suffix) => {
    expect(endpointChain(owner(name, protocol), ep)).toBe(`KUBE-SEP-${suffix}`);
  });
});

describe('our own names', () => {
  const web = owner('default/web:http', 'TCP');

  test('chains fit in 28 characters and sets in 31, the limits of the kernel', () => {
    const pool = serviceChain('SVC', web);
    expect(dispatchChain('nat', 'services', '0a600001').length).toBeLessThanOrEqual(28);
    expect(randomTreeChain(web, pool, '0123').length).toBeLessThanOrEqual(28);
    expect(affinitySet(web, '10.0.0.1:80', 10800).length).toBeLessThanOrEqual(31);
  });

  test('differ by table, tree and prefix', () => {
    const names = [
      dispatchChain('nat', 'services', '0a'),
      dispatchChain('filter', 'services', '0a'),
      dispatchChain('nat', 'nodePorts', '0a'),
      dispatchChain('nat', 'services', '0a6'),
    ];
    expect(new Set(names).size).toBe(4);
  });

  test('an affinity set of another time-out has another name', () => {
    expect(affinitySet(web, '10.0.0.1:80', 60)).not.toBe(affinitySet(web, '10.0.0.1:80', 61));
  });
});
