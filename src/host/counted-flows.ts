import { SwitchyardError } from '../error.ts';
import type { Family } from '../ip/address.ts';
import type { ToolRunner } from './run-tool.ts';

/** A tracked connection or flow to an address that was translated, and the bytes it has carried so far. */
export interface CountedFlow {
  /** Tells it from all others that are tracked at the same time. */
  readonly id: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  /** Where its client sent it. */
  readonly destination: string;
  readonly destinationPort: number;
  /** Bytes of the client's direction. */
  readonly received: number;
  readonly sent: number;
}

/** A table of a million entries. */
const timeoutMs = 60_000;

/** Tells `onFlow` of each translated flow of a family whose bytes are counted; no more than a piece of the table is held at once. */
export async function listCountedFlows(
  tools: ToolRunner,
  family: Family,
  onFlow: (flow: CountedFlow) => void,
  signal: AbortSignal,
): Promise<void> {
  let rest = '';
  const onOutput = (text: string): void => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const flow = parseFlow(line);
      if (flow !== undefined) onFlow(flow);
    }
  };
  const args = ['-L', '-f', family, '--dst-nat', '-o', 'extended,id'];
  const { exitCode, stderr } = await tools.run('conntrack', args, { timeoutMs, signal, onOutput });
  if (exitCode === 0) return;
  throw new SwitchyardError('tool', `conntrack -L failed: ${stderr.trim()}`, { retryable: true });
}

const line =
  /^\S+\s+\d+ (tcp|udp|sctp)\s.*?src=\S+ dst=(\S+) sport=(\d+) dport=(\d+) packets=\d+ bytes=(\d+) (?:\[UNREPLIED\] )?src=\S+ dst=\S+ sport=\d+ dport=\d+ packets=\d+ bytes=(\d+) .*\bid=(\d+)/;
const protocols = { tcp: 'TCP', udp: 'UDP', sctp: 'SCTP' } as const;

/** Reads a line of `conntrack -L -o extended,id`; one without bytes counts for nothing. */
export function parseFlow(text: string): CountedFlow | undefined {
  const [, protocol, destination, sourcePort, port, received, sent, id] = line.exec(text) ?? [];
  if (protocol === undefined || destination === undefined) return undefined;
  return {
    // The kernel's number is a hash of 32 bits.
    id: Number(id) * 65_536 + Number(sourcePort),
    protocol: protocols[protocol as keyof typeof protocols],
    destination,
    destinationPort: Number(port),
    received: Number(received),
    sent: Number(sent),
  };
}
