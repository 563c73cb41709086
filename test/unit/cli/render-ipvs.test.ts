import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../support/command-run.ts';
import { parseIpvs } from '../../support/ipvs-simulator/parse.ts';

// `render --mode=ipvs`: sections for the tools they name. What is in them is the rule book's.

const objects = join(import.meta.dirname, '../../../rules/22-dual-stack/objects.yaml');

async function rendered(...args: readonly string[]): Promise<string> {
  const words = ['render', '-f', objects, '--node-name=node-a', '--mode=ipvs', ...args];
  const { status, stdout, stderr } = await runCommand(['node', 'switchyard', ...words]);
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

describe('render --mode=ipvs', () => {
  it('gives each tool what it loads, in the order in which it is loaded', async () => {
    const text = await rendered('--ip-family=ipv4');
    expect(text.match(/^## .*$/gm)).toEqual([
      '## sets: ipset restore',
      '## rules: iptables-restore --noflush',
      '## virtual servers: ipvsadm --restore',
      '## addresses: ip -batch -',
    ]);
    const { servers, addresses } = parseIpvs(text);
    expect(servers.size).toBeGreaterThan(0);
    expect(addresses.length).toBeGreaterThan(0);
  });

  it('prints both families one after the other', async () => {
    const [v4 = '', v6 = '', ...more] = (await rendered()).split(/\n(?=# switchyard)/);
    expect(more).toEqual([]);
    expect(v4).toContain('## rules: iptables-restore --noflush');
    expect(v6).toContain('## rules: ip6tables-restore --noflush');
    expect(parseIpvs(v6).addresses.every((address) => address.includes(':'))).toBe(true);
  });

  it('knows hairpins by a set where there is no bpf', async () => {
    for (const features of ['hairpin=ipset', 'hairpin=rules']) {
      const text = await rendered('--ip-family=ipv4', `--features=${features}`);
      expect(text).toContain('# features: hairpin=ipset randomFully=true\n');
      expect(text).toContain('--match-set KUBE-IPVS-HAIRPIN-1 dst,dst,src');
    }
  });
});

const neighbours = [
  ...['node-a', 'node-b'].map((name, i) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    status: { addresses: [{ type: 'InternalIP', address: `192.0.2.${i + 1}` }] },
  })),
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web' },
    spec: {
      clusterIP: '10.96.0.10',
      externalIPs: ['192.0.2.1', '192.0.2.2', '203.0.113.1'],
      ports: [{ port: 80 }],
    },
  },
];

describe('render --mode=ipvs, with other Nodes among the manifests,', () => {
  it.each([
    ['node-a', '192.0.2.2 is an address of Node node-b'],
    ['node-b', '192.0.2.1 is an address of Node node-a'],
  ])('seen from %s refuses the other’s address and serves its own', async (name, reason) => {
    const stdin = neighbours.map((object) => JSON.stringify(object)).join('\n---\n');
    const args = ['render', '-f', '-', `--node-name=${name}`, '--mode=ipvs', '--ip-family=ipv4'];
    const { stdout } = await runCommand(['node', 'switchyard', ...args], { stdin });
    const [refused = ''] = reason.split(' ');
    expect(stdout.match(/^# refused: .*$/gm)).toEqual([`# refused: ${refused}: ${reason}`]);
    const bound = parseIpvs(stdout).addresses;
    expect(bound.toSorted()).toEqual(['10.96.0.10', '203.0.113.1']);
  });
});
