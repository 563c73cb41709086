import { describe, expect, it } from 'vitest';
import { ingress, rawEndpoint, rawService, rawSlice, Scene } from '../../support/scene.ts';

const here = rawEndpoint('here', '10.244.1.5');
const lb = {
  type: 'LoadBalancer',
  externalTrafficPolicy: 'Local',
  healthCheckNodePort: 32_000,
};

describe('a field that cannot be used is reported, and the rest of the Service is', () => {
  it.each<readonly [string, unknown, string]>([
    [
      'an unknown type',
      rawService({ type: 'Nodeport' }),
      'spec.type: expected ClusterIP, NodePort, LoadBalancer, ExternalName, got "Nodeport"',
    ],
    [
      'an unknown affinity',
      rawService({ sessionAffinity: 'clientIP' }),
      'spec.sessionAffinity: expected None, ClientIP, got "clientIP"',
    ],
    [
      'an unknown external policy',
      rawService({ externalTrafficPolicy: 'local' }),
      'spec.externalTrafficPolicy: expected Cluster, Local, got "local"',
    ],
    [
      'an unknown internal policy',
      rawService({ internalTrafficPolicy: 'LOCAL' }),
      'spec.internalTrafficPolicy: expected Cluster, Local, got "LOCAL"',
    ],
    [
      'an unknown family',
      rawService({ ipFamilies: ['IPv4', 'ipv6'] }),
      'spec.ipFamilies[1]: expected IPv4, IPv6, got "ipv6"',
    ],
    [
      'an unknown mode of a balancer address',
      rawService(lb, ingress({ ip: '203.0.113.9', ipMode: 'vip' })),
      'status.loadBalancer.ingress[0].ipMode: expected VIP, Proxy, got "vip"',
    ],
    [
      'an external IP that is none',
      rawService({ externalIPs: ['203.0.113.9', ' ', 'x'] }),
      'Service ns1/web: externalIPs: "x" is not an IP address',
    ],
    [
      'a source range that is none',
      rawService({ loadBalancerSourceRanges: ['10.0.0.0/33'] }),
      'Service ns1/web: loadBalancerSourceRanges: "10.0.0.0/33" is not a CIDR',
    ],
    [
      'a missing health check port',
      rawService({ ...lb, healthCheckNodePort: 0 }),
      'Service ns1/web: healthCheckNodePort: expected a port with externalTrafficPolicy Local, got none; balancers cannot ask for local endpoints',
    ],
    [
      'two ports of one name and protocol',
      rawService({
        ports: [
          { name: 'http', port: 81 },
          { name: 'http', port: 80 },
        ],
      }),
      'Service ns1/web: port 81: a later port has the same name "http" and protocol TCP, and is used instead',
    ],
  ])('%s', (_, service, problem) => {
    const scene = new Scene([service], [rawSlice([here])]);
    expect(scene.problems).toEqual([problem]);
    expect(scene.sent('10.244.1.9', '10.96.0.41', 80)).toBe('10.244.1.5:8080 1');
  });

  it('an unknown mode of a balancer address captures nothing', () => {
    const service = rawService(lb, ingress({ ip: '203.0.113.9', ipMode: 'vip' }));
    expect(new Scene([service], [rawSlice([here])]).sent('8.8.8.8', '203.0.113.9', 80)).toBe(
      'pass',
    );
  });
});

describe('a Service that cannot be served is skipped with the reason', () => {
  it.each<readonly [string, unknown, string, boolean]>([
    [
      'with a cluster IP that is none',
      rawService({ clusterIP: '10.96.0' }),
      'clusterIP "10.96.0" is not an IP address',
      true,
    ],
    [
      'with families and addresses in different orders',
      rawService({ ipFamilies: ['IPv6', 'IPv4'], clusterIPs: ['10.96.0.41', 'fd00::1'] }),
      'clusterIP fd00::1 is not IPv4, which spec.ipFamilies has in its place',
      true,
    ],
    [
      'with a cluster IP of another family than it says',
      rawService({ clusterIP: 'fd00::1', ipFamilies: ['IPv4'] }),
      'clusterIP fd00::1 is not IPv4, which spec.ipFamilies has in its place',
      true,
    ],
    [
      'of the other family',
      rawService({ clusterIP: 'fd00::1', ipFamilies: ['IPv6'], clusterIPs: ['fd00::1'] }),
      'no IPv4 cluster IP',
      false,
    ],
    [
      'of type ExternalName',
      rawService({ type: 'ExternalName' }),
      'type ExternalName has no cluster IP to serve',
      false,
    ],
  ])('%s', (_, service, reason, isFault) => {
    const scene = new Scene([service], [rawSlice([here])]);
    expect(scene.ports).toEqual([]);
    expect([...scene.changes.skipped]).toEqual([['ns1/web', reason]]);
    expect(scene.problems).toEqual(isFault ? [`Service ns1/web: ${reason}`] : []);
  });

  it.each([
    [[], ''],
    [['10.96.0.41'], ', though spec.clusterIPs is set'],
  ])('without a cluster IP, with clusterIPs %j', (clusterIPs, beside) => {
    const scene = new Scene([rawService({ clusterIP: undefined, clusterIPs })]);
    expect([...scene.changes.skipped]).toEqual([['ns1/web', 'no cluster IP']]);
    expect(scene.problems).toEqual([
      `spec.clusterIP: expected an address, or None for a headless Service, got none${beside}`,
    ]);
  });

  it('and no more when it can be served', () => {
    expect(new Scene([rawService()]).changes.skipped.size).toBe(0);
  });

  it('a cluster IP stands for the first of clusterIPs where there are none', () => {
    const service = rawService({ ipFamilies: ['IPv4', 'IPv6'], clusterIP: '10.96.0.41' });
    const scene = new Scene([service], [rawSlice([here])]);
    expect(scene.sent('10.244.1.9', '10.96.0.41', 80)).toBe('10.244.1.5:8080 1');
    expect(scene.problems).toEqual([]);
  });
});

describe('what an EndpointSlice cannot be used for is reported', () => {
  it.each<readonly [string, unknown, string]>([
    [
      'a port without a number',
      rawSlice([here], { ports: [{ name: 'http' }] }),
      'ports[0].port: expected an integer 1..65535, got none',
    ],
    [
      'a port whose name is null',
      rawSlice([here], { ports: [{ name: null, port: 80 }] }),
      'ports[0].name: expected a name, got null',
    ],
    [
      'an unknown protocol',
      rawSlice([here], { ports: [{ name: 'http', port: 80, protocol: 'tcp' }] }),
      'ports[0].protocol: expected TCP, UDP, SCTP, got "tcp"',
    ],
    [
      'an unknown address type',
      rawSlice([here], { addressType: 'IPv5' }),
      'addressType: expected IPv4, IPv6, FQDN, got "IPv5"',
    ],
    [
      'no address type',
      rawSlice([here], { addressType: undefined }),
      'addressType: expected IPv4, IPv6, FQDN, got none',
    ],
    [
      'no Service',
      rawSlice([here], { metadata: { name: 'web-1', namespace: 'ns1' } }),
      'metadata.labels[kubernetes.io/service-name]: expected the name of the Service, got none',
    ],
    [
      'an address that is none',
      rawSlice([{ addresses: ['10.244.1'] }]),
      'EndpointSlice ns1/web-1: endpoints[0].addresses[0]: "10.244.1" is not an IP address',
    ],
  ])('%s', (_, slice, problem) => {
    const scene = new Scene([rawService()], [slice]);
    expect(scene.problems).toEqual([problem]);
    expect(scene.sent('10.244.1.9', '10.96.0.41', 80)).toBe('reject');
  });

  it('but not a slice of host names, which is somebody else’s', () => {
    const slice = rawSlice([{ addresses: ['a.example'] }], { addressType: 'FQDN' });
    expect(new Scene([rawService()], [slice]).problems).toEqual([]);
  });

  it('a port without a name serves the Service port without one', () => {
    const slice = rawSlice([here], { ports: [{ port: 8080 }] });
    const scene = new Scene([rawService({ ports: [{ port: 80 }] })], [slice]);
    expect(scene.sent('10.244.1.9', '10.96.0.41', 80)).toBe('10.244.1.5:8080 1');
  });
});

describe('a name that the API server would refuse never gets into rules', () => {
  const evil = 'x" -j REJECT\n-A INPUT -p tcp -m comment --comment "y';

  it.each(['', evil, 'Web', 'web_1', '-web', 'web-', 'a..b', 'a'.repeat(254), 'w\u0000'])(
    'as the name of a Service: %j',
    (name) => {
      const scene = new Scene([rawService({}, { metadata: { name } })]);
      expect(scene.ports).toEqual([]);
      expect(scene.problems).toEqual([expect.stringMatching(/^metadata\.name: expected /)]);
    },
  );

  it.each([evil, 'Kube', 'a.b', 'a'.repeat(64)])('as a namespace: %j', (namespace) => {
    const scene = new Scene([rawService({}, { metadata: { namespace } })]);
    expect(scene.ports).toEqual([]);
    expect(scene.problems).toEqual([expect.stringMatching(/^metadata\.namespace: expected /)]);
  });

  it.each([evil, 'HTTP', 'a.b', 'a'.repeat(64)])(
    'as the name of a port, which alone is left out: %j',
    (name) => {
      const ports = [
        { name: 'http', port: 80 },
        { name, port: 81 },
      ];
      const scene = new Scene([rawService({ ports })], [rawSlice([here], { ports })]);
      expect(scene.ports.map(({ port }) => port)).toEqual([80]);
      expect(scene.problems).toEqual([
        expect.stringMatching(/^spec\.ports\[1\]\.name: expected /),
        expect.stringMatching(/^ports\[1\]\.name: expected /),
      ]);
    },
  );

  it.each(['web', 'web.v2', '0', 'a'.repeat(253)])('but a good one does: %s', (name) => {
    expect(new Scene([rawService({}, { metadata: { name } })]).ports).toHaveLength(1);
  });

  it('quotes what it complains of', () => {
    const { problems } = new Scene([rawService({}, { metadata: { name: 'w\u001B[31m' } })]);
    expect(problems[0]).toContain(String.raw`got "w\u001b[31m"`);
  });
});
