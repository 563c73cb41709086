import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseKeptPlaces } from '../../src/backends/userspace/state-file.ts';
import type { ListenerKey } from '../../src/relay/relay.ts';
import { eventually } from '../support/node-lab.ts';
import type { NodeLab } from '../support/node-lab.ts';

/** The flags of an agent in userspace mode that keeps its ports in the lab's folder. */
export function userspaceFlags(lab: NodeLab): readonly string[] {
  return [
    '--proxy-mode=userspace',
    '--userspace-workers=2',
    `--userspace-state-file=${join(lab.folder, 'run', 'userspace.json')}`,
    '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
    '--iptables-sync-period=1s',
    '--iptables-min-sync-period=0s',
    '--conntrack-max-per-core=0',
  ];
}

/** The port of a listener: `default/web:tcp/TCP cluster ipv4`. */
export async function listenerOf(lab: NodeLab, key: string): Promise<number> {
  const look = async (): Promise<number | undefined> => {
    const path = join(lab.folder, 'run', 'userspace.json');
    const answer = parseKeptPlaces(await readFile(path, 'utf8').catch(() => ''));
    return 'kept' in answer ? answer.kept.ports.get(key as ListenerKey) : undefined;
  };
  return (await eventually(look, (port) => port !== undefined)) ?? 0;
}
