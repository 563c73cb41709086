// What Debian's kernel has and other layers miss works in the guest: what the ipvs mode stands on (the kernel's modules,
// the batches of the tools, a virtual server on a dummy device that answers a real packet, what doctor finds of it), and SCTP in
// iptables mode.
import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemTools } from '../../src/host/run-tool.ts';
import { backendContract } from '../kernel/contract.ts';
import { iptablesContract } from '../kernel/iptables-contracts.ts';
import { NodeLab, lab4, lab6 } from '../support/node-lab.ts';

const schedulers = 'rr wrr lc wlc lblc lblcr sh dh sed nq mh ovf'.split(' ');
const modules = ['dummy', 'ip_set', 'ip_vs', ...schedulers.map((name) => `ip_vs_${name}`)];
const inGuest = process.env['SWITCHYARD_VM'] !== undefined;

/** The whole contract takes more than ten minutes in the guest. */
const some = {
  only: {
    reason: 'npm run test:kernel runs it; here with SWITCHYARD_VM_WHOLE=1',
    tests: ['sctp'],
  },
} as const;

interface Check {
  readonly id: string;
  readonly status: string;
  readonly text: string;
}

/** Runs a tool of the guest itself. */
async function run(tool: string, args: readonly string[]): Promise<string> {
  const options = { timeoutMs: 60_000, signal: new AbortController().signal };
  const { exitCode, stdout, stderr } = await systemTools.run(tool, args, options);
  if (exitCode !== 0) throw new Error(`${tool} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

describe.skipIf(!inGuest)('Debian’s kernel (needs the guest of npm run test:vm)', () => {
  let lab: NodeLab;
  beforeAll(async () => {
    lab = await NodeLab.create('nft');
    await lab.serveSctp();
  });
  afterAll(async () => lab?.close());

  describe('the ground of the ipvs mode', () => {
    test('the kernel has the modules, every scheduler among them', async () => {
      await run('modprobe', ['-a', ...modules]);
      const loaded = (await readFile('/proc/modules', 'utf8')).split('\n');
      const names = new Set(loaded.map((line) => line.split(' ')[0]));
      expect(modules.filter((name) => !names.has(name))).toEqual([]);
    });

    test('each scheduler is accepted for a virtual server', async () => {
      const lines = schedulers.map((name, i) => `-A -t 10.96.1.${i + 1}:80 -s ${name}`);
      await lab.feed('ipvsadm', ['--restore'], lines);
      const saved = await lab.onNode('ipvsadm', '--save', '--numeric');
      expect(saved.trim().split('\n').toSorted()).toEqual(lines.toSorted());
      await lab.onNode('ipvsadm', '--clear');
    });

    test('ipset restore and ip -batch take their batches', async () => {
      await lab.feed(
        'ipset',
        ['restore'],
        [
          'create TRY hash:ip,port family inet',
          'add TRY 10.96.0.1,tcp:80',
          'add TRY 10.96.0.1,sctp:80',
        ],
      );
      expect(await lab.onNode('ipset', 'list', 'TRY')).toContain('10.96.0.1,sctp:80');
      await lab.feed(
        'ip',
        ['-batch', '-'],
        [
          'link add try type dummy',
          'addr add 10.96.0.1/32 dev try',
          'addr add fd00:10:96::1/128 dev try',
        ],
      );
      const shown = await lab.onNode('ip', 'addr', 'show', 'dev', 'try');
      expect(shown).toContain('10.96.0.1/32');
      expect(shown).toContain('fd00:10:96::1/128');
      await lab.onNode('ip', 'link', 'del', 'try');
      await lab.onNode('ipset', 'destroy', 'TRY');
    });

    test.each([
      { family: 'IPv4', vip: '10.96.0.1', pod: lab4['pod-b'] },
      { family: 'IPv6', vip: 'fd00:10:96::1', pod: lab6['pod-b'] },
    ])('a virtual server on a dummy device answers over $family', async ({ vip, pod }) => {
      const [target, real, length] = vip.includes(':')
        ? [`[${vip}]:80`, `[${pod}]:8080`, 128]
        : [`${vip}:80`, `${pod}:8080`, 32];
      const protocols = { tcp: '-t', udp: '-u', sctp: '--sctp-service' } as const;
      await lab.feed(
        'ip',
        ['-batch', '-'],
        ['link add kube-ipvs0 type dummy', `addr add ${vip}/${length} dev kube-ipvs0`],
      );
      try {
        for (const proto of ['tcp', 'udp', 'sctp'] as const) {
          expect(await lab.ask('client', { to: vip, port: 80, proto })).not.toHaveProperty(
            'answeredBy',
          );
          await lab.feed(
            'ipvsadm',
            ['--restore'],
            [
              `-A ${protocols[proto]} ${target} -s rr`,
              `-a ${protocols[proto]} ${target} -r ${real} -m -w 1`,
            ],
          );
          expect(await lab.ask('client', { to: vip, port: 80, proto })).toMatchObject({
            answeredBy: 'pod-b',
          });
        }
      } finally {
        await lab.onNode('ipvsadm', '--clear');
        await lab.onNode('ip', 'link', 'del', 'kube-ipvs0');
      }
    });
  });

  test('switchyard doctor tries the ipvs mode, says that it could run, and leaves nothing behind', async () => {
    const hint = ['iptables', '-w', '-t', 'mangle'] as const;
    const state = async (): Promise<readonly string[]> => [
      await lab.onNode('ipvsadm', '--save', '-n'),
      await lab.onNode('ip', '-br', 'link'),
      await lab.onNode('ipset', 'list', '-name'),
      (await lab.onNode('iptables-save')).replaceAll(/^#.*$|\[\d+:\d+\]/gm, ''),
    ];
    // What a kubelet leaves: it tells which variant of the tools is the node's.
    await lab.onNode(...hint, '-N', 'KUBE-IPTABLES-HINT');
    const before = await state();
    const flags = [`--source=file:${lab.manifests}`, '--mode=ipvs', '--output=json'];
    const said = await lab.command('doctor', ...flags);
    expect(said.stderr).toBe('');
    const { checks } = JSON.parse(said.stdout) as { readonly checks: readonly Check[] };
    expect(checks.filter(({ status }) => status === 'failure')).toEqual([]);
    for (const id of ['feature.ipvs.kernel', 'feature.ipvs.ipv4', 'feature.ipvs.ipv6'])
      expect(checks.find((each) => each.id === id)).toMatchObject({ status: 'ok' });
    expect(said.status).toBe(0);
    expect(await state()).toEqual(before);
    await lab.onNode(...hint, '-X', 'KUBE-IPTABLES-HINT');
  });

  describe('iptables mode', () => {
    const isWhole = process.env['SWITCHYARD_VM_WHOLE'] === '1';
    backendContract({ ...iptablesContract('nft'), ...(isWhole ? {} : some) }, () => lab);
  });
});
