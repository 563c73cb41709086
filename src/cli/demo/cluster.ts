import { access } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { SwitchyardError } from '../../error.ts';
import { runInForeground } from '../../host/foreground.ts';

/**
 * The demo with a cluster: its control plane and nodes are those of the tests, which only a source tree has. Gives the exit status;
 * `folder`: where this program lies.
 */
export async function runClusterDemo(
  { folder, keep, colour }: { folder: string; keep: boolean; colour: boolean },
  signal: AbortSignal,
): Promise<number> {
  const program = join(folder, '../../test/kubelet/main.ts');
  try {
    await access(program);
  } catch (cause) {
    throw new SwitchyardError('missing', 'the cluster of the demo is part of the source tree', {
      cause,
      hint: 'in a checkout: npm run demo -- --cluster',
    });
  }
  const flags = [...(keep ? ['--keep'] : []), ...(colour ? ['--color'] : [])];
  return runInForeground(process.execPath, [program, 'demo', ...flags], signal);
}
