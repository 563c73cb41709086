// `npm test`: the unit layer, then the kernel layer where this machine allows it. What cannot run is listed
// with its reason at the end, so that a green run never hides a skipped layer.
import { spawnSync } from 'node:child_process';
import { toolPath } from '../src/host/tool-path.ts';

interface Layer {
  readonly name: string;
  readonly what: string;
  /** Why the layer cannot run here; undefined when it can. */
  readonly blocked: () => string | undefined;
}

const layers: readonly Layer[] = [
  { name: 'unit', what: 'pure functions and properties', blocked: () => undefined },
  { name: 'relay', what: 'sockets in a network namespace of their own', blocked: relayBlocked },
  { name: 'kernel', what: 'real packets in network namespaces', blocked: kernelBlocked },
];

process.env['PATH'] = toolPath(process.env['PATH']);
const skipped: string[] = [];
let failed = false;
for (const layer of layers) {
  const reason = layer.blocked();
  if (reason !== undefined) {
    skipped.push(`${layer.name} (${layer.what}): ${reason}`);
    continue;
  }
  process.stdout.write(`\n── ${layer.name}: ${layer.what}\n`);
  failed =
    run(['npm', 'run', '-s', `test:${layer.name}`, '--', ...process.argv.slice(2)]) || failed;
}
for (const line of skipped) process.stdout.write(`skipped: ${line}\n`);
process.exit(failed ? 1 : 0);

/** Answers true where the command failed. */
function run([command = '', ...args]: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'inherit' }).status !== 0;
}

function relayBlocked(): string | undefined {
  const { status, error } = spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up']);
  if (error !== undefined) return 'needs unshare (util-linux) and ip (iproute2) on the PATH';
  return status === 0 ? undefined : 'needs root (a network namespace): run `sudo npm test`';
}

function kernelBlocked(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root (network namespaces): run `sudo npm test`';
  const probe = spawnSync('unshare', ['--net', 'iptables', '-S'], { encoding: 'utf8' });
  if (probe.error) return 'needs unshare (util-linux) and iptables on the PATH';
  if (probe.status !== 0)
    return `iptables does not work in a new namespace: ${probe.stderr.trim()}`;
  return undefined;
}
