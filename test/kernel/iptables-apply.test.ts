import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { IptablesBackend } from '../../src/backends/iptables/backend.ts';
import type { GraphLowering } from '../../src/backends/iptables/backend.ts';
import { inspectFeatures } from '../../src/backends/iptables/features.ts';
import { readTables } from '../../src/backends/iptables/monitor.ts';
import { PrintedRules } from '../../src/backends/iptables/printed-rules.ts';
import type { Features, IptablesState, Rule } from '../../src/backends/iptables/state.ts';
import { iptablesTools } from '../../src/backends/iptables/variant.ts';
import type { Variant } from '../../src/backends/iptables/variant.ts';
import { Lowering } from '../../src/backends/iptables/lower.ts';
import { systemClock } from '../../src/clock.ts';
import { GraphCompiler } from '../../src/graph/compile.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import type { ToolRunner } from '../../src/host/run-tool.ts';
import type { Family } from '../../src/ip/address.ts';
import type { ServiceName, ServicePort } from '../../src/services/service-port.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import {
  chain,
  dnat,
  emptyDelta,
  emptyGraph,
  ipset,
  jump,
  nodeState,
  rule,
} from '../support/iptables-states.ts';
import { byKey, endpoint, nodeContext, servicePort } from '../support/service-ports.ts';

const { signal } = new AbortController();
const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn('skipped: iptables in a network namespace of its own needs root');

/** A network namespace that lives as long as a child of ours, with tools that run in it. */
interface Namespace {
  readonly tools: ToolRunner;
  /** Tools run since the last call. */
  taken(): readonly string[];
  shell(command: string): Promise<string>;
  close(): Promise<void>;
}

async function openNamespace(): Promise<Namespace> {
  const directory = mkdtempSync(join(tmpdir(), 'switchyard-xtables-'));
  const env = { XTABLES_LOCKFILE: join(directory, 'lock') };
  const holder = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'ignore', 'inherit'] });
  await inOwnNamespace(holder);
  let runs: string[] = [];
  const inside = ['--net=/proc/' + String(holder.pid) + '/ns/net', '--'];
  const tools: ToolRunner = {
    run: async (tool, args, options) => {
      runs.push(tool);
      return systemTools.run('nsenter', [...inside, tool, ...args], { ...options, env });
    },
  };
  return {
    tools,
    taken: () => {
      const before = runs;
      runs = [];
      return before;
    },
    shell: async (command) => {
      const options = { timeoutMs: 20_000, signal, env };
      const { stdout } = await systemTools.run(
        'nsenter',
        [...inside, 'sh', '-c', command],
        options,
      );
      return stdout;
    },
    close: async () => {
      const ended = once(holder, 'exit');
      holder.stdin?.end();
      await ended;
      rmSync(directory, { recursive: true });
    },
  };
}

/** `unshare` makes the namespace after it has started: wait until it is another one than ours. */
async function inOwnNamespace(holder: ChildProcess): Promise<void> {
  const ours = await readlink('/proc/self/ns/net');
  const deadlineMs = Date.now() + 10_000;
  while ((await readlink(`/proc/${String(holder.pid)}/ns/net`)) === ours) {
    if (Date.now() > deadlineMs) throw new Error('unshare --net made no namespace within 10 s');
    await systemClock.sleep(5);
  }
}

/** Rules of the built-in chains in a dump of filter. */
function jumps(dump: string): readonly string[] {
  return dump.split('\n').filter((line) => /^-A (FORWARD|OUTPUT)/.test(line));
}

describe.skipIf(!isRoot).each<Variant>(['legacy', 'nft'])('iptables, variant %s', (variant) => {
  let namespace: Namespace;
  let desired: IptablesState;

  beforeEach(async () => {
    namespace = await openNamespace();
  });
  afterEach(async () => {
    await namespace.close();
  });

  const port = async (tools = namespace.tools) => ({
    tools,
    iptables: await iptablesTools(tools, variant, 'ipv4', signal),
    log: silentLog,
    lockPaths: { lockFile: '/nowhere', proc: '/proc' },
  });
  const backendOf = async (instanceId = 'one') =>
    new IptablesBackend({
      ...(await port()),
      lowering: { lower: () => desired },
      clock: systemClock,
      instanceId,
    });
  const save = async (table: string) => namespace.shell(`iptables-${variant}-save -t ${table}`);
  const web = dnat('web', '10.96.0.1', '10.1.0.1:8080');
  const api = dnat('api', '10.96.0.2', '10.1.0.2:8080');

  it('writes everything at first, and runs no tool while nothing differs', async () => {
    desired = nodeState(web, api);
    const backend = await backendOf();
    const report = await backend.sync(emptyGraph, emptyDelta, signal);
    expect(report).toMatchObject({ full: true, unprogrammed: [], rulesTotal: { nat: 3 } });
    const nat = await save('nat');
    expect(nat).toContain(`-A KUBE-SVC-AAAAAAAAAAAAAAAA ${web.args}`);
    expect(nat).toContain('"switchyard generation one 1"');
    expect(await backend.audit(signal)).toBeUndefined();
    namespace.taken();
    const second = await backend.sync(emptyGraph, emptyDelta, signal);
    expect(second).toMatchObject({ full: false, rulesWritten: { filter: 0, nat: 0, mangle: 0 } });
    expect(namespace.taken()).toEqual([]);
  });

  it('writes a changed leaf and the roots only', async () => {
    desired = nodeState(web);
    const backend = await backendOf();
    await backend.sync(emptyGraph, emptyDelta, signal);
    desired = nodeState(web, api);
    const report = await backend.sync(emptyGraph, emptyDelta, signal);
    expect(report).toMatchObject({ full: false, rulesWritten: { nat: 3 } });
    expect(await save('nat')).toContain('-d 10.96.0.2/32');
    expect(await backend.audit(signal)).toBeUndefined();
  });

  it('adds no jump twice, also over a restart', async () => {
    desired = nodeState(web);
    await (await backendOf('one')).sync(emptyGraph, emptyDelta, signal);
    const filter = await save('filter');
    await (await backendOf('two')).sync(emptyGraph, emptyDelta, signal);
    const again = await save('filter');
    expect(jumps(again)).toEqual(jumps(filter));
    expect(jumps(again)).toHaveLength(2);
  });

  it('tells of a rule of others that takes all before ours, and leaves it there', async () => {
    desired = nodeState(web);
    const backend = await backendOf();
    await backend.sync(emptyGraph, emptyDelta, signal);
    await namespace.shell(`iptables-${variant} -I FORWARD -j ACCEPT`);
    const filter = await save('filter');
    expect(await backend.audit(signal)).toBeUndefined();
    expect(backend.inFront()).toEqual(['"-A FORWARD -j ACCEPT" in filter']);
    backend.invalidate();
    await backend.sync(emptyGraph, emptyDelta, signal);
    expect(jumps(await save('filter'))).toEqual(jumps(filter));
    await namespace.shell(`iptables-${variant} -D FORWARD -j ACCEPT`);
    expect(await backend.audit(signal)).toBeUndefined();
    expect(backend.inFront()).toEqual([]);
  });

  it('puts its jumps in order again', async () => {
    const base = nodeState(web);
    desired = {
      ...base,
      jumps: [
        ...base.jumps,
        jump('filter', 'FORWARD', 'KUBE-SERVICES', '-m conntrack --ctstate NEW'),
      ],
    };
    const backend = await backendOf();
    await backend.sync(emptyGraph, emptyDelta, signal);
    const filter = jumps(await save('filter'));
    expect(filter).toHaveLength(3);
    for (const command of ['-D FORWARD 1', '-A FORWARD -j DROP', '-I FORWARD -j KUBE-FORWARD']) {
      await namespace.shell(`iptables-${variant} ${command}`);
    }
    await namespace.shell(
      `iptables-${variant} -A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES`,
    );
    expect(await backend.audit(signal)).toMatch(/jumps of FORWARD in filter are in another order/);
    backend.invalidate();
    await backend.sync(emptyGraph, emptyDelta, signal);
    expect(await backend.audit(signal)).toBeUndefined();
    expect(jumps(await save('filter'))).toEqual([
      ...filter.filter((line) => line.includes('FORWARD')),
      '-A FORWARD -j DROP',
      ...filter.filter((line) => line.includes('OUTPUT')),
    ]);
  });

  const foreign: readonly (readonly [command: string, reason: RegExp])[] = [
    [`iptables-${variant} -t nat -F`, /nat was flushed/],
    [`iptables-${variant} -t filter -F`, /filter was flushed/],
    [`iptables-${variant} -t mangle -X KUBE-PROXY-CANARY`, /KUBE-PROXY-CANARY is gone/],
    [
      `iptables-${variant} -t nat -F PREROUTING`,
      /the jump from PREROUTING to KUBE-SERVICES is gone/,
    ],
    [`iptables-${variant} -t nat -F KUBE-SVC-AAAAAAAAAAAAAAAA`, /holds 0 rules, expected 1/],
    [`iptables-${variant} -t nat -F; iptables-${variant} -t nat -X`, /nat was flushed.*gone/],
    [
      `iptables-${variant} -t nat -I KUBE-SERVICES 1 -j RETURN`,
      /second writer: the first rule of KUBE-SERVICES in nat is not ours: "-j RETURN"/,
    ],
    [
      `iptables-${variant} -I KUBE-FORWARD 1 -j DROP`,
      /KUBE-FORWARD in filter holds 2 rules, expected 1: "-j DROP" is not ours/,
    ],
    [
      `iptables-${variant} -t nat -R KUBE-SVC-AAAAAAAAAAAAAAAA 1 -p tcp -j DNAT --to-destination 10.9.9.9:80`,
      /rule 1 of chain KUBE-SVC-AAAAAAAAAAAAAAAA in nat is .*10\.9\.9\.9:80/,
    ],
    ...(variant === 'nft' ? [['nft flush ruleset', /flushed.*gone/] as const] : []),
  ];
  it.each(foreign)('notices "%s" and repairs it with the next sync', async (command, reason) => {
    desired = nodeState(web);
    const backend = await backendOf();
    await backend.sync(emptyGraph, emptyDelta, signal);
    expect(await backend.audit(signal)).toBeUndefined();
    await namespace.shell(command);
    expect(await backend.audit(signal)).toMatch(reason);
    backend.invalidate();
    expect(await backend.sync(emptyGraph, emptyDelta, signal)).toMatchObject({ full: true });
    expect(await backend.audit(signal)).toBeUndefined();
    expect(await save('nat')).toContain(web.args);
  });

  it('names a second writer', async () => {
    desired = nodeState(web);
    const backend = await backendOf('one');
    await backend.sync(emptyGraph, emptyDelta, signal);
    await (await backendOf('two')).sync(emptyGraph, emptyDelta, signal);
    expect(await backend.audit(signal)).toMatch(/second writer.*instance two/);
    const theirs = ':KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -d 10.96.0.9/32 -j RETURN';
    await namespace.shell(
      `printf '*filter\n${theirs}\nCOMMIT\n' | iptables-${variant}-restore --noflush`,
    );
    expect(await backend.audit(signal)).toMatch(/second writer.*10\.96\.0\.9/);
  });

  it('removes stale chains, and keeps one that a foreign rule refers to until it is free', async () => {
    const stale = [
      ':KUBE-SVC-OLD - [0:0]',
      ':KUBE-SEP-OLD - [0:0]',
      ':FOREIGN - [0:0]',
      '-A KUBE-SVC-OLD -j KUBE-SEP-OLD',
    ];
    const lines = [...stale, ':KUBE-SVC-HELD - [0:0]', '-A FOREIGN -j KUBE-SVC-HELD'].join('\n');
    await namespace.shell(
      `printf '*nat\n${lines}\nCOMMIT\n' | iptables-${variant}-restore --noflush`,
    );
    desired = nodeState(web);
    const backend = await backendOf();
    expect(await backend.sync(emptyGraph, emptyDelta, signal)).toMatchObject({ unprogrammed: [] });
    const nat = await save('nat');
    expect(nat).not.toContain('-OLD');
    expect(nat).toContain(':KUBE-SVC-HELD');
    expect(nat).toContain(web.args);
    await namespace.shell(`iptables-${variant} -t nat -F FOREIGN`);
    backend.invalidate();
    await backend.sync(emptyGraph, emptyDelta, signal);
    expect(await save('nat')).not.toContain('KUBE-SVC-HELD');
  });

  it.each([
    ['the tool', '-d 10.96.0.3/32 -m nosuchmatch -j RETURN'],
    ['the kernel', '-d 10.96.0.3/32 -j REJECT'],
  ])('leaves out a service whose rule %s refuses, and names it', async (_who, args) => {
    const bad = rule(args, 'bad');
    desired = nodeState(web, bad, api);
    const backend = await backendOf();
    const report = await backend.sync(emptyGraph, emptyDelta, signal);
    expect(report.unprogrammed.map(({ name }) => name)).toEqual(['default/bad']);
    const nat = await save('nat');
    expect(nat).toContain(web.args);
    expect(nat).toContain(api.args);
    expect(nat).not.toContain('PROBE');
    expect(await backend.audit(signal)).toBeUndefined();
    namespace.taken();
    const again = await backend.sync(emptyGraph, emptyDelta, signal);
    expect(again.unprogrammed).toEqual(report.unprogrammed);
    expect(namespace.taken()).toEqual([]);
    desired = nodeState(web, api);
    const healed = await backend.sync(emptyGraph, emptyDelta, signal);
    expect(healed.unprogrammed).toEqual([]);
  });

  it('keeps the members of a set over a restart and destroys sets that are not needed', async () => {
    const affinity = ipset('KUBE-AFF-A', 'hash:ip family inet timeout 10800');
    const use = rule('-m set --match-set KUBE-AFF-A src -j RETURN', 'web');
    desired = { ...nodeState(use), sets: new Map([[affinity.name, affinity]]) };
    await (await backendOf('one')).sync(emptyGraph, emptyDelta, signal);
    await namespace.shell(
      'ipset add KUBE-AFF-A 10.9.9.9; ipset create KUBE-AFF-OLD hash:ip family inet',
    );
    const backend = await backendOf('two');
    await backend.sync(emptyGraph, emptyDelta, signal);
    const sets = await namespace.shell('ipset list');
    expect(sets).toContain('10.9.9.9');
    expect(sets).not.toContain('KUBE-AFF-OLD');
    desired = nodeState(web);
    await backend.sync(emptyGraph, emptyDelta, signal);
    expect(await namespace.shell('ipset list -n')).toBe('');
  });

  it('leaves no good service out because a stranger took rules and sets away', async () => {
    const affinity = ipset('KUBE-AFF-A', 'hash:ip family inet timeout 10800');
    const use = rule('-m set --match-set KUBE-AFF-A src -j RETURN', 'web');
    const withSet = (...rules: Rule[]) => ({
      ...nodeState(...rules),
      sets: new Map([[affinity.name, affinity]]),
    });
    desired = withSet(use, web);
    const backend = await backendOf();
    await backend.sync(emptyGraph, emptyDelta, signal);
    const tool = `iptables-${variant}`;
    await namespace.shell(
      `for t in nat filter; do ${tool} -t $t -F; ${tool} -t $t -X; done; ipset destroy`,
    );
    desired = withSet(use, web, api);
    const report = await backend.sync(emptyGraph, emptyDelta, signal);
    expect(report).toMatchObject({ full: true, unprogrammed: [] });
    expect(await save('nat')).toContain(use.args);
    expect(await backend.audit(signal)).toBeUndefined();
  });

  it('works beside a foreign set of the same name and another type, and takes the name when it is free', async () => {
    const affinity = ipset('KUBE-AFF-A', 'hash:ip family inet timeout 10800');
    const hairpin = ipset('KUBE-HAIRPIN', 'hash:ip,port,ip family inet', [
      '10.1.0.1,tcp:80,10.1.0.1',
    ]);
    const use = rule('-m set --match-set KUBE-AFF-A src -j RETURN', 'web');
    await namespace.shell(
      `ipset create KUBE-AFF-A hash:net,port; ipset create KUBE-HAIRPIN hash:net; ` +
        `iptables-${variant} -N FOREIGN; iptables-${variant} -A FOREIGN -m set --match-set KUBE-AFF-A src,src -j RETURN`,
    );
    const sets = new Map([affinity, hairpin].map((set) => [set.name, set]));
    desired = { ...nodeState(use, web), sets };
    const backend = await backendOf();
    const report = await backend.sync(emptyGraph, emptyDelta, signal);
    expect(report).toMatchObject({ full: true, unprogrammed: [] });
    expect(await save('nat')).toContain(web.args);
    expect(await namespace.shell('ipset list KUBE-HAIRPIN')).toContain('10.1.0.1,tcp:80,10.1.0.1');
    expect(await namespace.shell('ipset list -t KUBE-AFF-A')).toContain('hash:net,port');
    await namespace.shell(`iptables-${variant} -F FOREIGN; iptables-${variant} -t nat -F`);
    backend.invalidate();
    await backend.sync(emptyGraph, emptyDelta, signal);
    expect(await namespace.shell('ipset list -t KUBE-AFF-A')).toContain('timeout 10800');
  });

  it('empties a shared chain of nobody else: a target of a jump that exists is left as it is', async () => {
    await namespace.shell(
      `iptables-${variant} -N KUBE-FIREWALL; iptables-${variant} -A KUBE-FIREWALL -j RETURN`,
    );
    const base = nodeState(web);
    const firewall = {
      table: 'filter',
      from: 'INPUT',
      to: chain('KUBE-FIREWALL', 'root').name,
      match: '',
    } as const;
    desired = { ...base, jumps: [...base.jumps, firewall] };
    await (await backendOf()).sync(emptyGraph, emptyDelta, signal);
    const filter = await save('filter');
    expect(filter).toContain('-A INPUT -j KUBE-FIREWALL');
    expect(filter).toContain('-A KUBE-FIREWALL -j RETURN');
  });

  it.each<[Family, string, Partial<Features>]>([
    ['ipv4', 'all features', {}],
    ['ipv6', 'all features', {}],
    ['ipv4', 'few features', { hairpin: 'rules', affinity: 'recent' }],
    ['ipv6', 'few features', { hairpin: 'ipset', affinity: 'recent', comments: 'none' }],
  ])(
    'agrees with the kernel about lowered graphs, rule by rule: %s with %s',
    async (family, _what, wanted) => {
      const [prefix, pod] = family === 'ipv4' ? ['10.96.0.', '10.1.0.'] : ['fd96::', 'fd01::'];
      const ports = Array.from({ length: 60 }, (_, i) => {
        const endpoints = Array.from({ length: i % 12 }, (_each, k) =>
          endpoint(`${family === 'ipv4' ? `${pod}${k + 1}` : `[${pod}${k + 1}]`}:8080`),
        );
        const service = `default/s${i}` as ServiceName;
        const clusterIP = `${prefix}${i + 10}`;
        const affinitySeconds = i % 7 === 0 ? 600 : undefined;
        return servicePort({
          service,
          clusterIP,
          nodePort: 30_000 + i,
          endpoints,
          affinitySeconds,
        });
      });
      const tools = await iptablesTools(namespace.tools, variant, family, signal);
      const parts = { ...(await port()), iptables: tools };
      const { features } = await inspectFeatures(parts, signal);
      const options = {
        masqueradeMark: 0x4000,
        localhostNodePorts: family === 'ipv4',
        conntrackBeLiberal: false,
      };
      const made = new Lowering({ features: { ...features, ...wanted }, ...options });
      const lowering: GraphLowering = {
        lower: (graph, delta) => (desired = made.lower(graph, delta)),
      };
      const backend = new IptablesBackend({
        ...parts,
        lowering,
        clock: systemClock,
        instanceId: 'one',
      });
      const compiler = new GraphCompiler();
      const node = nodeContext({ family, podDetector: { kind: 'none' }, serviceCidrs: [] });
      const sync = async (list: readonly ServicePort[], changed: readonly ServicePort[]) => {
        const keys = new Set(changed.map(({ key }) => key));
        const { graph, delta } = compiler.compile(byKey(list), keys, node);
        const report = await backend.sync(graph, delta, signal);
        expect(await backend.audit(signal)).toBeUndefined();
        const observed = await readTables(parts, signal);
        for (const table of ['filter', 'nat'] as const) {
          for (const each of desired.tables[table].values()) {
            const found = (observed[table].chains.get(each.name) ?? []).filter(
              (args) => !args.includes('switchyard generation'),
            );
            const ours = each.rules.map(({ args }) => args);
            const other = new PrintedRules().firstOther(each, ours, found);
            expect(other === undefined ? [] : [ours[other], found[other]]).toEqual([]);
          }
        }
        return report;
      };
      expect(await sync(ports, ports)).toMatchObject({ full: true, unprogrammed: [] });
      expect(await sync(ports.slice(1), ports.slice(0, 1))).toMatchObject({ full: false });
      const dump = async () =>
        (await namespace.shell(tools.save)).replaceAll(
          /^#.*| \[\d+:\d+\]|generation one \d+/gm,
          '',
        );
      const before = await dump();
      backend.invalidate();
      // What is there needs no writing: roots alone, for the generation.
      const roots = [...desired.tables.nat.values()].filter(({ role }) => role === 'root');
      const nat = roots.reduce((sum, { rules }) => sum + rules.length, 0);
      const again = await sync(ports.slice(1), []);
      expect(again).toMatchObject({ full: true, unprogrammed: [], rulesWritten: { nat } });
      expect((await dump()).split('\n').toSorted()).toEqual(before.split('\n').toSorted());
      await sync([], ports);
      expect(await dump()).not.toMatch(/^:KUBE-S(VC|EP)/m);
      expect(await namespace.shell('ipset list -n')).not.toContain('KUBE-AFF');
    },
  );

  it('probes features without leaving anything behind', async () => {
    const { features, missing } = await inspectFeatures(await port(), signal);
    expect(missing).toEqual([]);
    expect(features).toMatchObject({ hairpin: 'bpf', affinity: 'ipset', randomFully: true });
    expect(await save('nat')).not.toContain('KUBE');
    expect(await save('filter')).not.toContain('KUBE');
    expect(await namespace.shell('ipset list -n')).toBe('');
  });
});
