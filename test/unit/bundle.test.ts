import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');

/** The program as it is shipped: one file, copied to where there are no node_modules. */
describe('the bundle', () => {
  let folder = '';
  let bundle = '';

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'switchyard-bundle-'));
    bundle = join(folder, 'switchyard.mjs');
    execFileSync(process.execPath, ['scripts/build.ts', bundle], { cwd: root });
  }, 60_000);

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  const run = (script: string, ...args: readonly string[]): string =>
    execFileSync(process.execPath, [script, ...args], {
      cwd: folder,
      encoding: 'utf8',
      stdio: 'pipe',
    });

  const scenario = join(root, 'rules/12-external-policy-local');

  it('renders what the sources render', () => {
    const args = ['render', '-f', scenario, '--cluster-cidr=10.244.0.0/16', '--ip-family=ipv4'];
    expect(run(bundle, ...args)).toBe(run(join(root, 'src/cli/main.ts'), ...args));
  });

  it('holds nothing of the Kubernetes client but what loads a kubeconfig', () => {
    expect(statSync(bundle).size).toBeLessThan(8 * 2 ** 20); // 21 MB with its API classes
  });

  it('draws: Graphviz is inside', () => {
    expect(run(bundle, 'render', '-f', scenario, '--ip-family=ipv4', '--output=svg')).toMatch(
      /^<svg|<\?xml/,
    );
  });

  it('behaves as the proxy when it is called kube-proxy', () => {
    const link = join(folder, 'kube-proxy');
    symlinkSync(bundle, link);
    expect(run(link, '--help')).toContain('--iptables-masquerade-bit');
  });
});
