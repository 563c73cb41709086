// The order of a sync: listeners before their rules, the guard before clients, and closed doors last.
import { describe, expect, it } from 'vitest';
import { UserspaceBackend } from '../../../../src/backends/userspace/backend.ts';
import { UserspaceLowering } from '../../../../src/backends/userspace/lower.ts';
import { PortChooser, rangePorts } from '../../../../src/backends/userspace/ports.ts';
import { defaultUserspaceOptions } from '../../../../src/backends/userspace/state.ts';
import { GraphCompiler } from '../../../../src/graph/compile.ts';
import type { NodeContext } from '../../../../src/graph/node-context.ts';
import type { ListenerKey } from '../../../../src/relay/relay.ts';
import type {
  ServiceName,
  ServicePort,
  ServicePortKey,
} from '../../../../src/services/service-port.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeRelay } from '../../../support/fake-relay.ts';
import { FakeToolRunner, legacyTools, noLock } from '../../../support/fake-tool-runner.ts';
import type { Answer, RecordedRun } from '../../../support/fake-tool-runner.ts';
import { address, endpoint, nodeContext, servicePort } from '../../../support/service-ports.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

const { signal } = new AbortController();
const nodeAddress = address('192.0.2.1');

/** A backend on a machine that says yes, and everything that happens to it. */
class Bench {
  readonly told: string[] = [];
  readonly relay = new FakeRelay(this.told);
  readonly services = new Map<ServicePortKey, ServicePort>();
  answer: (run: RecordedRun) => Answer = () => undefined;
  context: NodeContext = { ...nodeContext(), nodeAddress };
  kept: Readonly<Record<string, number>> = {};
  readonly #compiler = new GraphCompiler();
  readonly #backend: UserspaceBackend;

  constructor(last = 20_009, kept: ReadonlyMap<ListenerKey, number> = new Map()) {
    const tools = new FakeToolRunner((run) => {
      if (run.tool === 'ipset' && run.args[0] === 'restore') this.told.push(setsText(run.input));
      if (run.tool === legacyTools.restore) this.told.push('rules');
      return this.answer(run);
    });
    this.#backend = new UserspaceBackend({
      family: 'ipv4',
      tools,
      iptables: legacyTools,
      log: silentLog,
      lockPaths: noLock,
      clock: new VirtualClock(),
      instanceId: 'test',
      lowering: new UserspaceLowering(defaultUserspaceOptions),
      relay: this.relay,
      ports: new PortChooser({
        supply: rangePorts({ first: 20_000, last }),
        random: () => 0,
        kept,
      }),
      keeper: {
        keepPorts: async (_family, ports) => {
          this.kept = Object.fromEntries(ports);
          this.told.push('keep');
        },
      },
    });
  }

  async sync(...services: readonly ServicePort[]) {
    const before = [...this.services.keys()];
    this.services.clear();
    for (const each of services) this.services.set(each.key, each);
    const changed = new Set([...before, ...this.services.keys()]);
    const { graph, delta } = this.#compiler.compile(this.services, changed, this.context);
    return this.#backend.sync(graph, delta, signal);
  }

  answering(service: ServicePort): readonly string[] {
    return this.#backend.answering(service);
  }

  news(): readonly string[] {
    return this.told.splice(0);
  }
}

function setsText(input: string): string {
  const members = [...input.matchAll(/^(add|del) \S* ?\S+ (\S+)$/gm)];
  return `set ${members.map(([, what, member]) => `${what} ${member}`).join()}`;
}

const web = servicePort({ endpoints: [endpoint('10.1.0.1:8080')] });
const api = servicePort({
  service: 'default/api' as ServiceName,
  clusterIP: '10.96.0.9',
  endpoints: [endpoint('10.1.0.1:8080')],
});

describe('a sync of the userspace backend', () => {
  it('opens, keeps the port, guards it, writes the rules, and only then lets clients in', async () => {
    const bench = new Bench();
    const { full, unprogrammed } = await bench.sync(web);
    expect({ full, unprogrammed }).toEqual({ full: true, unprogrammed: [] });
    expect(bench.news()).toEqual([
      `open ${web.key} cluster ipv4 192.0.2.1 20000`,
      'keep',
      'set add 192.0.2.1,tcp:20000',
      'rules',
      `admit ${web.key} cluster ipv4`,
    ]);
    expect(bench.kept).toEqual({ [`${web.key} cluster ipv4`]: 20_000 });
    expect(bench.answering(web)).toEqual(['192.0.2.1:20000']);
  });

  it('tells the relay alone of other endpoints, and nobody of nothing', async () => {
    const bench = new Bench();
    await bench.sync(web);
    bench.news();
    await bench.sync(servicePort({ endpoints: [endpoint('10.1.0.2:8080')] }));
    expect(bench.news()).toEqual([`open ${web.key} cluster ipv4 192.0.2.1 20000`]);
    await bench.sync(...bench.services.values());
    expect(bench.news()).toEqual([]);
  });

  it('lets clients in before the rules that lead them, once the guard stands', async () => {
    const bench = new Bench();
    await bench.sync(web);
    bench.news();
    await bench.sync(web, api);
    expect(bench.news()).toEqual([
      `open ${api.key} cluster ipv4 192.0.2.1 20001`,
      'keep',
      'set add 192.0.2.1,tcp:20001',
      `admit ${api.key} cluster ipv4`,
      'rules',
    ]);
  });

  it('closes a listener after its rules are gone, and takes its port out of the guard last', async () => {
    const bench = new Bench();
    await bench.sync(web);
    bench.news();
    await bench.sync();
    expect(bench.news()).toEqual([
      'keep',
      'rules',
      `close ${web.key} cluster ipv4`,
      'set del 192.0.2.1,tcp:20000',
    ]);
  });

  it('lets nobody in where the guard could not be made', async () => {
    const bench = new Bench();
    bench.answer = ({ tool, args }) =>
      tool === 'ipset' && args[0] === 'restore' ? { exitCode: 1, stderr: 'no memory' } : undefined;
    const { failure } = await bench.sync(web);
    expect(failure?.message).toContain('no memory');
    expect(bench.relay.admitted).toEqual(new Set());
    bench.answer = () => undefined;
    await bench.sync(web);
    expect(bench.relay.admitted).toEqual(new Set([`${web.key} cluster ipv4`]));
  });

  it('passes by ports that are in use, and by those of an earlier run only then', async () => {
    const key = `${web.key} cluster ipv4` as ListenerKey;
    const bench = new Bench(20_009, new Map([[key, 20_007]]));
    await bench.sync(web);
    expect(bench.answering(web)).toEqual(['192.0.2.1:20007']);
    const other = new Bench(20_009, new Map([[key, 20_007]]));
    other.relay.refuses = ({ port }) =>
      port === 20_007 || port < 20_003 ? 'EADDRINUSE' : undefined;
    await other.sync(web);
    expect(other.answering(web)).toEqual(['192.0.2.1:20003']);
  });

  it.each([
    ['EMFILE', /too many open files \(EMFILE\); raise the limit/],
    ['EADDRNOTAVAIL', /192\.0\.2\.1 is no address of this machine/],
    ['EADDRINUSE', /all 10 of --proxy-port-range=20000-20009 are in use/],
    ['EPERM', /cannot listen at 192\.0\.2\.1: listen EPERM \(EPERM\)/],
  ])('names a service port that is refused by %s, and tries it again', async (code, reason) => {
    const bench = new Bench();
    bench.relay.refuses = ({ key }) => (key.startsWith(web.key) ? code : undefined);
    const { unprogrammed } = await bench.sync(web, api);
    expect(unprogrammed).toEqual([{ name: web.name, reason: expect.stringMatching(reason) }]);
    expect(bench.relay.admitted).toEqual(new Set([`${api.key} cluster ipv4`]));
    bench.relay.refuses = () => undefined;
    expect((await bench.sync(web, api)).unprogrammed).toEqual([]);
    expect(bench.relay.admitted.size).toBe(2);
  });

  it('gives a port that becomes free to who waits for it, in the same sync', async () => {
    const bench = new Bench(20_000);
    await bench.sync(web);
    const { unprogrammed } = await bench.sync(api);
    expect(unprogrammed).toEqual([]);
    expect(bench.answering(api)).toEqual(['192.0.2.1:20000']);
    expect(bench.relay.admitted).toEqual(new Set([`${api.key} cluster ipv4`]));
  });

  it('moves everything when the node has another address, and says so where it has none', async () => {
    const bench = new Bench();
    await bench.sync(web);
    bench.context = { ...bench.context, nodeAddress: address('192.0.2.7') };
    await bench.sync(web);
    expect(bench.answering(web)).toEqual(['192.0.2.7:20000']);
    expect(bench.relay.admitted.size).toBe(1);
    bench.context = { ...bench.context, nodeAddress: undefined };
    const { unprogrammed } = await bench.sync(web);
    expect(unprogrammed).toEqual([
      { name: web.name, reason: 'this node has no IPv4 address to listen at' },
    ]);
    expect(bench.relay.open.size).toBe(0);
  });

  it('tells the relay what clients ask, for a PROXY header, as long as all ask the same', async () => {
    const bench = new Bench();
    const asking: ServicePort = { ...web, balancing: { proxyProtocol: true } };
    const askedOf = () => [...bench.relay.open.values()].map(({ asked }) => asked);
    await bench.sync(asking);
    expect(askedOf()).toEqual([{ address: '10.96.0.10', port: 80 }]);
    await bench.sync({ ...asking, externalIPs: [address('203.0.113.7')] });
    expect(askedOf()).toEqual([undefined]);
    await bench.sync(asking);
    expect(askedOf()).toEqual([{ address: '10.96.0.10', port: 80 }]);
    await bench.sync(web);
    expect(askedOf()).toEqual([undefined]);
  });

  it('leads nobody to where it is reached itself: a frontend, or a listener that has come meanwhile', async () => {
    const bench = new Bench();
    const endpointsOf = ({ key }: ServicePort) =>
      bench.relay.open
        .get(`${key} cluster ipv4` as ListenerKey)
        ?.routes.map(({ to }) => (to === 'refuse' ? to : to.endpoints.map((each) => each.address)));
    const back = ['10.96.0.9:80', '192.0.2.1:20001', '10.1.0.3:80'].map((each) => endpoint(each));
    const looping = servicePort({ endpoints: back });
    expect((await bench.sync(looping)).leftOutEndpoints).toEqual([]);
    const { leftOutEndpoints, unprogrammed } = await bench.sync(looping, api);
    expect(leftOutEndpoints?.map((each) => `${each.name} ${each.endpoint}`)).toEqual([
      'default/web 10.96.0.9:80',
      'default/web 192.0.2.1:20001',
    ]);
    expect(unprogrammed).toEqual([]);
    expect(endpointsOf(looping)).toEqual([['10.1.0.3']]);
    expect((await bench.sync(looping)).leftOutEndpoints).toEqual([]);
    expect(endpointsOf(looping)).toEqual([['10.1.0.3', '10.96.0.9', '192.0.2.1']]);
  });

  it('makes everything anew after a failure on the way', async () => {
    const bench = new Bench();
    bench.relay.isBroken = true;
    await expect(bench.sync(web)).rejects.toThrow('no relay');
    bench.relay.isBroken = false;
    bench.news();
    await bench.sync(web);
    expect(bench.news().at(-1)).toBe(`admit ${web.key} cluster ipv4`);
  });
});
