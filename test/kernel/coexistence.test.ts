/** Other programs that write rules on the node: both sides work, and neither touches the other's rules. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Question } from '../../src/cli/demo/actor.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { dumpNode, withoutKubeRules } from '../support/node-dump.ts';
import { NodeLab, eventually, lab4 } from '../support/node-lab.ts';
import type { Actor } from '../support/node-lab.ts';
import { RequestStream } from '../support/request-stream.ts';
import { nodeObject, service, slices } from './contract-objects.ts';
import { neighbours } from './neighbours.ts';
import type { Neighbour } from './neighbours.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
const web: readonly Question[] = [
  { to: '10.96.0.10', port: 80 },
  { to: '10.96.0.10', port: 80, proto: 'udp' },
  { to: lab4.node, port: 30010 },
];
const askers: readonly Actor[] = ['client', 'pod-a', 'node'];

/** Requests that never stop leave the agent little of a small machine. */
const deadlineMs = 40_000;

/** filter, nat and mangle. */
const tablesLookedAt = 3;

/** What kube-proxy does in each of its syncs. */
const syncOfKubeProxy = `
printf '%s\\n' '*nat' ':KUBE-SERVICES - [0:0]' '-A KUBE-SERVICES -d 10.96.0.99/32 -j RETURN' COMMIT |
  iptables-restore -w 5 --noflush
`;

const flushAll = ['filter', 'nat']
  .map((table) => `iptables -w -t ${table} -F\niptables -w -t ${table} -X`)
  .join('\n');

describe.skipIf(!able).each(['nft', 'legacy'] as const)(
  'beside other programs, %s tools (needs root: it makes network namespaces)',
  (variant) => {
    let lab: NodeLab;
    /** Holds a character for each table the agent has read. */
    let looksFile = '';

    beforeEach(async () => {
      lab = await NodeLab.create(variant);
      looksFile = join(lab.folder, 'looks');
      await countedSave();
      await lab.write('node', nodeObject());
      await publish('web', 10);
      // The service that NodeLocal DNSCache stands in for has no pods: only the cache can answer.
      const dns = service('dns', { host: 53 }) as { spec: { ports: { port: number }[] } };
      for (const port of dns.spec.ports) port.port = 53;
      await lab.write('dns', dns);
    });

    afterEach(async () => {
      await lab.close();
    });

    test.each(neighbours.map((each) => [each.name, each] as const))(
      '%s: its rules stay byte for byte, its traffic and that of services works',
      async (_, neighbour) => {
        await lab.onNode('sh', '-ec', neighbour.script);
        await neighbour.serve?.(lab);
        const before = await dumpNode(lab);
        await checkOwn(neighbour);
        let agent = startAgent();
        await checkServices();
        await checkOwn(neighbour);
        expect(withoutKubeRules(await dumpNode(lab))).toEqual(before.rules);

        await agent.stop();
        const streams = askers.map((asker) => new RequestStream(lab, asker, web, 1));
        agent = startAgent();
        await publish('more', 11);
        const isIn = await answered('client', { to: '10.96.0.11', port: 80 }).catch(String);
        if (neighbour.reload !== undefined) await lab.onNode('sh', '-ec', neighbour.reload);
        const isLookedAt = await audited(2).catch(String);
        const answers = await Promise.all(streams.map(async (stream) => stream.stop()));
        expect({ isIn, isLookedAt }, agent.log).toEqual({});
        for (const each of answers) expect(Object.keys(each)).toEqual(['pod-a', 'pod-b']);
        await checkOwn(neighbour);
        expect(withoutKubeRules(await dumpNode(lab))).toEqual(before.rules);
        expect(agent.log).not.toContain('rules were changed by others');

        await agent.stop();
        const run = await lab.command('cleanup', `--state-file=${lab.stateFile}`);
        expect(run).toMatchObject({ status: 0, stderr: '' });
        expect(await dumpNode(lab)).toEqual(before);
        await checkOwn(neighbour);
      },
      120_000,
    );

    test('a firewall that flushes everything: our rules come back, its own stay', async () => {
      const site = neighbours.find(({ name }) => name === 'a firewall that reloads');
      if (site === undefined) throw new Error('no such neighbour');
      await lab.onNode('sh', '-ec', site.script);
      await site.serve?.(lab);
      const before = await dumpNode(lab);
      const agent = startAgent();
      await checkServices();
      await lab.onNode('sh', '-ec', `${flushAll}\n${site.script}`);
      await checkServices();
      await checkOwn(site);
      expect(withoutKubeRules(await dumpNode(lab))).toEqual(before.rules);
      expect(agent.log).toContain('rules were changed by others');
      await agent.stop();
    });

    test('a second service proxy is named, and services work all the same', async () => {
      const first = startAgent();
      await checkServices();
      const second = startAgent(['--healthz-bind-address=', '--metrics-bind-address=']);
      const both = () => `${first.log}\n${second.log}`;
      await eventually(
        async () => both(),
        (said) => /a second writer: another Switchyard \(instance \w+\)/.test(said),
      );
      await second.stop();
      await checkServices();
      await eventually(
        async () => {
          await lab.onNode('sh', '-ec', syncOfKubeProxy);
          return first.log;
        },
        (said) => said.includes('is a kube-proxy running on this node?'),
      );
      await checkServices();
      await first.stop();
    });

    /** The tool by which the agent reads rules, in a folder that comes first. */
    async function countedSave(): Promise<void> {
      const tool = `iptables-${variant}-save`;
      const real = (await lab.onNode('sh', '-c', `command -v ${tool}`)).trim();
      await mkdir(join(lab.folder, 'counted'));
      const script = `#!/bin/sh\nprintf . >> ${looksFile}\nexec ${real} "$@"\n`;
      await writeFile(join(lab.folder, 'counted', tool), script, { mode: 0o755 });
    }

    function startAgent(more: readonly string[] = []): AgentProcess {
      const flags = [
        '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
        '--iptables-sync-period=1s',
        '--iptables-min-sync-period=10ms',
        '--conntrack-max-per-core=0',
        `--state-file=${lab.stateFile}`,
        ...more,
      ];
      return lab.startAgent(flags, join(lab.folder, 'counted'));
    }

    async function publish(name: string, host: number): Promise<void> {
      const options = { host, type: 'NodePort', nodePort: 30000 + host } as const;
      await lab.write(name, service(name, options), ...slices(name, ['pod-a', 'pod-b']));
    }

    async function answered(asker: Actor, question: Question): Promise<void> {
      await eventually(
        async () => lab.probe(asker, { timeoutMs: 300, ...question }),
        (seen) => typeof seen !== 'string',
        deadlineMs,
      );
    }

    async function checkServices(): Promise<void> {
      for (const asker of askers) for (const question of web) await answered(asker, question);
    }

    async function checkOwn({ own }: Neighbour): Promise<void> {
      for (const { actor, question, answer } of own) {
        const seen = await lab.ask(actor, question);
        expect({ actor, question, seen }).toMatchObject({ actor, question, seen: answer });
      }
    }

    /** Waits until the agent has looked at all rules so many times more. */
    async function audited(times: number): Promise<void> {
      const enough = (await looks()) + times * tablesLookedAt + tablesLookedAt - 1;
      await eventually(looks, (count) => count >= enough, deadlineMs);
    }

    async function looks(): Promise<number> {
      return (await readFile(looksFile, 'utf8')).length;
    }
  },
);
