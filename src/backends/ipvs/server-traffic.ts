import { SwitchyardError } from '../../error.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import type { Traffic, TrafficSink } from '../../telemetry/traffic-tally.ts';
import type { Family } from '../../ip/address.ts';
import type { Protocol } from '../../services/service-port.ts';
import { parseTextPlace } from './kernel-table.ts';
import { virtualServerKey } from './servers.ts';
import type { IpvsState, VirtualServerKey } from './state.ts';

/** The tool asks the kernel once for each virtual server. */
const timeoutMs = 300_000;

/**
 * Adds up what the kernel's virtual servers have counted, of both families at once. What they had when they were first looked at
 * is of an earlier run; one that comes later begins with nothing, and so does one that goes and comes again.
 */
export class ServerTraffic {
  readonly name = 'virtual servers';
  readonly #tools: ToolRunner;
  readonly #sink: TrafficSink;
  readonly #servers = new Map<Family, IpvsState['servers']>();
  /** Undefined: nobody has looked yet. */
  #seen: ReadonlyMap<VirtualServerKey, Traffic> | undefined;

  constructor(tools: ToolRunner, sink: TrafficSink) {
    this.#tools = tools;
    this.#sink = sink;
  }

  /** These virtual servers are in the kernel now, of one family. */
  applied({ family, servers }: Pick<IpvsState, 'family' | 'servers'>): void {
    this.#servers.set(family, servers);
  }

  async read(signal: AbortSignal): Promise<void> {
    const args = ['--list', '--numeric', '--stats', '--exact'];
    const { exitCode, stdout, stderr } = await this.#tools.run('ipvsadm', args, {
      timeoutMs,
      signal,
    });
    if (exitCode !== 0) {
      const words = stderr.trim() || `exit code ${exitCode}`;
      throw new SwitchyardError('tool', `ipvsadm ${args.join(' ')} failed: ${words}`, {
        retryable: true,
      });
    }
    const now = parseStats(stdout);
    const before = this.#seen;
    this.#seen = now;
    if (before === undefined) return;
    for (const [key, traffic] of now) {
      const owner = this.#ownerOf(key);
      if (owner !== undefined) this.#sink.add(owner, growth(traffic, before.get(key)));
    }
  }

  #ownerOf(key: VirtualServerKey): string | undefined {
    for (const servers of this.#servers.values()) {
      const server = servers.get(key);
      if (server !== undefined) return server.origin.servicePort;
    }
    return undefined;
  }
}

/** What came since; a virtual server that was made anew begins with nothing. */
function growth(now: Traffic, before: Traffic | undefined): Traffic {
  const isSame =
    before !== undefined &&
    now.connections >= before.connections &&
    now.received >= before.received &&
    now.sent >= before.sent;
  if (!isSame) return now;
  return {
    connections: now.connections - before.connections,
    received: now.received - before.received,
    sent: now.sent - before.sent,
  };
}

/** Reads the lines of virtual servers: `TCP  10.96.0.10:80  12  120  100  9000  80000`. Those by firewall mark are nobody's of ours. */
export function parseStats(text: string): ReadonlyMap<VirtualServerKey, Traffic> {
  const servers = new Map<VirtualServerKey, Traffic>();
  const lines = /^(TCP|UDP|SCTP) +(\S+) +(\d+) +\d+ +\d+ +(\d+) +(\d+)\s*\n/gm;
  for (const [, protocol, place, connections, received, sent] of text.matchAll(lines)) {
    const at = parseTextPlace(place);
    if (at === undefined) continue;
    servers.set(virtualServerKey(protocol as Protocol, at.address, at.port), {
      connections: Number(connections),
      received: Number(received),
      sent: Number(sent),
    });
  }
  return servers;
}
