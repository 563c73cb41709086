// Its one job: kube-proxy's two nfacct metrics count what they say, with real packets, and the objects go with the clean-up.
import process from 'node:process';
import { afterEach, describe, expect, test } from 'vitest';
import { systemTools } from '../../src/host/run-tool.ts';
import { NodeLab, eventually, lab4 } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';

const { signal } = new AbortController();

/** Why packets cannot be counted here, or undefined. */
async function blocked(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root';
  const command = ['--net', 'nfacct', 'add', 'ct_state_invalid_dropped_pkts'];
  try {
    const { exitCode, stderr } = await systemTools.run('unshare', command, {
      timeoutMs: 10_000,
      signal,
    });
    return exitCode === 0
      ? undefined
      : `needs the tool nfacct and nfnetlink_acct: ${stderr.trim()}`;
  } catch {
    return 'needs unshare';
  }
}

const why = await blocked();
if (why !== undefined) console.warn(`skipped: counting packets in nfacct objects ${why}`);

/** From the lab's client: segments with flags that no TCP has. */
const nonsense = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
for _ in range(4):
    s.sendto(bytes([48, 57, 31, 144, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x3F, 0, 1, 18, 52, 0, 0]), ('${lab4['pod-a']}', 0))
`;

describe.skipIf(why !== undefined)('packets counted in nfacct objects', () => {
  let lab: NodeLab;

  afterEach(async () => {
    await lab.close();
  });

  async function counted(): Promise<readonly string[]> {
    const { body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
    return body.split('\n').filter((line) => line.startsWith('kubeproxy_iptables_'));
  }

  test.each(['legacy', 'nft'] as const)('%s tools', async (variant) => {
    lab = await NodeLab.create(variant);
    await lab.write('node', nodeObject());
    const web = service('web', { host: 10, type: 'NodePort', nodePort: 30_080 });
    await lab.write('web', web, ...slices('web', ['pod-a']));
    const flags = ['--cluster-cidr=10.244.0.0/16', '--conntrack-max-per-core=0', '-v=2'];
    const periods = ['--iptables-sync-period=1s', '--iptables-min-sync-period=0s'];
    const tools = await lab.countedTools();
    const start = () => lab.startAgent([...flags, ...periods], tools.folder);
    const first = start();
    await eventually(
      async () => lab.probe('client', { to: '10.96.0.10', port: 80, timeoutMs: 300 }),
      (seen) => typeof seen !== 'string',
    );
    const python = ['netns', 'exec', lab.namespace('client'), 'python3', '-c', nonsense];
    await systemTools.run('ip', python, { timeoutMs: 10_000, signal });
    const atLoopback = { to: '127.0.0.1', port: 30_080 } as const;
    for (let times = 0; times < 3; times++) {
      expect(await lab.ask('node', atLoopback)).toMatchObject({ answeredBy: 'pod-a' });
      // Neither of these came in at loopback.
      await lab.ask('client', { ...atLoopback, to: lab4.node });
      await lab.ask('node', { to: '10.96.0.10', port: 80 });
    }
    const expected = [
      'kubeproxy_iptables_ct_state_invalid_dropped_packets_total 4',
      'kubeproxy_iptables_localhost_nodeports_accepted_packets_total 3',
    ];
    expect(await counted(), first.log).toEqual(expected);
    expect(await first.stop()).toBe(0);
    // The next agent finds the objects and the rules in them, and takes both for what they are.
    const second = start();
    await eventually(
      async () => second.log,
      (log) => log.includes('first rules written'),
    );
    expect(await counted(), second.log).toEqual(expected);
    const rules = await lab.onNode('iptables-save');
    const looks = async (): Promise<number> =>
      (await tools.runs()).filter((run) => /^iptables\S*-save/.test(run)).length;
    const enough = (await looks()) + 8;
    await eventually(looks, (count) => count >= enough, 60_000);
    expect(await lab.onNode('iptables-save', '-t', 'filter')).toContain(
      'ct_state_invalid_dropped_pkts',
    );
    expect(withoutTimes(await lab.onNode('iptables-save'))).toBe(withoutTimes(rules));
    expect(second.log).not.toContain('changed by others');
    expect(await second.stop()).toBe(0);
    const { status, stdout } = await lab.command('cleanup', '--state-file=');
    expect(status).toBe(0);
    expect(stdout).toContain('nfacct object localhost_nps_accepted_pkts');
    expect((await lab.onNode('nfacct', 'list')).trim()).toBe('');
  });
});

function withoutTimes(dump: string): string {
  return dump.replaceAll(/^#.*$/gm, '').replaceAll(/\[\d+:\d+\]/g, '');
}
