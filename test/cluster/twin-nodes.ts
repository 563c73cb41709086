import { Namespaces } from '../../src/host/namespaces.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import { proxyCommand } from '../support/agent-process.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { lab4, lab6, NodeLab } from '../support/node-lab.ts';
import type { ServerName } from '../support/node-lab.ts';
import { ControlPlane } from './control-plane.ts';
import { upstreamCommand } from './upstream-proxy.ts';

/** Our node and upstream's: equal to the address, so that the same question can be asked on both. */
export type Twin = 'switchyard' | 'upstream';

const planeAddress = '203.0.113.1';
/** The one address in which the twins differ: their end of the link to the control plane. */
const linkAddresses = { switchyard: '203.0.113.2', upstream: '203.0.113.3' } as const;
const prefixes = { switchyard: 'swytwin', upstream: 'swyorig' } as const;

/** Where cluster IPs come from. */
export const serviceCidrs = ['10.96.0.0/12', 'fd00:10:96::/108'] as const;

const sharedFlags = [
  '--hostname-override=node-a',
  '--cluster-cidr=10.244.0.0/16,fd00:10:244::/56',
  '--conntrack-max-per-core=0',
  '--conntrack-tcp-timeout-established=0s',
  '--conntrack-tcp-timeout-close-wait=0s',
] as const;

/**
 * The flags both proxies are started with: given ones replace the shared ones of their name, and one
 * without a value (`--cluster-cidr=`) takes it away.
 */
export function twinFlags(given: readonly string[]): readonly string[] {
  const names = new Set(given.map(flagName));
  const kept = sharedFlags.filter((flag) => !names.has(flagName(flag)));
  return [...kept, ...given.filter((flag) => !flag.endsWith('='))];
}

function flagName(flag: string): string {
  return flag.split('=')[0] ?? '';
}

/** A node for each proxy, equal to the address, beside one control plane. */
export interface Twins {
  readonly plane: Pick<ControlPlane, 'must' | 'request'>;
  readonly labs: Readonly<Record<Twin, NodeLab>>;
  /** Starts the proxy of one node with these flags, see {@link twinFlags}; `command` where it is not the usual one. */
  startProxy(twin: Twin, flags?: readonly string[], command?: readonly string[]): AgentProcess;
  close(): Promise<void>;
}

/** What a pair of nodes may differ in from the usual one. */
interface TwinOptions {
  readonly load?: (planeNamespace: string) => Promise<void>;
  readonly serverName?: ServerName;
  /** Ends the wait for the control plane. */
  readonly signal?: AbortSignal;
}

/** Two equal nodes, `node-a` both, beside one real control plane: one for our proxy, one for upstream's. */
export class TwinNodes implements Twins {
  readonly plane: ControlPlane;
  readonly labs: Readonly<Record<Twin, NodeLab>>;
  readonly #planeNamespaces: Namespaces;

  private constructor(
    plane: ControlPlane,
    labs: Readonly<Record<Twin, NodeLab>>,
    planeNamespaces: Namespaces,
  ) {
    this.plane = plane;
    this.labs = labs;
    this.#planeNamespaces = planeNamespaces;
  }

  /**
   * Builds both nodes and starts the control plane, which knows Node `node-a`; no proxy runs yet. `load` writes
   * etcd's data before the API server starts; it gets the control plane's namespace. `serverName` names the pods' servers.
   */
  static async create(
    variant: 'legacy' | 'nft',
    { load, serverName, signal }: TwinOptions = {},
  ): Promise<TwinNodes> {
    const planeNamespaces = new Namespaces({ tools: systemTools, prefix: 'swyplane' });
    await planeNamespaces.removeLeftovers();
    const labs = {
      switchyard: await NodeLab.create(variant, prefixes.switchyard, serverName),
      upstream: await NodeLab.create(variant, prefixes.upstream, serverName),
    };
    const plane = new ControlPlane({
      namespace: planeNamespaces.name('plane'),
      address: planeAddress,
      serviceCidrs,
      signal,
    });
    const twins = new TwinNodes(plane, labs, planeNamespaces);
    try {
      await twins.#link();
      plane.startEtcd();
      await load?.(plane.namespace);
      await plane.startApiServer();
      await createTwinNode(plane);
    } catch (error) {
      await twins.close();
      throw error;
    }
    return twins;
  }

  /**
   * Starts the proxy of one node with these flags, see {@link twinFlags}; `command` where it is not the
   * checkout's (ours) or upstream's.
   */
  startProxy(
    twin: Twin,
    flags: readonly string[] = [],
    command = twin === 'switchyard' ? proxyCommand() : upstreamCommand(),
  ): AgentProcess {
    const all = [`--kubeconfig=${this.plane.kubeconfig()}`, ...twinFlags(flags)];
    return this.labs[twin].startClusterAgent(all, command);
  }

  async close(): Promise<void> {
    await this.plane.stop();
    await Promise.all(Object.values(this.labs).map(async (lab) => lab.close()));
    await this.#planeNamespaces.close();
  }

  async #link(): Promise<void> {
    await this.#planeNamespaces.add(['plane']);
    await this.#planeNamespaces.ip('plane', [
      `addr add ${planeAddress}/32 dev lo`,
      'route add default dev lo', // the API server wants to find an address of its own
    ]);
    for (const twin of ['switchyard', 'upstream'] as const) {
      const [lab, address] = [this.labs[twin], linkAddresses[twin]];
      await this.#planeNamespaces.ip('plane', [
        `link add ${twin} type veth peer name plane netns ${lab.namespace('node')}`,
        `link set ${twin} up`,
        `route add ${address} dev ${twin} src ${planeAddress}`,
      ]);
      await lab.onNode('ip', 'link', 'set', 'plane', 'up');
      await lab.onNode('ip', 'addr', 'add', `${address}/32`, 'dev', 'plane');
      await lab.onNode('ip', 'route', 'add', planeAddress, 'dev', 'plane', 'src', address);
    }
  }
}

/** Makes the Node that both twins are. */
export async function createTwinNode(plane: Twins['plane']): Promise<void> {
  await plane.must('POST', '/api/v1/nodes', {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-a', labels: { 'topology.kubernetes.io/zone': 'a' } },
    spec: { podCIDRs: ['10.244.0.0/24', 'fd00:10:244::/64'] },
  });
  const addresses = [lab4.node, lab6.node].map((address) => ({ type: 'InternalIP', address }));
  await plane.must(
    'PATCH',
    '/api/v1/nodes/node-a/status',
    { status: { addresses } },
    'application/merge-patch+json',
  );
}
