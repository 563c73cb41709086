/** Its one job: what virtual servers have counted is added up by service port. */
import { describe, expect, it } from 'vitest';
import { ServerTraffic, parseStats } from '../../../../src/backends/ipvs/server-traffic.ts';
import { virtualServerKey } from '../../../../src/backends/ipvs/servers.ts';
import type { VirtualServer } from '../../../../src/backends/ipvs/state.ts';
import type { Address } from '../../../../src/ip/address.ts';
import type { Traffic } from '../../../../src/telemetry/traffic-tally.ts';
import { FakeToolRunner } from '../../../support/fake-tool-runner.ts';
import { originOf } from '../../../support/iptables-states.ts';

const { signal } = new AbortController();

const head = [
  'IP Virtual Server version 1.2.1 (size=4096)',
  'Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes',
  '  -> RemoteAddress:Port',
];
const line = (place: string, connections: number, received: number, sent: number): string =>
  `${place}                        ${connections}       41       30     ${received}    ${sent}`;

describe('the statistics of virtual servers as ipvsadm prints them', () => {
  it('are read for both families and all protocols, real servers and firewall marks left out', () => {
    const text = [
      ...head,
      line('TCP  10.96.0.10:80', 7, 2460, 1830),
      line('  -> 10.244.0.5:8080', 7, 2460, 1830),
      line('UDP  [fd00:10:96::a]:53', 5_000_000_000, 1, 2),
      line('SCTP 10.96.0.11:9', 0, 0, 0),
      line('FWM  17', 3, 3, 3),
      '',
    ].join('\n');
    expect([...parseStats(text)]).toEqual([
      ['TCP/10.96.0.10:80', { connections: 7, received: 2460, sent: 1830 }],
      ['UDP/[fd00:10:96::a]:53', { connections: 5_000_000_000, received: 1, sent: 2 }],
      ['SCTP/10.96.0.11:9', { connections: 0, received: 0, sent: 0 }],
    ]);
  });
});

const server = (service: string, address: string, port = 80): VirtualServer => ({
  key: virtualServerKey('TCP', address as Address, port),
  address: address as Address,
  protocol: 'TCP',
  port,
  scheduler: 'rr',
  schedulerFlags: [],
  persistentSeconds: undefined,
  realServers: new Map(),
  origin: originOf(service),
});
const servers = (...list: readonly VirtualServer[]) =>
  new Map(list.map((each) => [each.key, each]));

function counting() {
  let shown: readonly string[] = [];
  const counted = new Map<string, Traffic>();
  const tools = new FakeToolRunner(() => ({ stdout: `${[...head, ...shown].join('\n')}\n` }));
  const traffic = new ServerTraffic(tools, {
    add: (key, { connections = 0, received = 0, sent = 0 }) => {
      const before = counted.get(key) ?? { connections: 0, received: 0, sent: 0 };
      counted.set(key, {
        connections: before.connections + connections,
        received: before.received + received,
        sent: before.sent + sent,
      });
    },
  });
  const read = async (...lines: readonly string[]): Promise<void> => {
    shown = lines;
    await traffic.read(signal);
  };
  return { traffic, read, of: (service: string) => counted.get(originOf(service).servicePort) };
}

describe('the traffic of virtual servers', () => {
  it('is that of all virtual servers of a service port, in both families', async () => {
    const { traffic, read, of } = counting();
    await read();
    traffic.applied({
      family: 'ipv4',
      servers: servers(
        server('web', '10.96.0.10'),
        server('web', '192.0.2.1', 30080),
        server('api', '10.96.0.11'),
      ),
    });
    traffic.applied({ family: 'ipv6', servers: servers(server('web', 'fd00::a')) });
    await read(
      line('TCP  10.96.0.10:80', 1, 10, 100),
      line('TCP  192.0.2.1:30080', 2, 20, 200),
      line('TCP  10.96.0.11:80', 4, 40, 400),
      line('TCP  [fd00::a]:80', 8, 80, 800),
      line('TCP  10.96.9.9:80', 16, 160, 1600), // somebody else's
    );
    expect(of('web')).toEqual({ connections: 11, received: 110, sent: 1100 });
    expect(of('api')).toEqual({ connections: 4, received: 40, sent: 400 });
  });

  it('begins with what there was at the first look, and goes on where a server was made anew', async () => {
    const { traffic, read, of } = counting();
    traffic.applied({ family: 'ipv4', servers: servers(server('web', '10.96.0.10')) });
    await read(line('TCP  10.96.0.10:80', 100, 1000, 9000));
    await read(line('TCP  10.96.0.10:80', 101, 1010, 9100));
    expect(of('web')).toEqual({ connections: 1, received: 10, sent: 100 });
    await read(line('TCP  10.96.0.10:80', 2, 20, 200));
    expect(of('web')).toEqual({ connections: 3, received: 30, sent: 300 });
    await read();
    await read(line('TCP  10.96.0.10:80', 5, 50, 500));
    expect(of('web')).toEqual({ connections: 8, received: 80, sent: 800 });
  });
});
