import { describe, expect, test } from 'vitest';
import type { IpvsState } from '../../../../src/backends/ipvs/state.ts';
import type { PodDetector } from '../../../../src/graph/node-context.ts';
import type { ServiceName, ServicePort } from '../../../../src/services/service-port.ts';
import { filledSets, ipvsState, membersIn, serverLines } from '../../../support/ipvs-states.ts';
import { address, cidr, endpoint, servicePort } from '../../../support/service-ports.ts';

// What the state says of a service, written down by hand.

const remote = endpoint('10.244.2.1:8080');
const local = endpoint('10.244.1.7:8080', { local: true });

const two = { localAddresses: ['127.0.0.1', '192.168.0.2', '192.168.0.3'].map(address) };
const onNodePort = servicePort({ nodePort: 30_080, endpoints: [remote] });

function answeringAt(...list: readonly string[]): IpvsState {
  const nodePortAddresses = { kind: 'list', addresses: list.map(address) } as const;
  return ipvsState([onNodePort], { ...two, nodePortAddresses });
}

/** The service that has 192.168.0.3. */
function ownerOf({ servers }: IpvsState): string | undefined {
  return [...servers.values()].find(({ address: at }) => at === '192.168.0.3')?.origin.service;
}

function checked(externalPolicy: 'Local' | 'Cluster'): ServicePort {
  return servicePort({
    loadBalancerIPs: ['198.51.100.20'],
    healthCheckNodePort: externalPolicy === 'Local' ? 31_000 : 0,
    externalPolicy,
    endpoints: [remote],
  });
}

function natRules(podDetector: PodDetector): string {
  const { nat } = ipvsState([], { podDetector }).rules.tables;
  return [...nat.values()].flatMap(({ rules }) => rules.map(({ args }) => args)).join('\n');
}

describe('cluster IPs', () => {
  test('a virtual server, its address bound, and the source hidden but for pods of the node', () => {
    const state = ipvsState([servicePort({ endpoints: [remote, local] })]);
    expect(serverLines(state)).toEqual([
      '-t 10.96.0.10:80 -s rr',
      '  -r 10.244.1.7:8080 -m -w 1',
      '  -r 10.244.2.1:8080 -m -w 1',
    ]);
    expect([...state.addresses.keys()]).toEqual(['10.96.0.10']);
    expect(filledSets(state)).toEqual({
      SERVED: ['10.96.0.10,tcp:80'],
      'MASQ-OTHERS': ['10.96.0.10,tcp:80'],
      BOUND: ['10.96.0.10'],
    });
  });

  test('masqueradeAll hides pods too; without a detector no set hides anybody', () => {
    const port = servicePort({ endpoints: [remote] });
    const all = ipvsState([port], { masqueradeAll: true });
    expect(membersIn(all, 'MASQ-ALL')).toEqual(['10.96.0.10,tcp:80']);
    expect(membersIn(all, 'MASQ-OTHERS')).toEqual([]);
    const none = ipvsState([port], { podDetector: { kind: 'none' } });
    expect(filledSets(none)).toEqual({ SERVED: ['10.96.0.10,tcp:80'], BOUND: ['10.96.0.10'] });
  });

  test('without endpoints refused: bound, but no virtual server', () => {
    const state = ipvsState([servicePort()]);
    expect(serverLines(state)).toEqual([]);
    expect(filledSets(state)).toEqual({ REJECTED: ['10.96.0.10,tcp:80'], BOUND: ['10.96.0.10'] });
  });

  test('internal policy Local without a local endpoint: dropped, as in the other modes', () => {
    const state = ipvsState([servicePort({ endpoints: [remote], internalPolicy: 'Local' })]);
    expect(serverLines(state)).toEqual([]);
    expect(filledSets(state)).toEqual({ 'DROP-ALL': ['10.96.0.10,tcp:80'], BOUND: ['10.96.0.10'] });
  });
});

describe('node ports', () => {
  test('a virtual server on each address of the node, none on loopback', () => {
    const state = ipvsState([onNodePort], two);
    expect([...state.servers.keys()].toSorted()).toEqual([
      'TCP/10.96.0.10:80',
      'TCP/192.168.0.2:30080',
      'TCP/192.168.0.3:30080',
    ]);
    expect(membersIn(state, 'MASQ-ALL')).toEqual([
      '192.168.0.2,tcp:30080',
      '192.168.0.3,tcp:30080',
    ]);
    expect([...state.addresses.keys()]).toEqual(['10.96.0.10']);
  });

  test('SCTP likewise', () => {
    const sctp = servicePort({ nodePort: 30_080, protocol: 'SCTP', endpoints: [remote] });
    const state = ipvsState([sctp], two);
    expect(serverLines(state)).toContain('--sctp-service 192.168.0.3:30080 -s rr');
    expect(membersIn(state, 'MASQ-ALL')).toEqual([
      '192.168.0.2,sctp:30080',
      '192.168.0.3,sctp:30080',
    ]);
  });

  test('answer where nodePortAddresses says, and nowhere where that is loopback alone', () => {
    expect([...answeringAt('192.168.0.3', '127.0.0.1').servers.keys()].toSorted()).toEqual([
      'TCP/10.96.0.10:80',
      'TCP/192.168.0.3:30080',
    ]);
    expect([...answeringAt('127.0.0.1').servers.keys()]).toEqual(['TCP/10.96.0.10:80']);
  });

  test('do not answer on link-local addresses of IPv6', () => {
    const v6 = servicePort({
      clusterIP: 'fd96::10',
      nodePort: 30_080,
      endpoints: [endpoint('[fd01::1]:8080')],
    });
    const localAddresses = ['::1', 'fd00::2', 'fe80::1'].map(address);
    const state = ipvsState([v6], {
      family: 'ipv6',
      localAddresses,
      nodeAddress: address('fd00::2'),
      podDetector: { kind: 'none' },
    });
    expect(serverLines(state)).toEqual([
      '-t [fd00::2]:30080 -s rr',
      '  -r [fd01::1]:8080 -m -w 1',
      '-t [fd96::10]:80 -s rr',
      '  -r [fd01::1]:8080 -m -w 1',
    ]);
    expect(membersIn(state, 'SERVED')).toEqual(['fd00::2,tcp:30080', 'fd96::10,tcp:80']);
  });

  test('external policy Local: local endpoints, and no source is hidden', () => {
    const state = ipvsState([
      servicePort({ nodePort: 30_080, externalPolicy: 'Local', endpoints: [remote, local] }),
    ]);
    expect(serverLines(state)).toContain('-t 192.168.0.2:30080 -s rr');
    expect(serverLines(state).filter((line) => line.includes('10.244.2.1'))).toHaveLength(1);
    expect(membersIn(state, 'MASQ-ALL')).toEqual([]);
    expect(membersIn(state, 'MASQ-OTHERS')).toEqual(['10.96.0.10,tcp:80']);
  });

  test('external policy Local without a local endpoint: pods and the node get any, others are dropped', () => {
    const state = ipvsState([
      servicePort({ nodePort: 30_080, externalPolicy: 'Local', endpoints: [remote] }),
    ]);
    expect(serverLines(state)).toContain('-t 192.168.0.2:30080 -s rr');
    expect(membersIn(state, 'DROP-OTHERS')).toContain('192.168.0.2,tcp:30080');
    expect(membersIn(state, 'SERVED')).toContain('192.168.0.2,tcp:30080');
  });

  test('at an address that another service has at this port give way to it, unless it only refuses', () => {
    const listed = (endpoints: readonly (typeof remote)[]) =>
      servicePort({
        service: 'default/other' as ServiceName,
        clusterIP: '10.96.0.11',
        port: 30_080,
        // an address that the node got later: nobody decided between the two when they were compiled
        externalIPs: ['192.168.0.3'],
        endpoints,
      });
    expect(ownerOf(ipvsState([onNodePort, listed([remote])], two))).toBe('default/other');
    expect(ownerOf(ipvsState([onNodePort, listed([])], two))).toBe('default/web');
    expect(membersIn(ipvsState([onNodePort, listed([])], two), 'REJECTED')).toEqual([
      '10.96.0.11,tcp:30080',
    ]);
  });
});

describe('external and load balancer IPs', () => {
  const balanced = servicePort({
    loadBalancerIPs: ['198.51.100.20'],
    sourceRanges: ['203.0.113.0/24', '198.18.0.7/32'],
    endpoints: [remote],
  });

  test('source ranges guard the address, whoever they let in', () => {
    const state = ipvsState([balanced]);
    expect(membersIn(state, 'GUARDED')).toEqual(['198.51.100.20,tcp:80']);
    expect(membersIn(state, 'ALLOWED')).toEqual([
      '198.51.100.20,tcp:80,198.18.0.7',
      '198.51.100.20,tcp:80,203.0.113.0/24',
    ]);
    expect(membersIn(state, 'MASQ-ALL')).toEqual(['198.51.100.20,tcp:80']);
  });

  test('the node may use the address where a range contains it, and not otherwise', () => {
    expect(membersIn(ipvsState([balanced]), 'ALLOWED-OWN')).toEqual([]);
    const holds = servicePort({ ...balanced, sourceRanges: ['192.168.0.0/24'] });
    expect(membersIn(ipvsState([holds]), 'ALLOWED-OWN')).toEqual([
      '198.51.100.20,tcp:80,198.51.100.20',
    ]);
  });

  test('a range of everything guards nothing: sets take no prefix without length', () => {
    const open = servicePort({ ...balanced, sourceRanges: ['203.0.113.0/24', '0.0.0.0/0'] });
    const state = ipvsState([open]);
    expect(membersIn(state, 'GUARDED')).toEqual([]);
    expect(membersIn(state, 'ALLOWED')).toEqual([]);
  });

  test("115: an address of the node's own is served, not bound", () => {
    const state = ipvsState([servicePort({ externalIPs: ['192.168.0.2'], endpoints: [remote] })]);
    expect(serverLines(state)).toContain('-t 192.168.0.2:80 -s rr');
    expect([...state.addresses.keys()]).toEqual(['10.96.0.10']);
    expect(membersIn(state, 'BOUND')).toEqual(['10.96.0.10']);
    expect(state.refused).toEqual([]);
  });

  test('an address of another Node is neither served nor bound, and said to be refused', () => {
    const reason = 'it is an address of Node node-2';
    const reserved = (at: string) => (at === '192.168.0.3' ? reason : undefined);
    const port = servicePort({
      externalIPs: ['192.168.0.3', '203.0.113.9'],
      endpoints: [remote],
    });
    const state = ipvsState([port], {}, { reserved });
    expect([...state.addresses.keys()].toSorted()).toEqual(['10.96.0.10', '203.0.113.9']);
    expect(membersIn(state, 'SERVED')).toEqual(['10.96.0.10,tcp:80', '203.0.113.9,tcp:80']);
    expect(state.refused).toEqual([
      {
        address: '192.168.0.3',
        origin: expect.objectContaining({ service: 'default/web' }),
        reason,
      },
    ]);
  });

  test("an API server behind a cluster IP does not make that one refused; the node's own address neither", () => {
    const port = servicePort({ externalIPs: ['192.168.0.2'], endpoints: [remote] });
    const state = ipvsState([port], {}, { reserved: () => 'of the API server' });
    expect([...state.addresses.keys()]).toEqual(['10.96.0.10']);
    expect([...state.servers.keys()].toSorted()).toEqual([
      'TCP/10.96.0.10:80',
      'TCP/192.168.0.2:80',
    ]);
    expect(state.refused).toEqual([]);
  });

  test('addresses that no node has are refused: of the unspecified one, a set takes none and its whole run fails', () => {
    const externalIPs = ['127.0.0.1', '127.0.0.9', '0.0.0.0', '224.0.0.18', '255.255.255.255'];
    const port = servicePort({ externalIPs, endpoints: [remote] });
    const state = ipvsState([port]);
    expect([...state.servers.keys()]).toEqual(['TCP/10.96.0.10:80']);
    expect(membersIn(state, 'BOUND')).toEqual(['10.96.0.10']);
    expect(state.refused.map(({ reason }) => reason)).toEqual([
      '0.0.0.0 is nobody’s address',
      '127.0.0.1 is a loopback address',
      '127.0.0.9 is a loopback address',
      '224.0.0.18 is a multicast address',
      '255.255.255.255 is the broadcast address',
    ]);
  });
});

describe('persistence and scheduling', () => {
  test('ClientIP affinity is persistence for as long', () => {
    const port = servicePort({ affinitySeconds: 600, endpoints: [remote] });
    expect(serverLines(ipvsState([port]))[0]).toBe('-t 10.96.0.10:80 -s rr -p 600');
  });

  test('the scheduler of the node, and with mh the port as well', () => {
    const port = servicePort({ endpoints: [remote] });
    expect(serverLines(ipvsState([port], {}, { scheduler: 'wlc' }))[0]).toMatch(/ -s wlc$/);
    expect(serverLines(ipvsState([port], {}, { scheduler: 'mh' }))[0]).toMatch(
      / -s mh -b mh-fallback,mh-port$/,
    );
  });
});

describe('what is there besides', () => {
  test('health check ports that the graph has', () => {
    expect(membersIn(ipvsState([checked('Local')]), 'HEALTH')).toEqual(['31000']);
    expect(membersIn(ipvsState([checked('Cluster')]), 'HEALTH')).toEqual([]);
  });

  test('without bpf the hairpins of all real servers, each once', () => {
    const port = servicePort({ externalIPs: ['203.0.113.9'], endpoints: [remote, local] });
    const features = { hairpin: 'ipset', randomFully: true } as const;
    expect(membersIn(ipvsState([port], {}, { features }), 'HAIRPIN')).toEqual([
      '10.244.1.7,tcp:8080,10.244.1.7',
      '10.244.2.1,tcp:8080,10.244.2.1',
    ]);
    expect(ipvsState([port]).rules.sets.size).toBe(12);
  });

  test('names of sets leave room for the two letters of an exchange', () => {
    for (const family of ['ipv4', 'ipv6'] as const) {
      const features = { hairpin: 'ipset', randomFully: true } as const;
      const { rules } = ipvsState([], { family, localAddresses: [] }, { features });
      expect(rules.sets.size).toBe(13);
      for (const name of rules.sets.keys()) expect(name.length).toBeLessThanOrEqual(29);
    }
  });

  test('rules are the same whatever the services', () => {
    const features = { hairpin: 'ipset', randomFully: true } as const;
    const many = [servicePort({ nodePort: 30_080, endpoints: [remote, local] })];
    const [some, none] = [ipvsState(many, {}, { features }), ipvsState([], {}, { features })];
    for (const table of ['mangle', 'nat', 'filter'] as const) {
      expect([...some.rules.tables[table]]).toEqual([...none.rules.tables[table]]);
    }
    expect(some.rules.jumps).toEqual(none.rules.jumps);
  });

  test('a pod detector is what rules depend on', () => {
    expect(natRules({ kind: 'cidr', cidr: cidr('10.244.1.0/24') })).toContain(
      '! -s 10.244.1.0/24 -m set --match-set KUBE-IPVS-MASQ-OTHERS-1 dst,dst -j KUBE-MARK-MASQ',
    );
    expect(natRules({ kind: 'interface', name: 'cni0' })).toContain('! -i cni0 -m set');
    expect(natRules({ kind: 'none' })).not.toContain('MASQ-OTHERS');
  });
});
