import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startFakeApiServer } from '../../support/fake-api-server.ts';
import type { FakeApiServer } from '../../support/fake-api-server.ts';
import { runCommand } from '../../support/command-run.ts';

/** Job: commands that work on manifests take the objects that a cluster has now. */
describe('a cluster instead of manifests', () => {
  let server: FakeApiServer;

  beforeEach(async () => {
    server = await startFakeApiServer();
    server.put('/api/v1/nodes', { metadata: { name: 'node-a' } });
    server.put('/api/v1/services', {
      metadata: { name: 'web', namespace: 'default', uid: '1' },
      spec: {
        clusterIP: '10.96.0.10',
        clusterIPs: ['10.96.0.10'],
        ipFamilies: ['IPv4'],
        ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      },
    });
    server.put('/apis/discovery.k8s.io/v1/endpointslices', {
      metadata: {
        name: 'web-1',
        namespace: 'default',
        labels: { 'kubernetes.io/service-name': 'web' },
      },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: [{ addresses: ['10.244.0.5'], conditions: { ready: true } }],
    });
  });
  afterEach(async () => {
    await server.close();
  });

  const run = async (...argv: readonly string[]) =>
    runCommand(['node', 'switchyard', ...argv, '--source=kubernetes', `--master=${server.url}`]);

  it('is what explain and render go by', async () => {
    const explained = await run('explain', 'outside', 'web:http');
    expect(explained).toMatchObject({ status: 0, stderr: '' });
    expect(explained.stdout).toContain('10.244.0.5:8080');
    const rendered = await run('render', '--ip-family=ipv4');
    expect(rendered.stdout).toContain('-j DNAT --to-destination 10.244.0.5:8080');
  });

  it('is not mixed with manifests', async () => {
    const { status, stderr } = await run('render', '-f', 'examples/');
    expect(status).toBe(2);
    expect(stderr).toContain('-f and --source: expected one of them');
  });
});
