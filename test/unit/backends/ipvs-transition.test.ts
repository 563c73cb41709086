// Between any two lines of any tool, a packet meets what it met before, what it meets after, or a refusal.
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { IptablesBackend } from '../../../src/backends/iptables/backend.ts';
import { lowerAll } from '../../../src/backends/iptables/lower.ts';
import { renderRestore } from '../../../src/backends/iptables/render.ts';
import { defaultFeatures } from '../../../src/backends/iptables/state.ts';
import type { IptablesState } from '../../../src/backends/iptables/state.ts';
import { IpvsBackend } from '../../../src/backends/ipvs/backend.ts';
import { lowerIpvs } from '../../../src/backends/ipvs/lower.ts';
import { IpvsRemains } from '../../../src/backends/ipvs/remains.ts';
import type { IpvsState } from '../../../src/backends/ipvs/state.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import type { NodeContext } from '../../../src/graph/node-context.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import type { Address } from '../../../src/ip/address.ts';
import { AfterIpvs } from '../../../src/proxy/after-ipvs.ts';
import type { ServicePort } from '../../../src/services/service-port.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { attempts, nodeContexts, servicePortLists } from '../../support/arbitraries.ts';
import type { Attempt } from '../../support/arbitraries.ts';
import { FakeIpvsNode } from '../../support/fake-ipvs-node.ts';
import { parseTables } from '../../support/iptables-simulator/parse.ts';
import type { ParsedTables } from '../../support/iptables-simulator/parse.ts';
import type { ParsedRealServer, ParsedServer } from '../../support/ipvs-simulator/parse.ts';
import { simulateIpvs } from '../../support/ipvs-simulator/traverse.ts';
import { emptyDelta, emptyGraph } from '../../support/iptables-states.ts';
import { ipvsOptions } from '../../support/ipvs-states.ts';
import { byKey, servicePort } from '../../support/service-ports.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

const { signal } = new AbortController();

/** Where the node stands before the sync that is watched. */
type Start = 'change' | 'restart' | 'nothing' | 'iptables mode' | 'to iptables mode';

/** What may be different of a service port before and after. */
type Form = 'whole' | 'absent' | 'no endpoints' | 'no ranges' | 'few endpoints' | 'no affinity';

const forms = fc.constantFrom<Form>(
  'whole',
  'whole',
  'absent',
  'no endpoints',
  'no ranges',
  'few endpoints',
  'no affinity',
);

const nothing = servicePort().endpoints;

function inForms(list: readonly ServicePort[], each: readonly Form[]): readonly ServicePort[] {
  return list.flatMap((port, i) => {
    const { endpoints } = port;
    const few = {
      cluster: endpoints.cluster?.slice(0, 1),
      local: endpoints.local?.slice(0, 1),
    };
    const as: Readonly<Record<Form, readonly ServicePort[]>> = {
      whole: [port],
      absent: [],
      'no endpoints': [{ ...port, endpoints: nothing }],
      'no ranges': [{ ...port, sourceRanges: [] }],
      'few endpoints': [{ ...port, endpoints: { ...endpoints, ...few } }],
      'no affinity': [{ ...port, affinitySeconds: undefined }],
    };
    return as[each[i] ?? 'whole'];
  });
}

const changes = fc.tuple(nodeContexts('ipv4'), servicePortLists('ipv4')).chain(([node, list]) => {
  const each = fc.array(forms, { minLength: list.length, maxLength: list.length });
  return fc.record({
    node: fc.constant(node),
    list: fc.constant(list),
    before: each,
    after: each,
    attempts: fc.array(attempts('ipv4', list), { minLength: 6, maxLength: 6 }),
    /** The node's own packet to a bound address has that as its source, as the kernel chooses it. */
    fromItself: fc.boolean(),
  });
});

/** Watches what becomes of some packets while tools change a node. */
class Watch {
  readonly #node: FakeIpvsNode;
  readonly #local: readonly Address[];
  #tables: ParsedTables;

  constructor(node: FakeIpvsNode, { localAddresses }: NodeContext) {
    this.#node = node;
    this.#local = localAddresses;
    this.#tables = parseTables(node.save());
  }

  /** Rules have changed. */
  reread(): void {
    this.#tables = parseTables(this.#node.save());
  }

  /** `reject`, `drop`, `on` (not for us), `host` (the node's own sockets), or endpoints. */
  ends(attempt: Attempt, fromItself: boolean): ReadonlySet<string> {
    const addresses = [...(this.#node.device ?? [])].map((text) => parseAddress(text) as Address);
    const own = new Set([...this.#local, ...addresses]);
    const { destination, inInterface } = attempt;
    const isItself = fromItself && inInterface === undefined && addresses.includes(destination);
    const source = isItself ? destination : attempt.source;
    const ipvs = {
      rules: this.#tables,
      sets: new Map([...this.#node.sets].map(([name, { members }]) => [name, members])),
      servers: this.#servers(attempt),
      addresses,
    };
    const packet = {
      ...attempt,
      source,
      protocol: attempt.protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp',
      destinationPort: attempt.port,
      sourcePort: 40_000,
      outInterface: 'eth0',
      state: 'NEW' as const,
    };
    const ended = simulateIpvs(ipvs, this.#local, packet).map((end) => {
      if (end.kind !== 'delivered') return end.kind;
      if (end.translated) return `${end.destination}:${end.port}${end.masqueraded ? '' : ' bare'}`;
      return own.has(end.destination) ? 'host' : 'on';
    });
    return new Set(ended);
  }

  /** The one that the packet may be for. */
  #servers({ protocol, destination, port }: Attempt): ReadonlyMap<string, ParsedServer> {
    const flag = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service' }[protocol];
    const server = this.#node.servers.get(`${flag} ${destination}:${port}`);
    if (server === undefined) return new Map();
    const { scheduler, persistent, realServers } = server;
    const real = [...realServers].map(([text, { weight }]): ParsedRealServer => {
      const [host = '', at] = text.split(':');
      return { address: parseAddress(host) as Address, port: Number(at), weight };
    });
    const parsed = { scheduler, persistentSeconds: persistent, real };
    return new Map([[`${protocol.toLowerCase()} ${destination}:${port}`, parsed]]);
  }
}

const iptablesOptions = {
  features: defaultFeatures,
  masqueradeMark: 0x4000,
  localhostNodePorts: false,
  conntrackBeLiberal: false,
};

/** What every backend of the node has. */
const parts = (node: FakeIpvsNode) => ({
  family: 'ipv4' as const,
  tools: node.tools,
  iptables: {
    variant: 'legacy' as const,
    family: 'ipv4' as const,
    version: [1, 8, 9] as const,
    iptables: 'iptables',
    restore: 'iptables-restore',
    save: 'iptables-save',
  },
  log: silentLog,
  lockPaths: { lockFile: '/nowhere/lock', proc: '/nowhere' },
  clock: new VirtualClock(),
  instanceId: 'one',
});

/** Iptables mode on the node, until nothing of an ipvs mode is left. */
async function runIptables(node: FakeIpvsNode, state: IptablesState): Promise<void> {
  const backend = new AfterIpvs(
    {
      ...parts(node),
      remains: new IpvsRemains({ ...parts(node), readTable: node.readTable }),
      drainMs: 60_000,
      lifetime: signal,
      onGone: async () => undefined,
    },
    (hooks) => new IptablesBackend({ ...parts(node), ...hooks, lowering: { lower: () => state } }),
  );
  await backend.sync(emptyGraph, emptyDelta, signal);
  await backend.drained();
}

function agent(node: FakeIpvsNode) {
  const wanted: { state: IpvsState | undefined } = { state: undefined };
  const backend = new IpvsBackend({
    ...parts(node),
    lowering: { lower: () => wanted.state as IpvsState },
    excludeCidrs: [],
    drainSeconds: 60,
    lifetime: AbortSignal.abort(),
    readTable: node.readTable,
  });
  return async (state: IpvsState) => {
    wanted.state = state;
    return backend.sync(emptyGraph, emptyDelta, signal);
  };
}

/** Whether a moment's end is one of before or after. That a source is hidden from an endpoint too early or late is no harm. */
function isExplained(
  end: string,
  known: ReadonlySet<string>,
  start: Start,
  { port }: Attempt,
): boolean {
  const isRefusal = end === 'reject' || end === 'drop';
  const isHidden = known.has(`${end} bare`);
  if (isRefusal || isHidden || known.has(end)) return true;
  // Under the rules of iptables mode node ports answer on every address that is bound, and what they refuse to the node
  // itself ipvs takes first. Whom guards keep away stays away.
  const isGuarded = [...known].join() === 'drop' && port < 30_000;
  return start.endsWith('iptables mode') && end.includes(':') && !isGuarded;
}

it.each<Start>(['change', 'restart', 'nothing', 'iptables mode', 'to iptables mode'])(
  'no packet escapes or reaches the node itself between two steps of a sync (%s)',
  async (start) => {
    await fc.assert(
      fc.asyncProperty(changes, async ({ node: context, list, attempts: packets, ...each }) => {
        const node = new FakeIpvsNode();
        const watch = new Watch(node, context);
        const graphOf = (some: readonly ServicePort[]) => compileAll(byKey(some), context);
        const [before, after] = [
          graphOf(inForms(list, each.before)),
          graphOf(inForms(list, each.after)),
        ];
        let sync = agent(node);
        if (start === 'iptables mode') {
          const input = renderRestore(lowerAll(before, iptablesOptions));
          await node.tools.run('iptables-restore', [], { input, timeoutMs: 1000, signal });
        } else if (start !== 'nothing') {
          await sync(lowerIpvs(before, ipvsOptions));
          if (start === 'restart') sync = agent(node);
        }
        const look = () => packets.map((each1) => watch.ends(each1, each.fromItself));
        watch.reread();
        const moments = [look()];
        node.onStep = (tool, line) => {
          if (tool === 'iptables-restore') watch.reread();
          const concerns =
            /^(?:COMMIT|swap)/.test(line) ||
            packets.some(({ destination }) => line.includes(destination));
          if (concerns) moments.push(look());
        };
        if (start === 'to iptables mode') await runIptables(node, lowerAll(after, iptablesOptions));
        else await sync(lowerIpvs(after, ipvsOptions));
        moments.push(look());
        for (const [i, packet] of packets.entries()) {
          const known = new Set([...(moments[0]?.[i] ?? []), ...(moments.at(-1)?.[i] ?? [])]);
          for (const [step, moment] of moments.entries()) {
            const strange = [...(moment[i] ?? [])].filter(
              (end) => !isExplained(end, known, start, packet),
            );
            const what = JSON.stringify({ packet, step, of: moments.length, known: [...known] });
            expect(strange, what).toEqual([]);
          }
        }
      }),
      // Shrinking would take minutes.
      { numRuns: start.endsWith('iptables mode') ? 8 : 20, endOnFailure: true },
    );
  },
);
