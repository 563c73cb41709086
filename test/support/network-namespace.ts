import { Namespaces } from '../../src/host/namespaces.ts';
import { systemTools } from '../../src/host/run-tool.ts';

/** A network of its own with one address: for what needs no node. */
export class NetworkNamespace {
  readonly #namespaces: Namespaces;

  private constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces;
  }

  static async create(address: string): Promise<NetworkNamespace> {
    const namespaces = new Namespaces({ tools: systemTools, prefix: 'swynet' });
    await namespaces.removeLeftovers();
    const network = new NetworkNamespace(namespaces);
    try {
      await namespaces.add(['plane']);
      await namespaces.ip('plane', [`addr add ${address}/32 dev lo`]);
    } catch (error) {
      await network.close();
      throw error;
    }
    return network;
  }

  /** As `ip netns` knows it. */
  get name(): string {
    return this.#namespaces.name('plane');
  }

  async close(): Promise<void> {
    await this.#namespaces.close();
  }
}
