import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { CertificatePair } from './certificates.ts';
import type { NodeMachine } from './node-machine.ts';

/** How a node's kubelet is set up, other than usual. */
export interface KubeletSetting {
  /** Absent: no API server at all. */
  readonly kubeconfig?: string;
  readonly serving?: CertificatePair;
  readonly clientCa?: string;
  /** More fields of its KubeletConfiguration, or others. */
  readonly configuration?: Readonly<Record<string, unknown>>;
  readonly flags?: readonly string[];
}

const program = join(import.meta.dirname, '../../src/cli/main.ts');

/** Under which this run's cgroups lie. */
export const testCgroup = process.env['SWITCHYARD_TEST_CGROUP'] ?? 'switchyard-kubelet-test-0';

/** `switchyard kubelet` on a node of the sandbox. */
export class KubeletProcess {
  readonly node: NodeMachine;
  readonly manifests: string;
  readonly #setting: KubeletSetting;
  #child: ChildProcess | undefined;

  constructor(node: NodeMachine, setting: KubeletSetting = {}) {
    this.node = node;
    this.#setting = setting;
    this.manifests = join(node.folder, 'manifests');
  }

  start(): void {
    mkdirSync(this.manifests, { recursive: true });
    const config = join(this.node.folder, 'kubelet.json');
    writeFileSync(config, JSON.stringify(this.#configuration()));
    const { kubeconfig, flags = [] } = this.#setting;
    this.#child = this.node.spawn(
      'kubelet.log',
      process.execPath,
      program,
      'kubelet',
      `--config=${config}`,
      `--hostname-override=${this.node.name}`,
      `--node-ip=${this.node.address}`,
      `--root-dir=${join(this.node.folder, 'kubelet')}`,
      `--cert-dir=${join(this.node.folder, 'pki')}`,
      ...(kubeconfig === undefined ? [] : [`--kubeconfig=${kubeconfig}`]),
      ...flags,
    );
  }

  /** Why it is not there any more, or undefined. */
  get ended(): string | undefined {
    const child = this.#child;
    if (!child || (child.exitCode === null && child.signalCode === null)) return undefined;
    return `ended with ${child.exitCode ?? child.signalCode}: ${this.log}`;
  }

  get log(): string {
    return readFileSync(join(this.node.folder, 'kubelet.log'), 'utf8');
  }

  /** Puts a static pod there, or another in its place. */
  writeManifest(file: string, text: string): void {
    writeFileSync(join(this.manifests, file), text);
  }

  /** SIGKILL: it has no time for anything. The signal reaches nsenter's child, which is the program. */
  async kill(): Promise<void> {
    await this.#end('KILL');
  }

  /** As a service manager does it. */
  async stop(): Promise<void> {
    await this.#end('TERM');
  }

  async #end(signal: 'KILL' | 'TERM'): Promise<void> {
    const child = this.#child;
    if (!child || this.ended !== undefined) return;
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => {
        resolve();
      });
    });
    if (this.node.isHere) child.kill(`SIG${signal}`);
    // What was spawned is nsenter: the program is its child.
    else this.node.run('sh', '-c', `kill -${signal} $(pgrep -f "^[^ ]*node ${program} kubelet")`);
    await ended;
  }

  #configuration(): object {
    const { node } = this;
    const { serving, clientCa, configuration = {} } = this.#setting;
    return {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      containerRuntimeEndpoint: node.endpoint,
      staticPodPath: this.manifests,
      cgroupRoot: `/${testCgroup}/${node.name}`,
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
