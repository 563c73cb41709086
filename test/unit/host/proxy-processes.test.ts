import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findProxyProcesses, proxyKind } from '../../../src/host/proxy-processes.ts';

describe('the service proxies on a node', () => {
  it.each<[string, 'Switchyard' | 'kube-proxy' | undefined]>([
    ['/usr/local/bin/kube-proxy --config=/var/lib/kube-proxy/config.conf', 'kube-proxy'],
    ['/hyperkube kube-proxy --v=2', 'kube-proxy'],
    ['node /opt/switchyard.mjs proxy --mode=iptables', 'Switchyard'],
    ['/usr/bin/node src/cli/main.ts proxy', 'Switchyard'],
    ['/usr/local/bin/switchyard proxy', 'Switchyard'],
    ['/usr/bin/node /usr/local/bin/kube-proxy --config=c.yaml', 'Switchyard'],
    ['node --max-old-space-size=256 --enable-source-maps /opt/switchyard.mjs proxy', 'Switchyard'],
    ['node -r ./hook.cjs --import ./hook.mjs src/cli/main.ts proxy', 'Switchyard'],
    ['node --disable-warning DEP0040 -- /usr/local/bin/switchyard proxy', 'Switchyard'],
    ['node --inspect /usr/local/bin/kube-proxy --config=c.yaml', 'Switchyard'],
    ['kube-proxy /opt/switchyard.mjs --config=c.yaml', 'Switchyard'],
    ['kube-proxy /opt/switchyard.mjs --write-config-to=c.yaml', undefined],
    ['/usr/local/bin/kube-proxy --version=raw', undefined],
    ['node --title kube server.js kube-proxy', undefined],
    ['node --max-old-space-size=256 /opt/switchyard.mjs cleanup', undefined],
    ['node -e 0 kube-proxy', undefined],
    ['node --inspect', undefined],
    ['/usr/local/bin/kube-proxy --cleanup', undefined],
    ['/usr/local/bin/kube-proxy --version', undefined],
    ['node /opt/switchyard.mjs cleanup', undefined],
    ['node /opt/switchyard.mjs proxy --init-only', undefined],
    ['node server.js proxy', undefined],
    ['grep kube-proxy', undefined],
    ['tail -f /var/log/kube-proxy.log', undefined],
    ['', undefined],
  ])('"%s" is %s', (line, kind) => {
    expect(proxyKind(line.split(' '))).toBe(kind);
  });

  it('are those of the same network namespace, and never the asking process', async () => {
    const proc = await mkdtemp(join(tmpdir(), 'switchyard-proc-'));
    const add = async (pid: number, network: string): Promise<void> => {
      await mkdir(join(proc, `${pid}/ns`), { recursive: true });
      await symlink(network, join(proc, `${pid}/ns/net`));
      await writeFile(join(proc, `${pid}/cmdline`), '/bin/kube-proxy\0--v=2\0');
    };
    await add(1, 'net:[1]');
    await add(20, 'net:[2]');
    await add(300, 'net:[1]');
    await mkdir(join(proc, '400'));
    await mkdir(join(proc, 'sys'));
    try {
      expect(await findProxyProcesses(proc, 300)).toEqual([{ pid: 1, kind: 'kube-proxy' }]);
    } finally {
      await rm(proc, { recursive: true });
    }
  });
});
