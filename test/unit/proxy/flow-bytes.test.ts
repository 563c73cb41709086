/** Its one job: the bytes of tracked connections are added up by service port, each once. */
import { describe, expect, it } from 'vitest';
import { listCountedFlows, parseFlow } from '../../../src/host/counted-flows.ts';
import type { CountedFlow } from '../../../src/host/counted-flows.ts';
import type { Frontend, FrontendId } from '../../../src/graph/rule-graph.ts';
import { FlowBytes } from '../../../src/proxy/flow-bytes.ts';
import { FakeToolRunner } from '../../support/fake-tool-runner.ts';
import { originOf } from '../../support/iptables-states.ts';

const { signal } = new AbortController();

interface FlowText {
  readonly to?: string;
  readonly port?: number;
  readonly from?: number;
  readonly id: number;
  readonly bytes?: readonly [received: number, sent: number];
  readonly protocol?: 'tcp     ' | 'udp     ';
}

const countedText = (value: number | undefined): string =>
  value === undefined ? '' : `packets=3 bytes=${value} `;

/** As conntrack 1.4.7 prints it. */
function text({
  to = '10.96.0.10',
  port = 80,
  from = 41_000,
  id,
  bytes,
  protocol = 'tcp     ',
}: FlowText): string {
  const state = protocol === 'tcp     ' ? '6 119 TIME_WAIT' : '17 29';
  return (
    `ipv4     2 ${protocol} ${state} src=192.0.2.10 dst=${to} sport=${from} dport=${port} ${countedText(bytes?.[0])}` +
    `src=10.244.0.5 dst=192.0.2.10 sport=8080 dport=${from} ${countedText(bytes?.[1])}[ASSURED] mark=0 use=1 id=${id}`
  );
}

describe('tracked flows as conntrack prints them', () => {
  it('are read with their bytes in both directions', () => {
    expect(parseFlow(text({ id: 7, bytes: [400, 5_000_000_000] }))).toEqual({
      id: 7 * 65_536 + 41_000,
      protocol: 'TCP',
      destination: '10.96.0.10',
      destinationPort: 80,
      received: 400,
      sent: 5_000_000_000,
    });
    const unanswered =
      'ipv6     10 udp      17 29 src=fd00::1 dst=fd00:10:96::a sport=5000 dport=53 packets=1 bytes=70 [UNREPLIED] src=fd00::5 dst=fd00::1 sport=53 dport=5000 packets=0 bytes=0 mark=0 use=1 id=9';
    expect(parseFlow(unanswered)).toMatchObject({ protocol: 'UDP', received: 70, sent: 0 });
  });

  it('count for nothing without bytes, and where they are no flows', () => {
    expect(parseFlow(text({ id: 7 }))).toBeUndefined();
    expect(
      parseFlow(
        'ipv4     2 icmp     1 29 src=1.1.1.1 dst=2.2.2.2 type=8 code=0 id=5 packets=1 bytes=84',
      ),
    ).toBeUndefined();
    expect(parseFlow('')).toBeUndefined();
  });

  it('are told of however the output comes, and half a line at its end is none', async () => {
    const lines = [1, 2, 3].map((id) => text({ id, bytes: [id, id] })).join('\n');
    for (const piece of [1, 7, 1000]) {
      const flows: CountedFlow[] = [];
      const tools = new FakeToolRunner();
      tools.run = async (tool, args, { onOutput }) => {
        expect([tool, ...args].join(' ')).toBe('conntrack -L -f ipv4 --dst-nat -o extended,id');
        for (let at = 0; at < lines.length; at += piece) onOutput?.(lines.slice(at, at + piece));
        return { exitCode: 0, stdout: '', stderr: '', durationMs: 1 };
      };
      await listCountedFlows(tools, 'ipv4', (flow) => flows.push(flow), signal);
      expect(flows.map(({ received }) => received)).toEqual([1, 2]);
    }
  });
});

const frontends = new Map<FrontendId, Frontend>();
const frontend = (id: string, service: string): void => {
  const kind = id.startsWith('nodePort') ? 'nodePort' : 'clusterIP';
  const [address, protocol, port] = id.split('/');
  frontends.set(id as FrontendId, {
    id: id as FrontendId,
    kind,
    address: (kind === 'nodePort' ? undefined : address) as Frontend['address'],
    protocol: protocol as Frontend['protocol'],
    port: Number(port),
    origin: originOf(service),
    guard: undefined,
    branches: [],
  });
};
frontend('10.96.0.10/TCP/80', 'web');
frontend('10.96.0.10/UDP/80', 'dns');
frontend('nodePort/TCP/30080', 'web');

function counting() {
  let table: readonly FlowText[] = [];
  const counted = new Map<string, [number, number]>();
  const tools = new FakeToolRunner();
  let exitCode = 0;
  tools.run = async (_tool, _args, { onOutput }) => {
    onOutput?.(table.map((each) => `${text(each)}\n`).join(''));
    return { exitCode, stdout: '', stderr: 'no memory', durationMs: 1 };
  };
  const bytes = new FlowBytes({
    family: 'ipv4',
    tools,
    sink: {
      add: (key, { received = 0, sent = 0 }) => {
        const [a, b] = counted.get(key) ?? [0, 0];
        counted.set(key, [a + received, b + sent]);
      },
    },
  });
  const read = async (...flows: readonly FlowText[]): Promise<void> => {
    table = flows;
    await bytes.read(signal);
  };
  const breakOff = async (...flows: readonly FlowText[]): Promise<void> => {
    exitCode = 1;
    await expect(read(...flows)).rejects.toThrow('conntrack -L failed: no memory');
    exitCode = 0;
  };
  return {
    bytes,
    read,
    breakOff,
    of: (service: string) => counted.get(originOf(service).servicePort),
  };
}

describe('the bytes of flows', () => {
  it('are added up while they grow, and are kept when the flow is gone', async () => {
    const { bytes, read, of } = counting();
    bytes.written({ frontends });
    await read();
    await read({ id: 1, bytes: [100, 1000] });
    await read({ id: 1, bytes: [150, 3000] }, { id: 2, bytes: [1, 2] });
    await read({ id: 2, bytes: [1, 2] });
    expect(of('web')).toEqual([151, 3002]);
    await read({ id: 1, from: 41_001, bytes: [7, 8] }); // another flow of the same number
    expect(of('web')).toEqual([158, 3010]);
  });

  it('of before the first whole list are not counted, however late the rules are', async () => {
    const { bytes, read, breakOff, of } = counting();
    await breakOff({ id: 1, bytes: [100, 1000] });
    for (let i = 0; i < 4; i++) await read({ id: 1, bytes: [100, 1000] }, { id: 2, bytes: [7, 7] });
    bytes.written({ frontends });
    await read({ id: 1, bytes: [101, 1001] }, { id: 2, bytes: [7, 7] });
    expect(of('web')).toEqual([1, 1]);
  });

  it('are counted once where a Service was away for a while', async () => {
    const { bytes, read, of } = counting();
    bytes.written({ frontends });
    await read();
    await read({ id: 1, bytes: [100, 1000] });
    bytes.written({ frontends: new Map() });
    for (let i = 0; i < 3; i++) await read({ id: 1, bytes: [100, 1000] });
    bytes.written({ frontends });
    await read({ id: 1, bytes: [100, 1002] });
    expect(of('web')).toEqual([100, 1002]);
  });

  it('are counted once where a list leaves a flow out, or has it twice', async () => {
    const { bytes, read, of } = counting();
    bytes.written({ frontends });
    await read();
    await read({ id: 1, bytes: [100, 1000] });
    await read();
    await read({ id: 1, bytes: [101, 1001] }, { id: 1, bytes: [101, 1001] });
    expect(of('web')).toEqual([101, 1001]);
  });

  it('are those of node ports too, by protocol, and nobody gets those of others', async () => {
    const { bytes, read, of } = counting();
    bytes.written({ frontends });
    await read();
    await read(
      { id: 1, to: '192.0.2.1', port: 30_080, bytes: [1, 10] },
      { id: 2, protocol: 'udp     ', bytes: [2, 20] },
      { id: 3, to: '10.96.0.99', bytes: [4, 40] },
    );
    expect([of('web'), of('dns')]).toEqual([
      [1, 10],
      [2, 20],
    ]);
  });

  it('that flows had before anybody looked are of an earlier run', async () => {
    const { bytes, read, of } = counting();
    await read({ id: 1, bytes: [100, 1000] }); // nobody knows yet whose it is
    bytes.written({ frontends });
    await read({ id: 1, bytes: [101, 1002] }, { id: 2, bytes: [10, 20] });
    expect(of('web')).toEqual([11, 22]);
  });

  it('that somebody has set to nothing go on', async () => {
    const { bytes, read, of } = counting();
    bytes.written({ frontends });
    await read();
    await read({ id: 1, bytes: [100, 100] });
    await read({ id: 1, bytes: [3, 130] });
    expect(of('web')).toEqual([103, 130]);
  });
});
