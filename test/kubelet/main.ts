// Runs vitest, the demo of a cluster, or any command, in a sandbox (sandbox.ts).
// usage: node test/kubelet/main.ts test [VITEST ARGUMENTS] | demo [--keep] | run COMMAND…
import { join } from 'node:path';
import process from 'node:process';
import { runClusterDemo } from './demo/start.ts';
import { inSandbox, whyNoSandbox } from './sandbox.ts';

const root = join(import.meta.dirname, '../..');

process.exitCode = await main(process.argv.slice(2));

async function main([what, ...rest]: readonly string[]): Promise<number> {
  if (what === 'demo') return runClusterDemo(rest);
  const blocked = whyNoSandbox();
  if (blocked !== undefined) {
    process.stderr.write(`kubelet tests: ${blocked}\n`);
    return 1;
  }
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const command =
    what === 'run' ? rest : [process.execPath, vitest, 'run', '--project', 'kubelet', ...rest];
  const { status, cgroupsLeft } = await inSandbox(command);
  if (cgroupsLeft.length === 0) return status;
  process.stderr.write(`kubelet tests: cgroups left behind: ${cgroupsLeft.join(' ')}\n`);
  return 1;
}
