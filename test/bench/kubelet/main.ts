// `npm run bench:kubelet`: `switchyard kubelet` (the bundle) on a node of a sandbox with real containerd, beside a real control plane on
// the same cores. Prints Markdown tables with what must be reached; progress goes to stderr. About eight minutes.
// usage: npm run bench:kubelet [-- --only=burst,rest,paced] [--pods=100] [--paced=100] [--settle-seconds=20]
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { ControlPlane } from '../../cluster/control-plane.ts';
import { controlPlaneVersion } from '../../cluster/controlplane/build.ts';
import { inSandbox, whyNoSandbox } from '../../kubelet/sandbox.ts';
import { load, machine, version } from '../machine.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'burst,rest,paced' },
    /** Pods of the one apply. */
    pods: { type: 'string', default: '100' },
    /** Pods that are made at one a second. */
    paced: { type: 'string', default: '100' },
    /** For how long all rests before memory is read. */
    'settle-seconds': { type: 'string', default: '20' },
    help: { type: 'boolean', default: false },
  },
});

process.exitCode = await main();

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(
      'usage: npm run bench:kubelet [-- --only=burst,rest,paced --pods=100 --paced=100 --settle-seconds=20]\n',
    );
    return 0;
  }
  const blocked = whyNoSandbox() ?? ControlPlane.blocked();
  if (blocked !== undefined) {
    say(blocked);
    return 1;
  }
  const containerd = version('containerd', '--version').split(' ')[2] ?? 'unknown';
  process.stdout.write(
    `${machine(`Kubernetes ${controlPlaneVersion}`, `containerd ${containerd}`)}\n`,
  );
  const given = [values.only, values.pods, values.paced, values['settle-seconds']];
  const inside = [process.execPath, join(import.meta.dirname, 'in-sandbox.ts'), ...given];
  const { status, cgroupsLeft } = await inSandbox(inside, { apart: true });
  say(`done; load average ${load()}`);
  if (cgroupsLeft.length > 0) say(`cgroups left behind: ${cgroupsLeft.join(' ')}`);
  return status;
}

function say(text: string): void {
  process.stderr.write(`bench:kubelet: ${text}\n`);
}
