import { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ControlPlane } from '../cluster/control-plane.ts';
import { ApiTap } from './api-tap.ts';
import { Authorities, apiServerAsClient } from './certificates.ts';
import type { CertificatePair } from './certificates.ts';
import type { BuiltImage } from './images.ts';
import { KubeletProcess } from './kubelet-process.ts';
import type { KubeletSetting } from './kubelet-process.ts';
import { NodeMachine, fabricAddress, joinNodes, makeFabric } from './node-machine.ts';

const folder = '/run/sy/pki';

/** What makes pods of other objects, tokens and root certificates. */
const controllers = ['serviceaccount', 'root-ca-certificate-publisher', 'deployment', 'replicaset']
  .concat(['daemonset', 'statefulset', 'job', 'endpointslice', 'node-lifecycle'])
  .concat([
    'persistentvolume-binder',
    'taint-eviction',
    'garbage-collector',
    'pod-garbage-collector',
    'namespace',
  ])
  .map((name) => `${name}-controller`);

const signers = ['approving', 'signing'].map(
  (what) => `certificatesigningrequest-${what}-controller`,
);

/** How the control plane is set up, other than usual. */
export interface ClusterSetting {
  readonly apiServerFlags?: readonly string[];
  readonly controllerFlags?: readonly string[];
  /** Certificates of kubelets are signed, for so long: `60s`. Nothing is approved yet. */
  readonly signsFor?: string;
}

/** Where a kubelet, upstream's too, has the certificate that counts, with its key. */
const clientFile = ({ folder: disk }: NodeMachine): string =>
  join(disk, 'pki/kubelet-client-current.pem');

/** A control plane in the sandbox's own network, and nodes that know it as real ones do: Node authorisation, NodeRestriction, TLS both ways. */
export class KubeletCluster {
  readonly nodes: readonly NodeMachine[];
  readonly #authorities: Authorities;
  readonly #setting: ClusterSetting;
  readonly control: ControlPlane;

  constructor(names: readonly string[], setting: ClusterSetting = {}) {
    this.#setting = setting;
    this.nodes = names.map((name, at) => new NodeMachine(name, at + 1));
    mkdirSync(folder, { recursive: true });
    this.#authorities = new Authorities(folder);
    this.control = new ControlPlane({
      namespace: '',
      address: fabricAddress,
      nodes: this.#authorities.trust(),
      apiServerFlags: setting.apiServerFlags ?? [],
    });
  }

  async start(images: readonly BuiltImage[]): Promise<void> {
    makeFabric();
    await Promise.all([this.control.start(), ...this.nodes.map(async (node) => node.start())]);
    for (const node of this.nodes) node.importImages(...images);
    joinNodes(this.nodes);
    await this.#bind(apiServerAsClient, 'system:kubelet-api-admin');
    const { controllerFlags = [], signsFor } = this.#setting;
    const signing = signsFor === undefined ? [] : this.#authorities.signingFlags(signsFor);
    this.control.startControllers(
      signsFor === undefined ? controllers : [...controllers, ...signers],
      [...this.control.accountFlags, ...signing, ...controllerFlags],
    );
  }

  /** Lets a node be that of a proxy too: for both halves in one process. */
  async allowProxy(node: NodeMachine): Promise<void> {
    await this.#bind(`system:node:${node.name}`, 'system:node-proxier');
  }

  /** A node's kubelet, not yet started, with the node's own rights. */
  kubelet(node: NodeMachine, setting: KubeletSetting = {}): KubeletProcess {
    const serving = this.#authorities.serving(node.name, node.address);
    return new KubeletProcess(node, {
      kubeconfig: this.#kubeconfig(node.name),
      serving,
      clientCa: this.#authorities.clientCa,
      ...setting,
    });
  }

  /** A kubelet without any certificate, that asks for its own by a token: where its kubeconfig will be is in the node's folder. */
  newcomer(node: NodeMachine, token: string, setting: KubeletSetting = {}): KubeletProcess {
    const bootstrap = this.#writeKubeconfig(`${node.name}-bootstrap`, this.#server(6443), {
      token,
    });
    return new KubeletProcess(node, {
      kubeconfig: join(node.folder, 'kubelet.conf'),
      clientCa: this.#authorities.clientCa,
      ...setting,
      flags: [`--bootstrap-kubeconfig=${bootstrap}`, ...(setting.flags ?? [])],
    });
  }

  /** A kubelet as kubeadm sets it up: its kubeconfig names one file, which is {@link renewClient}'s, for the certificate and the key. */
  ofKubeadm(node: NodeMachine, setting: KubeletSetting = {}): KubeletProcess {
    const file = clientFile(node);
    const user = { 'client-certificate': file, 'client-key': file };
    const kubeconfig = this.#writeKubeconfig(`${node.name}-kubeadm`, this.#server(6443), user);
    return this.kubelet(node, { kubeconfig, ...setting });
  }

  /** Signs a certificate for a node that it does not know of, and puts it in the place of the one before, at once and whole. */
  renewClient(node: NodeMachine): X509Certificate {
    const file = clientFile(node);
    const pair = this.#authorities.node(node.name);
    const certificate = readFileSync(pair.certificate, 'utf8');
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(`${file}.other`, certificate + readFileSync(pair.key, 'utf8'), { mode: 0o600 });
    renameSync(`${file}.other`, file);
    return new X509Certificate(certificate);
  }

  /** Gives a role to a group. */
  async bindGroup(group: string, role: string): Promise<void> {
    await this.#bind(group, role, 'Group');
  }

  /** The file by which kubelets are known: of who signed what they serve with. */
  get servingCa(): string {
    return this.#authorities.servingCa;
  }

  /** What a node shows who it is with. */
  certificate({ name }: NodeMachine): CertificatePair {
    return this.#authorities.node(name);
  }

  /** A node's kubeconfig of an API server that does not answer. */
  unreachable(node: NodeMachine): string {
    return this.#writeKubeconfig(`${node.name}-nowhere`, this.#server(6442), {});
  }

  /** What stands between a node and the API server, and the kubeconfig by which the node goes through it. */
  async tap({ name }: NodeMachine): Promise<{ readonly tap: ApiTap; readonly kubeconfig: string }> {
    const server = { port: 6443, ca: this.control.certificate };
    const node = this.#authorities.node(name);
    const tap = new ApiTap({ address: fabricAddress, server, node });
    const kubeconfig = this.#writeKubeconfig(`${name}-tap`, { server: await tap.start() }, {});
    return { tap, kubeconfig };
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) {
      await node.crash();
      node.remove();
    }
    await this.control.stop();
  }

  /** An object of the API, or undefined. */
  async get<T>(path: string): Promise<T | undefined> {
    const answer = await this.control.request('GET', path);
    return answer.status === 200 ? (JSON.parse(answer.text) as T) : undefined;
  }

  /** Whether pods of the default namespace may be made: before the controllers have made its account there, they are refused. */
  async hasAccount(): Promise<boolean> {
    return (await this.get('/api/v1/namespaces/default/serviceaccounts/default')) !== undefined;
  }

  #kubeconfig(name: string): string {
    const pair: CertificatePair = this.#authorities.node(name);
    return this.#writeKubeconfig(name, this.#server(6443), {
      'client-certificate-data': readFileSync(pair.certificate).toString('base64'),
      'client-key-data': readFileSync(pair.key).toString('base64'),
    });
  }

  #server(port: number): object {
    const ca = Buffer.from(this.control.certificate).toString('base64');
    return { server: `https://${fabricAddress}:${port}`, 'certificate-authority-data': ca };
  }

  #writeKubeconfig(name: string, cluster: object, user: object): string {
    const file = join(folder, `${name}.kubeconfig`);
    const value = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'node',
      clusters: [{ name: 'test', cluster }],
      users: [{ name: 'node', user }],
      contexts: [{ name: 'node', context: { cluster: 'test', user: 'node' } }],
    };
    writeFileSync(file, JSON.stringify(value), { mode: 0o600 });
    return file;
  }

  async #bind(name: string, role: string, kind = 'User'): Promise<void> {
    const group = 'rbac.authorization.k8s.io';
    await this.control.must('POST', `/apis/${group}/v1/clusterrolebindings`, {
      apiVersion: `${group}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: `${name}:${role}` },
      roleRef: { apiGroup: group, kind: 'ClusterRole', name: role },
      subjects: [{ apiGroup: group, kind, name }],
    });
  }
}
