import type { NodeMachine } from './node-machine.ts';

/** For a proxy on a node of the sandbox: limits of the machine are not its to change, and nothing of it stands where another node's would look. */
export function proxyFlags({ folder }: NodeMachine): readonly string[] {
  return [
    '--cluster-cidr=10.244.0.0/16',
    '--conntrack-max-per-core=0',
    '--conntrack-tcp-timeout-established=0s',
    '--conntrack-tcp-timeout-close-wait=0s',
    '--oom-score-adj=0',
    `--state-file=${folder}/proxy.json`,
    `--userspace-state-file=${folder}/ports.json`,
    `--admin-socket=${folder}/proxy.sock`,
  ];
}
