import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../support/command-run.ts';
import { parseUserspace } from '../../support/userspace-simulator/parse.ts';

// `render --mode=userspace`: its sections and flags. What is in them is the rule book's.

const objects = join(import.meta.dirname, '../../../rules/22-dual-stack/objects.yaml');

async function run(...args: readonly string[]) {
  const words = ['render', '-f', objects, '--node-name=node-a', '--mode=userspace', ...args];
  return runCommand(['node', 'switchyard', ...words]);
}

async function rendered(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run(...args);
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

describe('render --mode=userspace', () => {
  it('prints both families one after the other, with what loads each section', async () => {
    const [v4 = '', v6 = '', ...more] = (await rendered()).split(/\n(?=# switchyard)/);
    expect(more).toEqual([]);
    expect(v4.match(/^## .*$/gm)).toEqual([
      '## listeners: switchyard',
      '## sets: ipset restore',
      '## rules: iptables-restore --noflush',
    ]);
    expect(v6).toContain('## rules: ip6tables-restore --noflush');
    const { listeners } = parseUserspace(v6);
    expect(listeners.length).toBeGreaterThan(0);
    expect(listeners.every(({ address }) => address.includes(':'))).toBe(true);
  });

  it('takes times and the range of ports from the flags of the proxy', async () => {
    const flags = ['--proxy-port-range=4000+9', '--udp-timeout=1s', '--userspace-drain-timeout=0'];
    const text = await rendered('--ip-family=ipv4', ...flags);
    const [first] = parseUserspace(text).listeners;
    expect(first).toMatchObject({ port: 4000, routes: [{ how: 'in turns, drained for 0 s' }] });
  });

  it('without portals prints one text for both families, and no rule', async () => {
    const text = await rendered('--userspace-portals=none', '--userspace-port-offset=1000');
    expect(text.match(/^## .*$/gm)).toEqual(['## places', '## listeners: switchyard']);
    expect(text).toMatch(
      /^listen TCP 127\.\d+\.\d+\.\d+:80 \(or 1080\) for default\/web:http\/TCP at/m,
    );
    expect(new Set(text.match(/^listen \S+ \S+/gm)).size).toBe(text.match(/^listen /gm)?.length);
  });

  it.each([
    ['--proxy-port-range=80-70', /--proxy-port-range: "80-70" is no range/],
    ['--features=guard=range', /--features=guard=range needs --proxy-port-range/],
    ['--userspace-portals=nft', /--userspace-portals/],
  ])('refuses %s', async (flag, words) => {
    const { status, stderr } = await run(flag);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(words);
  });
});
