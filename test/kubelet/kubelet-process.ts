import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { CertificatePair } from './certificates.ts';
import { until } from './node-machine.ts';
import type { NodeMachine } from './node-machine.ts';
import { SwitchyardProcess } from './switchyard-process.ts';

/** How a node's kubelet is set up, other than usual. */
export interface KubeletSetting {
  /** Absent: no API server at all. */
  readonly kubeconfig?: string;
  readonly serving?: CertificatePair;
  readonly clientCa?: string;
  /** More fields of its KubeletConfiguration, or others. */
  readonly configuration?: Readonly<Record<string, unknown>>;
  readonly flags?: readonly string[];
  /** It has no configuration file: what such a one would have to say of the node stands in flags, and all else is as it comes. */
  readonly flagsAlone?: true;
  /** Both halves run in one process: what the proxy is told besides. */
  readonly proxyFlags?: readonly string[];
  /** What is run; default: the sources. */
  readonly program?: string;
  /** By what it is run: `setpriv` with its flags. */
  readonly under?: readonly string[];
}

/** Under which this run's cgroups lie. */
export const testCgroup = process.env['SWITCHYARD_TEST_CGROUP'] ?? 'switchyard-kubelet-test-0';

/** `switchyard kubelet` on a node of the sandbox; `switchyard node`, where the setting has flags of a proxy. */
export class KubeletProcess {
  readonly node: NodeMachine;
  readonly manifests: string;
  readonly adminSocket: string;
  readonly #setting: KubeletSetting;
  readonly #process: SwitchyardProcess;

  constructor(node: NodeMachine, setting: KubeletSetting = {}) {
    this.node = node;
    this.#setting = setting;
    this.manifests = join(node.folder, 'manifests');
    this.adminSocket = join(node.folder, 'kubelet.sock');
    const command = setting.proxyFlags === undefined ? 'kubelet' : 'node';
    this.#process = new SwitchyardProcess(node, command, 'kubelet.log', setting.program);
  }

  start(): void {
    mkdirSync(this.manifests, { recursive: true });
    const { kubeconfig, flags = [], flagsAlone, proxyFlags } = this.#setting;
    const shared = [
      `--hostname-override=${this.node.name}`,
      ...(kubeconfig === undefined ? [] : [`--kubeconfig=${kubeconfig}`]),
    ];
    const own = [
      `--node-ip=${this.node.address}`,
      `--root-dir=${join(this.node.folder, 'kubelet')}`,
      `--cert-dir=${join(this.node.folder, 'pki')}`,
      `--admin-socket=${this.adminSocket}`,
      ...flags,
    ];
    const { under = [] } = this.#setting;
    if (flagsAlone === true) {
      this.#process.start([...this.#flagsForConfiguration(), ...shared, ...own], under);
    } else if (proxyFlags === undefined) {
      this.#process.start([`--config=${this.#writeConfiguration()}`, ...shared, ...own], under);
    } else {
      const halves = own.map((flag) => `--kubelet-flag=${flag}`);
      halves.push(...proxyFlags.map((flag) => `--proxy-flag=${flag}`));
      this.#process.start([`--kubelet-config=${this.#writeConfiguration()}`, ...shared, ...halves]);
    }
  }

  /** Why it is not there any more, or undefined. */
  get ended(): string | undefined {
    return this.#process.ended;
  }

  get pid(): number {
    return this.#process.pid;
  }

  get log(): string {
    return this.#process.log;
  }

  /** Waits for a condition while it runs; a failure tells what it said last. */
  async until(
    what: string,
    condition: () => boolean | Promise<boolean>,
    seconds = 60,
  ): Promise<void> {
    const check = (): boolean | Promise<boolean> => {
      if (this.ended !== undefined) throw new Error('the kubelet has ended');
      return condition();
    };
    try {
      await until(what, check, seconds);
    } catch (thrown) {
      throw new Error(`${String(thrown)}\n${this.log.slice(-8000)}`, { cause: thrown });
    }
  }

  /** Puts a static pod there, or another in its place. */
  writeManifest(file: string, text: string): void {
    mkdirSync(this.manifests, { recursive: true });
    writeFileSync(join(this.manifests, file), text);
  }

  /** SIGKILL: it has no time for anything. */
  async kill(): Promise<void> {
    await this.#process.end('KILL');
  }

  /** As a service manager does it. */
  async stop(): Promise<void> {
    await this.#process.end('TERM');
  }

  #flagsForConfiguration(): readonly string[] {
    return [
      `--source=file:${this.manifests}`,
      `--container-runtime-endpoint=${this.node.endpoint}`,
      `--cgroup-root=${this.#cgroupRoot}`,
    ];
  }

  get #cgroupRoot(): string {
    return `/${testCgroup}/${this.node.name}`;
  }

  #writeConfiguration(): string {
    const file = join(this.node.folder, 'kubelet.json');
    writeFileSync(file, JSON.stringify(this.#configuration()));
    return file;
  }

  #configuration(): object {
    const { node } = this;
    const { serving, clientCa, configuration = {} } = this.#setting;
    return {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      containerRuntimeEndpoint: node.endpoint,
      staticPodPath: this.manifests,
      cgroupRoot: this.#cgroupRoot,
      clusterDNS: ['10.96.0.10'],
      clusterDomain: 'cluster.local',
      fileCheckFrequency: '2s',
      // All nodes share one disk, that of this machine.
      evictionHard: {},
      imageGCHighThresholdPercent: 100,
      imageGCLowThresholdPercent: 99,
      failSwapOn: false,
      authentication: {
        anonymous: { enabled: false },
        webhook: { enabled: this.#setting.kubeconfig !== undefined },
        ...(clientCa === undefined ? {} : { x509: { clientCAFile: clientCa } }),
      },
      // Without an API server there is nobody to ask.
      ...(this.#setting.kubeconfig === undefined ? { authorization: { mode: 'AlwaysAllow' } } : {}),
      ...(serving === undefined
        ? {}
        : { tlsCertFile: serving.certificate, tlsPrivateKeyFile: serving.key }),
      ...configuration,
    };
  }
}
