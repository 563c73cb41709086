import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseKeptPlaces } from '../../src/backends/userspace/state-file.ts';
import type { ListenerKey } from '../../src/relay/relay.ts';
import { eventually } from '../support/node-lab.ts';
import type { NodeLab } from '../support/node-lab.ts';
import { service, slices } from './contract-objects.ts';
import type { ServiceOptions } from './contract-objects.ts';

/** The flags of an agent in userspace mode that keeps its ports in the lab's folder. */
export function userspaceFlags(lab: NodeLab): readonly string[] {
  return [
    '--proxy-mode=userspace',
    '--userspace-workers=2',
    `--userspace-state-file=${join(lab.folder, 'run', 'userspace.json')}`,
    '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
    '--iptables-sync-period=1s',
    '--iptables-min-sync-period=10ms',
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

/**
 * A Service of TCP that pod-a serves, and whose connections are reset at once when they have to go. `portName`: what its port is
 * called.
 */
export function undrained(
  name: string,
  options: ServiceOptions,
  portName = 'tcp',
): readonly [object, ...object[]] {
  const made = service(name, { ...options, protocols: ['TCP'] });
  const { metadata } = made as { metadata: object };
  const annotations = { 'switchyard.io/drain-seconds': '0' };
  const objects = [
    { ...made, metadata: { ...metadata, annotations } },
    ...slices(name, ['pod-a'], undefined, ['TCP']),
  ];
  const text = JSON.stringify(objects).replaceAll('"name":"tcp"', `"name":"${portName}"`);
  return JSON.parse(text) as [object, ...object[]];
}
