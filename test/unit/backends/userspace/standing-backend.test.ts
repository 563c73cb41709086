// Listeners without portals: opened at their places, moved where a port is refused, and shown to people.
import { describe, expect, it } from 'vitest';
import { StandingListeners } from '../../../../src/backends/userspace/standing-backend.ts';
import { compileAll } from '../../../../src/graph/compile.ts';
import type { Address } from '../../../../src/ip/address.ts';
import type { ServiceName, ServicePort } from '../../../../src/services/service-port.ts';
import { FakeRelay } from '../../../support/fake-relay.ts';
import { emptyDelta } from '../../../support/iptables-states.ts';
import { byKey, endpoint, nodeContext, servicePort } from '../../../support/service-ports.ts';

const { signal } = new AbortController();

class Bench {
  readonly relay = new FakeRelay();
  readonly printed: string[] = [];
  kept: Readonly<Record<string, Address>> = {};
  readonly #listeners = new StandingListeners({
    options: { udpTimeoutMs: 250, drainSeconds: 300, portOffset: 10_000 },
    relay: this.relay,
    keeper: { keepAddresses: async (each) => void (this.kept = Object.fromEntries(each)) },
    kept: new Map([['default/web' as ServiceName, '127.9.9.9' as Address]]),
    print: (text) => void this.printed.push(text),
  });
  readonly #backends = {
    ipv4: this.#listeners.backend('ipv4'),
    ipv6: this.#listeners.backend('ipv6'),
  };

  async sync(...services: readonly ServicePort[]) {
    const graph = compileAll(byKey(services), nodeContext());
    const report = await this.#backends.ipv4.sync(graph, emptyDelta, signal);
    const none = compileAll(new Map(), nodeContext({ family: 'ipv6' }));
    await this.#backends.ipv6.sync(none, emptyDelta, signal);
    return report;
  }
}

const web = servicePort({
  portName: 'http',
  nodePort: 30_080,
  endpoints: [endpoint('10.1.0.1:80')],
});

describe('listeners without portals', () => {
  it('stand at their places, let clients in, and are shown once both families are known', async () => {
    const bench = new Bench();
    expect((await bench.sync(web)).unprogrammed).toEqual([]);
    expect(bench.relay.told).toEqual([
      `open ${web.key} at 127.9.9.9:80 127.9.9.9 80`,
      `open ${web.key} at 127.0.0.1:30080 127.0.0.1 30080`,
      `admit ${web.key} at 127.9.9.9:80`,
      `admit ${web.key} at 127.0.0.1:30080`,
    ]);
    expect(bench.kept).toEqual({ 'default/web': '127.9.9.9' });
    expect(bench.printed).toEqual([
      'SERVICE           FRONTEND                      LISTENS AT\n' +
        'default/web:http  cluster IP 10.96.0.10:80/TCP  127.9.9.9:80\n' +
        'default/web:http  node port 30080/TCP           127.0.0.1:30080\n',
    ]);
  });

  it('say later what has changed, and nothing where nothing has', async () => {
    const bench = new Bench();
    await bench.sync(web);
    await bench.sync(web);
    expect(bench.printed).toHaveLength(1);
    bench.relay.news();
    await bench.sync({ ...web, nodePort: 30_081 });
    expect(bench.printed.slice(1)).toEqual([
      'default/web:http  node port 30080/TCP  - (gone)\n' +
        'default/web:http  node port 30081/TCP           127.0.0.1:30081\n',
    ]);
    expect(bench.relay.news().filter((line) => line.startsWith('close'))).toEqual([
      `close ${web.key} at 127.0.0.1:30080`,
    ]);
  });

  it('have what leaves and what takes its place in one change, and one group a Service and protocol', async () => {
    const bench = new Bench();
    await bench.sync(web);
    const renamed = servicePort({
      portName: 'main',
      nodePort: 30_080,
      endpoints: [endpoint('10.1.0.1:80')],
    });
    await bench.sync(renamed);
    const last = bench.relay.changes.at(-1);
    expect(last?.close).toHaveLength(2);
    expect(last?.open.map(({ key, group }) => [key, group])).toEqual([
      [`${renamed.key} at 127.9.9.9:80`, 'default/web TCP'],
      [`${renamed.key} at 127.0.0.1:30080`, 'default/web TCP'],
    ]);
    expect(bench.relay.admitted.size).toBe(2);
  });

  it('move a port that this user may not open', async () => {
    const bench = new Bench();
    bench.relay.refuses = ({ port }) => (port < 1024 ? 'EACCES' : undefined);
    expect((await bench.sync(web)).unprogrammed).toEqual([]);
    expect(bench.printed[0]).toContain('127.9.9.9:10080');
  });

  it('name what is in use or cannot be served, and try it again', async () => {
    const bench = new Bench();
    bench.relay.refuses = ({ port }) => (port === 80 ? 'EADDRINUSE' : undefined);
    const sctp = servicePort({
      service: 'default/s' as ServiceName,
      protocol: 'SCTP',
      clusterIP: '10.96.0.11',
      endpoints: [endpoint('10.1.0.1:80')],
    });
    const refused = '127.9.9.9:80 is in use by another program (EADDRINUSE)';
    expect((await bench.sync(web, sctp)).unprogrammed).toEqual([
      { name: 'default/s', reason: 'SCTP has no sockets here' },
      { name: web.name, reason: refused },
    ]);
    expect(bench.printed[0]).toContain(refused);
    bench.relay.refuses = () => undefined;
    expect((await bench.sync(web)).unprogrammed).toEqual([]);
  });

  it('leave a place to another service port in the same step', async () => {
    const bench = new Bench();
    await bench.sync(web);
    bench.relay.refuses = ({ key, port }) =>
      [...bench.relay.open.values()].some((each) => each.key !== key && each.port === port)
        ? 'EADDRINUSE'
        : undefined;
    const renamed = servicePort({
      portName: 'www',
      nodePort: 30_080,
      endpoints: [endpoint('10.1.0.1:80')],
    });
    expect((await bench.sync(renamed)).unprogrammed).toEqual([]);
    expect(new Set(bench.relay.open.keys())).toEqual(
      new Set([`${renamed.key} at 127.9.9.9:80`, `${renamed.key} at 127.0.0.1:30080`]),
    );
    expect(bench.relay.admitted.size).toBe(2);
  });
});
