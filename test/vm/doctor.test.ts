// What `switchyard doctor` says of ipvs mode where the kernel has it: before an agent, beside one, and that it changes nothing.
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeObject, service, slices } from '../kernel/contract-objects.ts';
import { NodeLab, eventually } from '../support/node-lab.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;

interface Told {
  readonly id: string;
  readonly status: string;
  readonly text: string;
}

interface Report {
  readonly checks: readonly Told[];
  readonly modes: readonly {
    readonly mode: string;
    readonly status: string;
    readonly problems: readonly Told[];
  }[];
}

/** What keeps some mode from running. */
function failures({ checks }: Report): readonly string[] {
  return checks
    .filter(({ status }) => status === 'failure')
    .map(({ id, text }) => `${id}: ${text}`);
}

describe.skipIf(!inGuest)('switchyard doctor (needs IPVS in the kernel)', () => {
  let lab: NodeLab;

  beforeAll(async () => {
    lab = await NodeLab.create('nft');
    await lab.onNode('iptables-nft', '-w', '-t', 'mangle', '-N', 'KUBE-IPTABLES-HINT');
    await lab.write('node', nodeObject());
    await lab.write('web', service('web', { host: 10 }), ...slices('web', ['pod-a']));
  });

  afterAll(async () => {
    await lab.close();
  });

  async function doctor(): Promise<Report & { readonly exit: number }> {
    const flags = [`--source=file:${lab.manifests}`, '--cluster-cidr=10.244.0.0/16'];
    const run = await lab.command('doctor', ...flags, '--mode=ipvs', '--output=json');
    expect(run.stderr).toBe('');
    return { ...(JSON.parse(run.stdout) as Report), exit: run.status };
  }

  async function state(): Promise<string> {
    const [servers, links, sets, rules] = await Promise.all([
      lab.onNode('ipvsadm', '-Sn'),
      lab.onNode('ip', '-br', 'link'),
      lab.onNode('ipset', 'list', '-n'),
      lab.onNode('iptables-nft-save'),
    ]);
    return [servers, links, sets, rules.replaceAll(/^#.*$|\[\d+:\d+\]/gm, '')].join('\n');
  }

  test('says that ipvs mode could run, by trying it, and leaves nothing behind', async () => {
    await state(); // a first look makes tables
    const before = await state();
    const found = await doctor();
    expect(failures(found)).toEqual([]);
    expect(found.exit).toBe(0);
    for (const id of [
      'feature.ipvs.kernel',
      'feature.ipvs.ipv4',
      'feature.ipvs.ipv6',
      'kernel.ipvs',
    ])
      expect(found.checks.find((each) => each.id === id)).toMatchObject({ status: 'ok' });
    const verdict = found.modes.find(({ mode }) => mode === 'ipvs');
    expect(verdict?.problems.filter(({ status }) => status === 'failure')).toEqual([]);
    expect(await state()).toBe(before);
  });

  test('names the agent that runs, and takes what it has for its own', async () => {
    const agent = lab.startAgent(['--mode=ipvs', '--cluster-cidr=10.244.0.0/16']);
    try {
      await eventually(
        async () => lab.probe('client', { to: '10.96.0.10', port: 80, timeoutMs: 500 }),
        (answer) => typeof answer !== 'string',
        120_000,
      );
      const before = await state();
      const found = await doctor();
      expect(await state()).toBe(before);
      const told = found.checks.map(({ text }) => text).join('\n');
      expect(told).toContain(String(agent.pid));
      expect(failures(found).filter((each) => !each.startsWith('port.'))).toEqual([]);
    } finally {
      await agent.stop();
    }
  });
});
