import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../support/command-run.ts';

const web = `
apiVersion: v1
kind: Node
metadata: {name: node-a}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.0.5], nodeName: node-a}]
`;

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-offline-'));
  await mkdir(join(folder, 'empty'));
  await writeFile(join(folder, 'web.yaml'), web);
  await writeFile(join(folder, 'bad.yaml'), web.replace('10.96.0.10', '10.96.0.999'));
  await writeFile(join(folder, 'slice.yaml'), web.replace('10.244.0.5', '10.244.0.five'));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function render(argv: readonly string[], stdin = '') {
  const inFolder = argv.map((arg) => arg.replace('@', `${folder}/`));
  const words = ['node', 'switchyard', 'render', '--ip-family=ipv4', ...inFolder];
  const run = await runCommand(words, { stdin });
  return { ...run, stderr: run.stderr.replaceAll(`${folder}/`, '@') };
}

describe('manifests of a command line', () => {
  it('come from files and directories, and are rendered without a word', async () => {
    const { status, stdout, stderr } = await render(['-f', '@web.yaml']);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toContain('-d 10.96.0.10/32');
  });

  it('come from the standard input with -f -', async () => {
    const { stdout, stderr } = await render(['-f', '-'], web);
    expect(stderr).toBe('');
    expect(stdout).toContain('-d 10.96.0.10/32');
  });

  it.each([['-f'], ['']])('that cannot be read are a usage error (%s)', async (flag) => {
    const paths = [flag, '@nowhere.yaml', flag, '@web.yaml'].filter((arg) => arg !== '');
    const { status, stdout, stderr } = await render(paths);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain('error: -f @nowhere.yaml: cannot be read: ENOENT');
    expect(stderr).toContain('hint: name a file or directory');
  });

  it.each([
    ['an empty directory', ['-f', '@empty'], 'no Service to serve in @empty'],
    ['an empty standard input', ['-f', '-'], 'no Service to serve in -'],
    [
      'a node nobody knows',
      ['-f', '@web.yaml', '--node-name=nod-a'],
      '--node-name: the manifests have no Node nod-a, and no endpoint on it; did you mean node-a?',
    ],
    [
      'an address that is none, with file and document',
      ['-f', '@bad.yaml'],
      '@bad.yaml: document 2: Service default/web: clusterIP "10.96.0.999" is not an IP address',
    ],
    [
      'an endpoint that is none, with file and document',
      ['-f', '@slice.yaml'],
      '@slice.yaml: document 3: EndpointSlice default/web-1: endpoints[0].addresses[0]: "10.244.0.five" is not',
    ],
  ])('warns of %s', async (_, argv, warning) => {
    const { status, stderr } = await render(argv);
    expect(status).toBe(0);
    expect(stderr).toContain(`warning: ${warning}`);
  });

  it('are looked for where npm was called, not in the checkout', () => {
    const checkout = join(import.meta.dirname, '../../..');
    const args = [
      '--prefix',
      checkout,
      'run',
      '-s',
      'switchyard',
      '--',
      'render',
      '-f',
      'web.yaml',
    ];
    const rules = execFileSync('npm', args, { cwd: folder, encoding: 'utf8' });
    expect(rules).toContain('-d 10.96.0.10/32');
  });
});
