import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What has gone over an interface since it was made. */
export interface InterfaceUse {
  readonly name: string;
  readonly receivedBytes: number;
  readonly receivedPackets: number;
  readonly receiveErrors: number;
  readonly receiveDrops: number;
  readonly sentBytes: number;
  readonly sentPackets: number;
  readonly sendErrors: number;
  readonly sendDrops: number;
}

/** The interfaces of the network that a process is in, but for the loopback; undefined: there is no such process. */
export async function readNetworkUse(
  pid: number | 'self',
  proc = '/proc',
): Promise<readonly InterfaceUse[] | undefined> {
  const text = await readFile(join(proc, String(pid), 'net/dev'), 'utf8').catch(() => undefined);
  return text?.split('\n').flatMap((line) => interfaceOf(line) ?? []);
}

/** `  eth0: 1500 10 0 0 0 0 0 0 900 9 0 0 0 0 0 0`: received, and from the ninth on sent. */
function interfaceOf(line: string): InterfaceUse | undefined {
  const [, name = '', rest = ''] = /^\s*([^\s:]+):(.+)$/.exec(line) ?? [];
  if (name === '' || name === 'lo') return undefined;
  const counters = rest.trim().split(/\s+/);
  const at = (place: number): number => Number(counters[place] ?? 0);
  return {
    name,
    receivedBytes: at(0),
    receivedPackets: at(1),
    receiveErrors: at(2),
    receiveDrops: at(3),
    sentBytes: at(8),
    sentPackets: at(9),
    sendErrors: at(10),
    sendDrops: at(11),
  };
}
