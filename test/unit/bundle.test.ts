import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
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

  // V8 keeps the source for as long as the agent runs, and two bytes a character if one of them needs it.
  it('is small, and ASCII alone', () => {
    const bytes = readFileSync(bundle);
    expect(bytes.length).toBeLessThan(4.25 * 2 ** 20);
    expect(bytes.findIndex((byte) => byte > 127)).toBe(-1);
  });

  it('loads no fetch of Node’s own, which would stay in memory', () => {
    const loads = 'process.moduleLoadList.some((name) => name.endsWith("deps/undici/undici"))';
    const hook = `data:text/javascript,process.on("exit",()=>console.log("loaded:",${loads}))`;
    const args = ['--import', hook, bundle, 'version'];
    const said = execFileSync(process.execPath, args, { encoding: 'utf8', stdio: 'pipe' });
    expect(said).toContain('loaded: false');
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
    const named = { argv0: 'kube-proxy', encoding: 'utf8', stdio: 'pipe' } as const;
    const help = execFileSync(process.execPath, [bundle, '--help'], named);
    expect(help).toContain('--iptables-masquerade-bit');
  });
});
