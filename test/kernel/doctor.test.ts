/** `switchyard doctor` on real nodes: it names real ailments, it sees an agent at work, and it changes nothing. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dumpNode } from '../support/node-dump.ts';
import { NodeLab, eventually } from '../support/node-lab.ts';
import { service, slices } from './contract-objects.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;

interface Told {
  readonly id: string;
  readonly status: string;
  readonly text: string;
  readonly cure?: string;
}

interface Json {
  readonly status: string;
  readonly checks: readonly Told[];
  readonly modes: readonly {
    readonly mode: string;
    readonly status: string;
    readonly problems: readonly Told[];
  }[];
}

describe.skipIf(!able).each(['nft', 'legacy'] as const)(
  'switchyard doctor, %s tools (needs root: it makes network namespaces)',
  (variant) => {
    let lab: NodeLab;
    let children: ChildProcess[] = [];

    beforeEach(async () => {
      lab = await NodeLab.create(variant);
      children = [];
      // Both variants are there on most machines: the hint says which one this node uses.
      await lab.onNode(`iptables-${variant}`, '-w', '-t', 'mangle', '-N', 'KUBE-IPTABLES-HINT');
    });

    afterEach(async () => {
      for (const child of children) await ended(child);
      await lab.close();
    });

    async function doctor(...flags: readonly string[]): Promise<Json & { readonly exit: number }> {
      const source = `--source=file:${lab.manifests}`;
      const run = await lab.command(
        'doctor',
        source,
        '--cluster-cidr=10.244.0.0/16',
        '--output=json',
        ...flags,
      );
      expect(run.stderr).toBe('');
      return { ...(JSON.parse(run.stdout) as Json), exit: run.status };
    }

    /** A program that stays, until the test is over; it has begun when it says something. */
    async function begin(program: string, ...args: readonly string[]): Promise<ChildProcess> {
      const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      children.push(child);
      await once(child.stdout, 'data');
      return child;
    }

    test('nothing is changed, and what rules need is found by trying it', async () => {
      // the dump asks the legacy tools, which makes their tables: only a second one shows what is there
      await everythingOf(lab);
      const before = await everythingOf(lab);
      const found = await doctor('--mode=ipvs');
      expect(await everythingOf(lab)).toEqual(before);
      expect(told(found, 'variant.choice')?.text).toContain('KUBE-IPTABLES-HINT');
      const { checks } = await doctor();
      for (const family of ['ipv4', 'ipv6']) {
        const feature = told({ ...found, checks }, `feature.iptables.${family}`);
        expect(feature).toMatchObject({ status: 'ok' });
        expect(feature?.text).toContain('affinity by ipset');
      }
      expect(await everythingOf(lab)).toEqual(before);
    });

    test('of a sound node it says that iptables mode could run', async () => {
      const found = await doctor();
      expect(found.checks.filter(({ status }) => status === 'failure')).toEqual([]);
      expect(found.exit).toBe(0);
      const verdict = found.modes.find(({ mode }) => mode === 'iptables');
      expect(verdict?.problems.filter(({ status }) => status === 'failure')).toEqual([]);
      expect(told(found, 'port.healthz')?.text).toContain('is free');
      expect(told(found, 'lock.holder')?.text).toContain('nobody holds');
    });

    test('a dropping FORWARD chain, a held lock, a busy port and chains of others are named', async () => {
      const iptables = async (...args: readonly string[]): Promise<string> =>
        lab.onNode(`iptables-${variant}`, '-w', ...args);
      await iptables('-P', 'FORWARD', 'DROP');
      await iptables('-N', 'DOCKER-USER');
      await iptables('-t', 'nat', '-N', 'KUBE-SERVICES');
      await iptables('-t', 'nat', '-A', 'KUBE-SERVICES', '-d', '10.96.0.1', '-j', 'RETURN');
      await lab.onNode('sysctl', '-qw', 'net.ipv4.ip_forward=0');
      const lock = join(lab.folder, 'xtables.lock');
      const holder = await begin('flock', lock, 'sh', '-c', 'echo held; exec cat');
      const inNode = ['netns', 'exec', lab.namespace('node')];
      const listen = `require('net').createServer().listen(10256, '0.0.0.0', () => console.log('up'))`;
      const server = await begin('ip', ...inNode, process.execPath, '-e', listen);
      const found = await doctor();
      expect(found.exit).toBe(1);
      expect(told(found, 'forward.ipv4')).toMatchObject({
        status: 'warning',
        text: expect.stringContaining('DROP, as Docker sets it'),
        cure: expect.stringContaining(
          `iptables-${variant} -w -A FORWARD -s 10.244.0.0/16 -j ACCEPT`,
        ),
      });
      expect(told(found, 'lock.holder')).toMatchObject({
        status: 'warning',
        text: `process ${holder.pid} (flock) holds ${lock}`,
      });
      expect(told(found, 'port.healthz')).toMatchObject({
        status: 'failure',
        text: expect.stringContaining(`taken by process ${server.pid} (`),
      });
      expect(told(found, 'writer.docker')?.text).toContain('chain DOCKER-USER of filter');
      expect(told(found, 'writer.kube-proxy')).toMatchObject({
        status: 'warning',
        text: expect.stringContaining(`ipv4, ${variant}`),
      });
      expect(told(found, 'sysctl.net.ipv4.ip_forward')).toMatchObject({
        status: 'failure',
        cure: expect.stringContaining('sysctl -w net.ipv4.ip_forward=1'),
      });
      const text = await lab.command('doctor', `--source=file:${lab.manifests}`, '--quiet');
      expect(text.status).toBe(1);
      expect(text.stdout).toMatch(/^✗ port\.healthz +0\.0\.0\.0:10256 is taken by process/m);
      expect(text.stdout).not.toMatch(/^✓ kernel/m);
    });

    test('an agent at work is no ailment, and rules of the other variant are', async () => {
      await lab.write('web', service('web', { host: 10 }), ...slices('web', ['pod-a']));
      const agent = lab.startAgent([
        '--cluster-cidr=10.244.0.0/16',
        '--conntrack-max-per-core=0',
        `--state-file=${lab.stateFile}`,
      ]);
      await eventually(
        async () => lab.probe('client', { to: '10.96.0.10', port: 80, timeoutMs: 200 }),
        (seen) => typeof seen !== 'string',
      );
      const beside = await doctor();
      expect(told(beside, 'writer.switchyard')?.text).toMatch(
        /^Switchyard runs here \(process \d+\)$/,
      );
      expect(told(beside, 'writer.kube-proxy')).toMatchObject({ status: 'ok' });
      expect(told(beside, 'port.healthz')?.text).toContain('answered by Switchyard');
      expect(beside.exit).toBe(0);
      const other = variant === 'nft' ? 'legacy' : 'nft';
      await lab.onNode(`iptables-${other}`, '-w', '-t', 'nat', '-N', 'KUBE-SERVICES');
      await lab.onNode(
        `iptables-${other}`,
        '-w',
        '-t',
        'nat',
        '-A',
        'KUBE-SERVICES',
        '-j',
        'RETURN',
      );
      const both = await doctor('--only=variant,port');
      expect(both.exit).toBe(1);
      expect(told(both, 'variant.other')).toMatchObject({
        status: 'failure',
        text: expect.stringContaining(`in force in the ${other} variant too`),
      });
      expect(both.checks.every(({ id }) => /^(variant|port)\./.test(id))).toBe(true);
      await agent.stop();
    });

    test('whoever is not root is told what cannot be seen', async () => {
      const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
      const args = ['doctor', `--source=file:${lab.manifests}`, '--output=json'];
      const run = await lab.tryOnNode(
        ...nobody,
        process.execPath,
        join(import.meta.dirname, '../../src/cli/main.ts'),
        ...args,
      );
      const found = JSON.parse(run.stdout) as Json;
      expect(told(found, 'privileges.rights')).toMatchObject({ status: 'warning' });
      expect(told(found, 'variant.choice')).toMatchObject({ status: 'warning' });
      expect(found.modes.find(({ mode }) => mode === 'userspace-without-portals')).toMatchObject({
        status: 'ok',
      });
    });
  },
);

function told({ checks }: Json, id: string): Told | undefined {
  return checks.find((each) => each.id === id);
}

/** All that a command might leave on a node. */
async function everythingOf(lab: NodeLab): Promise<object> {
  return {
    ...(await dumpNode(lab)),
    nft: (await lab.onNode('nft', 'list', 'ruleset')).replaceAll(/packets \d+ bytes \d+/g, ''),
    links: (await lab.onNode('ip', '-o', 'link')).split('\n').length,
    legacy: await lab.onNode('cat', '/proc/net/ip_tables_names', '/proc/net/ip6_tables_names'),
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
