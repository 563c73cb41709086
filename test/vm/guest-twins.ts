import { Agent, request } from 'undici';
import { systemTools } from '../../src/host/run-tool.ts';
import type { ApiAnswer } from '../cluster/control-plane.ts';
import { tokens } from '../cluster/control-plane.ts';
import { twinFlags } from '../cluster/twin-nodes.ts';
import type { Twin, Twins } from '../cluster/twin-nodes.ts';
import { upstreamCommand } from '../cluster/upstream-proxy.ts';
import { proxyCommand } from '../support/agent-process.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab } from '../support/node-lab.ts';
import type { ServerName } from '../support/node-lab.ts';
import { outsideAddress } from './guest.ts';

/** Nodes' own addresses in the network that leads outside; qemu's has these free. */
export const linkAddresses = { switchyard: '10.0.2.16', upstream: '10.0.2.17' } as const;
const prefixes = { switchyard: 'swytwin', upstream: 'swyorig' } as const;
const requestMs = 60_000;

/** The API server outside, for a cluster admin in the guest. */
class OutsidePlane {
  readonly #url: string;
  // The server's certificate is made by itself a moment before, and nobody else is in its network.
  readonly #agent = new Agent({
    connections: 4,
    connect: { rejectUnauthorized: false },
    headersTimeout: requestMs,
  });

  constructor(url: string) {
    this.#url = url;
  }

  async request(
    method: string,
    path: string,
    value?: unknown,
    type = 'application/json',
  ): Promise<ApiAnswer> {
    const { statusCode, body } = await request(this.#url + path, {
      method: method as 'GET',
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${tokens.admin}`, 'content-type': type },
      body: value === undefined ? null : JSON.stringify(value),
    });
    return { status: statusCode, text: await body.text() };
  }

  /** A request that must succeed; answers the object. */
  async must(method: string, path: string, value?: unknown, type?: string): Promise<unknown> {
    const { status, text } = await this.request(method, path, value, type);
    if (status < 200 || status > 299) {
      throw new Error(`${method} ${path}: ${status} ${text.slice(0, 400)}`);
    }
    return JSON.parse(text);
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

/** Two equal nodes in the guest, both proxies in ipvs mode, beside a control plane outside of it. */
export class GuestTwins implements Twins {
  readonly plane: OutsidePlane;
  readonly labs: Readonly<Record<Twin, NodeLab>>;
  readonly #kubeconfig: string;

  private constructor(
    labs: Readonly<Record<Twin, NodeLab>>,
    plane: OutsidePlane,
    kubeconfig: string,
  ) {
    this.labs = labs;
    this.plane = plane;
    this.#kubeconfig = kubeconfig;
  }

  /**
   * Builds both nodes; no proxy runs yet, and the control plane knows no Node. `kubeconfig` is the proxies' way to the
   * control plane outside.
   */
  static async create(kubeconfig: string, serverName?: ServerName): Promise<GuestTwins> {
    const [switchyard, upstream] = await Promise.all(
      (['switchyard', 'upstream'] as const).map(async (twin) =>
        NodeLab.create('nft', prefixes[twin], serverName),
      ),
    );
    if (switchyard === undefined || upstream === undefined) throw new Error('a lab is missing');
    const twins = new GuestTwins(
      { switchyard, upstream },
      new OutsidePlane(`https://${outsideAddress}:6443`),
      kubeconfig,
    );
    try {
      await Promise.all([twins.#link('switchyard'), twins.#link('upstream')]);
    } catch (error) {
      await twins.close();
      throw error;
    }
    return twins;
  }

  startProxy(
    twin: Twin,
    flags: readonly string[] = [],
    command = twin === 'switchyard' ? proxyCommand() : upstreamCommand('ipvs'),
  ): AgentProcess {
    const mode = twin === 'switchyard' ? ['--proxy-mode=ipvs'] : [];
    const all = [`--kubeconfig=${this.#kubeconfig}`, ...mode, ...twinFlags(flags)];
    return this.labs[twin].startClusterAgent(all, command);
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.labs).map(async (lab) => lab.close()));
    await this.plane.close();
  }

  /** A second address on the guest's own way outside. */
  async #link(twin: Twin): Promise<void> {
    const lab = this.labs[twin];
    const link = `link add link eth0 name plane netns ${lab.namespace('node')} type macvlan mode bridge`;
    const options = { timeoutMs: requestMs, signal: new AbortController().signal };
    const { exitCode, stderr } = await systemTools.run('ip', link.split(' '), options);
    if (exitCode !== 0) throw new Error(`ip ${link}: ${stderr}`);
    await lab.onNode('ip', 'addr', 'add', `${linkAddresses[twin]}/24`, 'dev', 'plane');
    await lab.onNode('ip', 'link', 'set', 'plane', 'up');
  }
}
