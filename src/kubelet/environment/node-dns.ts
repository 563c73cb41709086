import { readFile } from 'node:fs/promises';
import type { DnsConfig } from '../../config/kubelet-config.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import { dnsOfNoFile, parseResolvConf } from './dns-config.ts';
import type { DnsSettings, DnsSources } from './dns-config.ts';

export interface NodeDnsOptions {
  readonly config: DnsConfig;
  /** Addresses of the node, its primary family first. */
  readonly nodeIps: readonly string[];
  readonly log: Log;
}

const nothing: DnsSettings = { servers: [], searches: [], options: [] };

/** What pods get of the name service of the cluster and of this node: its resolv.conf may change at any time. */
export class NodeDns {
  readonly #options: NodeDnsOptions;
  #node: DnsSettings;
  #failure = '';

  constructor(options: NodeDnsOptions) {
    const { config, nodeIps } = options;
    this.#options = options;
    this.#node = config.resolvConf === '' ? dnsOfNoFile(nodeIps[0] ?? '') : nothing;
  }

  /** What pods that start now get. */
  get sources(): DnsSources {
    const { servers, domain } = this.#options.config;
    return { clusterDNS: servers, clusterDomain: domain, node: this.#node };
  }

  /** Reads the file, if one is configured. Where it cannot be read what it said last counts; that is warned of once. */
  async read(): Promise<void> {
    const { config, log } = this.#options;
    if (config.resolvConf === '') return;
    try {
      this.#node = parseResolvConf(await readFile(config.resolvConf, 'utf8'));
      this.#failure = '';
    } catch (error) {
      const failure = errorText(error);
      if (failure !== this.#failure) {
        const text = `resolvConf cannot be read: ${failure}; pods get what it said last`;
        log.warn({ path: config.resolvConf }, text);
      }
      this.#failure = failure;
    }
  }
}
