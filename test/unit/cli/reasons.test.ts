import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommand } from '../../support/command-run.ts';
import { nodes, rawEndpoint, rawService, rawSlice, zones } from '../../support/scene.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'offline-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

/** Runs a command on manifests of these objects, as seen from node-1 in zone a. */
async function run(objects: readonly unknown[], command: string, ...args: readonly string[]) {
  const node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-1', labels: { 'topology.kubernetes.io/zone': 'a' } },
    status: { addresses: [{ type: 'InternalIP', address: '192.168.0.2' }] },
  };
  const file = join(directory, 'objects.json');
  await writeFile(
    file,
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [node, ...objects] }),
  );
  const argv = ['node', 'switchyard', command, ...args, '-f', file, '--cluster-cidr=10.244.0.0/16'];
  const ended = await runCommand(argv);
  return { ...ended, stderr: ended.stderr.replaceAll(file, 'objects.json') };
}

const slice = (endpoints: readonly unknown[]) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  ...(rawSlice(endpoints) as object),
});

const claiming = (name: string, clusterIP: string) =>
  rawService({ clusterIP, externalIPs: ['203.0.113.9'] }, { metadata: { name } });

describe('explain', () => {
  it('says that hints were ignored, and why', async () => {
    const endpoints = [
      rawEndpoint('here', '10.244.1.1', { ready: true }, { ...zones('b'), ...nodes() }),
      rawEndpoint('elsewhere', '10.244.2.2'),
    ];
    const { stdout } = await run(
      [rawService(), slice(endpoints)],
      'explain',
      'pod',
      'ns1/web:http',
    );
    expect(stdout).toContain('choice: 1 of 2 ready endpoints have no zone hint');
  });

  const label = 'service.kubernetes.io/service-proxy-name';
  it.each([
    ['without a cluster IP', { clusterIP: undefined }, {}, 'no cluster IP'],
    ['of the other family', { clusterIP: 'fd00::1' }, {}, 'no IPv4 cluster IP'],
    ['of type ExternalName', { type: 'ExternalName' }, {}, 'type ExternalName has no cluster IP'],
    ['that is headless', { clusterIP: 'None' }, {}, 'headless (clusterIP None)'],
    [
      'of another proxy',
      {},
      { labels: { [label]: 'other' } },
      `its label ${label} leaves it to others`,
    ],
  ])('says why a Service %s has no rules', async (_, spec, metadata, reason) => {
    const { status, stderr } = await run(
      [rawService(spec, { metadata })],
      'explain',
      'pod',
      'ns1/web:http',
      '--ip-family=ipv4',
    );
    expect(status).toBe(2);
    expect(stderr).toContain(`error: Service ns1/web has no rules: ${reason}`);
  });
});

describe('render', () => {
  it('warns of conflicts, and says what decided', async () => {
    const services = [claiming('web', '10.96.0.1'), claiming('api', '10.96.0.2')];
    const { status, stderr } = await run(services, 'render', '--ip-family=ipv4');
    expect(status).toBe(0);
    expect(stderr).toBe(
      'warning: ns1/web:http wants 203.0.113.9/TCP/80, which ns1/api:http holds: the age of both is unknown, and its name comes first\n',
    );
  });

  it('leaves out an object whose name would add rules', async () => {
    const name = 'x" -j REJECT\n-A INPUT -p tcp -m comment --comment "y';
    const { status, stdout, stderr } = await run(
      [rawService({}, { metadata: { name } })],
      'render',
      '--ip-family=ipv4',
    );
    expect(status).toBe(0);
    expect(stdout).not.toContain('-A INPUT');
    expect(stderr).toContain('metadata.name: expected at most 253 of a-z');
  });
});
