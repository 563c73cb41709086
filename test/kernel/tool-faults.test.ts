import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Answer, Question } from '../../src/cli/demo/actor.ts';
import { proxyCommand } from '../support/agent-process.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { FaultyTools } from '../support/faulty-tools.ts';
import { NodeLab, eventually } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';

/**
 * The one job: a tool that fails in any way is named in the log with what to do, shows in health and metrics, is run
 * again, and costs no good service its rules. The real agent, with wrappers before its tools.
 */

const able = process.platform === 'linux' && process.getuid?.() === 0;
/** The shortest health time-out and check of the rules: 2 × the sync period, and the sync period. */
const flags = [
  '--cluster-cidr=10.244.0.0/16',
  '--conntrack-max-per-core=0',
  '--iptables-sync-period=2s',
  '--iptables-min-sync-period=10ms',
];
const restore = 'iptables-legacy-restore';
const patienceMs = 40_000;

function at(host: number, extra: Partial<Question> = {}): Question {
  return { to: `10.96.0.${host}`, port: 80, timeoutMs: 500, ...extra };
}

async function answers(lab: NodeLab, host: number, pod: string): Promise<void> {
  await eventually(
    async () => lab.probe('client', at(host)),
    (seen) => who(seen) === pod,
    patienceMs,
  );
}

function who(answer: Answer): string {
  return typeof answer === 'string' ? answer : answer.answeredBy;
}

async function says(agent: AgentProcess, what: RegExp): Promise<void> {
  await eventually(
    async () => agent.log,
    (log) => what.test(log),
    patienceMs,
  );
}

async function healthz(lab: NodeLab, status: number): Promise<void> {
  await eventually(
    async () => (await lab.get('node', 'http://127.0.0.1:10256/healthz')).status,
    (seen) => seen === status,
    patienceMs,
  );
}

async function metric(lab: NodeLab, name: string): Promise<number> {
  return series(lab, `${name}{ip_family="IPv4"}`);
}

async function series(lab: NodeLab, name: string): Promise<number> {
  const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
  const line = body.split('\n').find((each) => each.startsWith(`${name} `));
  return Number(line?.split(' ')[1] ?? Number.NaN);
}

describe.skipIf(!able)('an agent whose tools fail while it runs (needs root)', () => {
  let lab: NodeLab;
  let tools: FaultyTools;
  let agent: AgentProcess;

  beforeAll(async () => {
    lab = await NodeLab.create('legacy');
    tools = await FaultyTools.install(lab, { ipv4Only: true });
    await lab.write('node', nodeObject());
    await lab.write('web', service('web', { host: 10 }), ...slices('web', ['pod-a']));
    agent = lab.startAgent(flags, tools.folder);
    await answers(lab, 10, 'pod-a');
  });

  // nothing that a test has done to a tool, and nothing it has left undone, meets the next one
  afterEach(async () => {
    await tools.heal();
    await healthz(lab, 200);
    expect(who(await lab.ask('client', at(10)))).toBe('pod-a');
  });

  afterAll(async () => {
    await lab.close();
  });

  const refused =
    'line=$(printf %s "$input" | grep -n "10\\.96\\.0\\.2[01]/32" | head -n 1 | cut -d: -f1)';
  test.each([
    [
      'as the legacy tools say it, at the COMMIT',
      20,
      'line=$(printf %s "$input" | grep -n ^COMMIT | head -n 1 | cut -d: -f1); echo "iptables-restore: line $line failed" >&2; exit 1',
    ],
    [
      'as the nft tools say it, at the rule',
      21,
      'echo "iptables-restore v1.8.9 (nf_tables): " >&2; echo "line $line: RULE_APPEND failed (No such file or directory): rule in chain KUBE-SERVICES" >&2; exit 4',
    ],
  ])('one rule is refused, %s', async (_how, host, refusal) => {
    const name = 'kubeproxy_sync_proxy_rules_iptables_';
    const before = await metric(lab, `${name}partial_restore_failures_total`);
    await tools.meet(restore, { before: `${refused}; [ -z "$line" ] || { ${refusal}; }` });
    const bad = `bad${host}`;
    const good = `good${host}`;
    await lab.write(
      'refused',
      service(bad, { host }),
      ...slices(bad, ['pod-b']),
      service(good, { host: host + 10 }),
      ...slices(good, ['pod-c']),
    );
    await answers(lab, host + 10, 'pod-c');
    await says(agent, new RegExp(`default/${bad}:tcp is not programmed`));
    expect(agent.log).toMatch(/iptables-legacy-restore refused the rules.*line/);
    expect(await metric(lab, `${name}partial_restore_failures_total`)).toBe(before + 1);
    expect(await metric(lab, `${name}restore_failures_total`)).toBeGreaterThan(before + 1);
    expect(await metric(lab, 'switchyard_services_not_programmed')).toBe(2);
    await tools.heal();
    // other rules are worth a try at once
    await lab.write('refused', service(bad, { host }), ...slices(bad, ['pod-c']));
    await answers(lab, host, 'pod-c');
    expect(await metric(lab, 'switchyard_services_not_programmed')).toBe(0);
  });

  test('iptables-restore hangs: unhealthy meanwhile; killed: named, and run again', async () => {
    await tools.meet(
      `${restore}: write rules`,
      { before: 'echo $$ >$state/hanging; sleep 600; exit 1' },
      { once: true },
    );
    await lab.write('hang', service('hang', { host: 40 }), ...slices('hang', ['pod-b']));
    await healthz(lab, 503);
    expect(who(await lab.ask('client', at(10)))).toBe('pod-a');
    // as the kernel does when memory runs out
    process.kill(-Number(await tools.read('hanging')), 'SIGKILL');
    await answers(lab, 40, 'pod-b');
    expect(agent.log).toMatch(/sync failed: iptables-legacy-restore was ended by SIGKILL/);
    expect(agent.log).toContain('memory ran out');
  });

  test('iptables-restore is killed when it has written one of two tables', async () => {
    await tools.meet(
      `${restore}: write rules`,
      { before: 'printf %s "$input" | sed /^COMMIT/q | "$real" "$@"; kill -KILL $$' },
      { once: true },
    );
    const type = 'LoadBalancer';
    const ingress = ['203.0.113.9'];
    await lab.write(
      'half',
      service('half', { host: 41, type, ingress, sourceRanges: ['192.0.2.0/24'] }),
      ...slices('half', ['pod-b']),
    );
    await answers(lab, 41, 'pod-b');
    expect(await tools.acted()).toBe(true);
    const answer = await lab.ask('client', { to: '203.0.113.9', port: 80 });
    expect(who(answer)).toBe('pod-b');
  });

  test('the xtables lock is held for longer than the wait: the holder is named', async () => {
    const holder = await holdLock(lab);
    await lab.write('lock', service('lock', { host: 42 }), ...slices('lock', ['pod-b']));
    await says(
      agent,
      new RegExp(
        `sync failed: ${restore} waited 5 s for the xtables lock .*which process ${holder.pid} \\(flock\\) holds`,
      ),
    );
    expect(who(await lab.ask('client', at(10)))).toBe('pod-a');
    await letGo(holder);
    await answers(lab, 42, 'pod-b');
    expect(await series(lab, 'switchyard_xtables_lock_failures_total')).toBeGreaterThan(0);
    expect(await series(lab, 'switchyard_xtables_lock_wait_seconds_sum')).toBeGreaterThan(1);
    const run = `switchyard_tool_runs_total{tool="${restore}",result="ok"}`;
    expect(await series(lab, run)).toBeGreaterThan(0);
  });

  test('ipset fails: services without affinity are served, the others named, and served when it works again', async () => {
    await tools.meet('ipset: make sets', {
      before:
        'echo "ipset v7.17: Error in line 1: Kernel error received: Out of memory" >&2; exit 1',
    });
    await lab.write(
      'sets',
      service('sticky', { host: 43, affinitySeconds: 600 }),
      ...slices('sticky', ['pod-b']),
      service('plain', { host: 44 }),
      ...slices('plain', ['pod-c']),
    );
    await answers(lab, 44, 'pod-c');
    await says(agent, /default\/sticky:tcp is not programmed/);
    expect(agent.log).toMatch(
      /sync failed: ipset restore failed at .*create -exist KUBE-AFF-.*Out of memory/,
    );
    await healthz(lab, 503);
    await tools.heal();
    await answers(lab, 43, 'pod-b');
  });

  test('conntrack fails: rules are written, and the stale entries go within a sync period after it works again', async () => {
    const dns = at(45, { proto: 'udp', fromPort: 5353 });
    await lab.write('dns', service('dns', { host: 45 }), ...slices('dns', ['pod-b']));
    await answers(lab, 45, 'pod-b');
    expect(who(await lab.ask('client', dns))).toBe('pod-b');
    await tools.meet('conntrack', {
      before:
        'echo "conntrack v1.4.7 (conntrack-tools): Operation failed: no buffer space" >&2; exit 1',
    });
    await lab.write('dns', service('dns', { host: 45 }), ...slices('dns', ['pod-c']));
    await answers(lab, 45, 'pod-c');
    await says(agent, /cannot remove stale connection tracking entries.*no buffer space/);
    expect(who(await lab.ask('client', dns))).toBe('pod-b');
    await tools.heal();
    await eventually(
      async () => who(await lab.ask('client', dns)),
      (pod) => pod === 'pod-c',
      patienceMs,
    );
  });

  test.each([
    [
      'fails',
      'echo "iptables-save: Unable to fork" >&2; exit 1',
      'failed: iptables-save: Unable to fork',
    ],
    ['ends half way', '"$real" "$@" | head -n 12; exit 0', "ended before the table's end"],
  ])(
    'iptables-save %s: the check is said to be impossible, and no rule is written for it',
    async (_how, before, words) => {
      await tools.taken();
      await tools.meet('iptables-legacy-save', { before });
      await says(
        agent,
        new RegExp(`cannot check the rules: iptables-legacy-save -t filter ${words}`),
      );
      expect((await tools.taken()).filter((step) => step.endsWith('write rules'))).toEqual([]);
      expect(agent.log).not.toContain('rules were changed by others');
    },
  );
});

describe.skipIf(!able)(
  'an agent whose tools are not there, or locked, at its start (needs root)',
  () => {
    let lab: NodeLab;
    let sbin = '';

    beforeAll(async () => {
      lab = await NodeLab.create('legacy');
      await lab.write('node', nodeObject());
      await lab.write('web', service('web', { host: 10 }), ...slices('web', ['pod-a']));
      sbin = join(lab.folder, 'sbin');
      await mkdir(sbin);
    });

    afterAll(async () => {
      await lab.close();
    });

    /** An agent that sees the lab's folder in place of /usr/sbin. */
    function startHere(): AgentProcess {
      const script = `mount --bind ${sbin} /usr/sbin && exec "$@"`;
      return lab.startClusterAgent(
        [`--source=file:${lab.manifests}`, '--hostname-override=node-a', ...flags],
        ['unshare', '--mount', 'sh', '-c', script, 'sh', ...proxyCommand()],
      );
    }

    test('iptables is missing: it ends with status 1, the name and the cure', async () => {
      const agent = startHere();
      expect(await agent.ended(), agent.log).toBe(1);
      expect(agent.log).toMatch(
        /mode iptables cannot be used: none of iptables, iptables-nft, iptables-legacy/,
      );
      expect(agent.log).toContain('apt-get install iptables');
    });

    test('it comes after a lock of another program, and iptables-restore disappears and comes back', async () => {
      for (const tool of await readdir('/usr/sbin')) {
        if (/^(?:xtables|ip6?tables|ipset|conntrack|ip$)/.test(tool))
          await cp(join('/usr/sbin', tool), join(sbin, tool), { verbatimSymlinks: true });
      }
      const holder = await holdLock(lab);
      const agent = startHere();
      await says(
        agent,
        new RegExp(`cannot start yet: .*xtables lock.*process ${holder.pid} \\(flock\\)`),
      );
      await letGo(holder);
      await answers(lab, 10, 'pod-a');
      await rm(join(sbin, restore));
      await lab.write('later', service('later', { host: 11 }), ...slices('later', ['pod-b']));
      await says(agent, new RegExp(`sync failed: ${restore} is not on this machine`));
      expect(agent.log).toContain('apt-get install iptables');
      await healthz(lab, 503);
      expect(who(await lab.ask('client', at(10)))).toBe('pod-a');
      await cp(join('/usr/sbin', restore), join(sbin, restore), { verbatimSymlinks: true });
      await answers(lab, 11, 'pod-b');
      await healthz(lab, 200);
      await agent.stop();
    });
  },
);

/** Another program that holds the lab's xtables lock, until it is told to let go. */
async function holdLock(lab: NodeLab): Promise<ChildProcess> {
  const holder = spawn('flock', [join(lab.folder, 'xtables.lock'), 'sh', '-c', 'echo held; cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  return holder;
}

async function letGo(holder: ChildProcess): Promise<void> {
  const ended = once(holder, 'exit');
  holder.stdin?.end();
  await ended;
}
