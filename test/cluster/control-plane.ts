import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ownFolder } from '../support/own-folder.ts';
import { controlPlaneBinary } from './controlplane/build.ts';

/** One answer of the API server; `status` 0: no answer, and `text` says why. */
export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

/** Files by which nodes and the API server know each other. */
export interface NodeTrust {
  /** Who signed the nodes' client certificates. */
  readonly clientCa: string;
  /** Who signed the certificates that kubelets serve with. */
  readonly servingCa: string;
  /** The API server's own, for kubelets. */
  readonly kubeletClientCertificate: string;
  readonly kubeletClientKey: string;
  /** Who signed what the API server shows the servers behind it (aggregation): these believe it whose request it passes on. */
  readonly frontProxyCa: string;
  readonly frontProxyCertificate: string;
  readonly frontProxyKey: string;
}

/** Where the control plane runs and where it is reached from the nodes. */
export interface ControlPlaneOptions {
  /** Name of an existing network namespace (`ip netns`); `''`: the one that this process is in. */
  readonly namespace: string;
  /** The namespace's address that nodes use. */
  readonly address: string;
  /** Where cluster IPs come from, the first family's range first. */
  readonly serviceCidrs?: readonly string[];
  /** For a cluster with kubelets: nodes may do what they may as nodes, and no more; the API server reaches their kubelets. */
  readonly nodes?: NodeTrust;
  /** More flags of the API server. */
  readonly apiServerFlags?: readonly string[];
  /** Ends what waits for the control plane. */
  readonly signal?: AbortSignal | undefined;
}

/** Where etcd answers, inside the control plane's namespace. */
export const etcdUrl = 'http://127.0.0.1:2379';

const relayEnded: ApiAnswer = { status: 0, text: 'who passes requests on has ended' };

/** Bearer tokens that the API server knows; the proxy has two, for when one is renewed. The guest may do nothing at first. */
export const tokens = {
  admin: 'token-admin',
  proxy: 'token-proxy',
  proxyRenewed: 'token-proxy-renewed',
  guest: 'token-guest',
};

/** What a kubeconfig of the proxy says other than usual. */
export interface KubeconfigOptions {
  /** Default: the API server itself. Whoever answers there has to have its certificate. */
  readonly port?: number;
  /** Default: the token itself. */
  readonly tokenFile?: string;
  /** Default: the proxy's. */
  readonly token?: string;
  /** Default: `proxy`; who needs one of their own beside that. */
  readonly name?: string;
}

/**
 * A real etcd and kube-apiserver with RBAC in a network namespace. The token `proxy` belongs to the user
 * `system:kube-proxy`, who may do what the API server's own role for kube-proxy allows, and no more.
 */
export class ControlPlane {
  readonly folder = ownFolder('switchyard-cluster');
  readonly #options: ControlPlaneOptions;
  readonly #processes = new Map<string, ChildProcess>();
  readonly #waiting = new Map<number, (answer: ApiAnswer) => void>();
  #relay: ChildProcess | undefined;
  #lastId = 0;

  constructor(options: ControlPlaneOptions) {
    this.#options = options;
    mkdirSync(join(this.folder, 'certs'));
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(this.#file('sa.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    writeFileSync(this.#file('sa.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }), {
      mode: 0o600,
    });
    writeFileSync(
      this.#file('tokens.csv'),
      `${tokens.admin},admin,1,"system:masters"\n${tokens.proxy},system:kube-proxy,2\n${tokens.proxyRenewed},system:kube-proxy,2\n${tokens.guest},guest,3\n`,
    );
  }

  /** Why the cluster layer cannot run on this machine, or undefined. */
  static blocked(): string | undefined {
    if (process.getuid?.() !== 0) return 'needs root (network namespaces)';
    if (!existsSync(controlPlaneBinary()))
      return 'the control plane is not built: npm run test:cluster builds it (needs Go)';
    return undefined;
  }

  /** The network namespace it runs in. */
  get namespace(): string {
    return this.#options.namespace;
  }

  /** Where nodes reach it. */
  get address(): string {
    return this.#options.address;
  }

  async start(): Promise<void> {
    this.startEtcd();
    await this.startApiServer();
  }

  /** Starts etcd, with what it held before if anything. */
  startEtcd(): void {
    this.#spawn('etcd', [
      '--data-dir',
      this.#file('etcd'),
      '--unsafe-no-fsync',
      '--listen-client-urls',
      etcdUrl,
      '--advertise-client-urls',
      etcdUrl,
      '--listen-peer-urls',
      'http://127.0.0.1:2380',
      '--log-level',
      'error',
    ]);
  }

  /** Ends etcd at once, as a crash would. */
  async stopEtcd(): Promise<void> {
    await this.#end('etcd');
  }

  /** Makes etcd forget all but the present: what began before cannot be watched any more. */
  async compactEtcd(): Promise<void> {
    const script = `
      const deadline = Date.now() + 20_000;
      const reach = async (url, init) => {
        try {
          return await fetch(url, init);
        } catch (error) { // it was started a moment ago
          if (Date.now() > deadline) throw error;
          await new Promise((resolve) => setTimeout(resolve, 50));
          return reach(url, init);
        }
      };
      const call = async (what, body) => {
        const init = { method: 'POST', body: JSON.stringify(body) };
        const answer = await reach('${etcdUrl}/v3/kv/' + what, init);
        if (!answer.ok) throw new Error(what + ': ' + answer.status + ' ' + (await answer.text()));
        return answer.json();
      };
      const { header } = await call('range', { key: 'AA==' });
      await call('compaction', { revision: header.revision, physical: true });`;
    const child = this.#inNamespace(process.execPath, ['--input-type=module', '-e', script]);
    const words: string[] = [];
    child.stderr?.on('data', (chunk: Buffer) => words.push(chunk.toString()));
    const status = await new Promise((resolve) => child.once('exit', resolve));
    if (status !== 0) throw new Error(`etcd was not compacted: ${words.join('')}`);
  }

  /** Starts (or starts again) the API server and waits until it is ready and has its RBAC roles. */
  async startApiServer(): Promise<void> {
    this.#spawn('kube-apiserver', [
      `--etcd-servers=${etcdUrl}`,
      `--service-cluster-ip-range=${(this.#options.serviceCidrs ?? ['10.96.0.0/12']).join(',')}`,
      `--advertise-address=${this.#options.address}`,
      '--secure-port=6443',
      `--cert-dir=${this.#file('certs')}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${this.#file('sa.pub')}`,
      `--service-account-signing-key-file=${this.#file('sa.key')}`,
      ...nodeFlags(this.#options.nodes),
      `--token-auth-file=${this.#file('tokens.csv')}`,
      '--enable-priority-and-fairness=false',
      '--allow-privileged=true', // as kubeadm starts it
      ...(this.#options.apiServerFlags ?? []),
    ]);
    this.#relay ??= this.#startRelay();
    await this.until(
      'the API server is ready',
      async () => (await this.request('GET', '/readyz')).status === 200,
    );
    const binding = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:node-proxier';
    await this.until(
      'the proxy role is bound',
      async () => (await this.request('GET', binding)).status === 200,
    );
  }

  /** Starts what makes pods of other objects, and what gives them nodes; no kubelet takes them. */
  startControllers(controllers: readonly string[], flags: readonly string[] = []): void {
    const kubeconfig = this.kubeconfig({ token: tokens.admin, name: 'admin' });
    const usual = [`--kubeconfig=${kubeconfig}`, '--leader-elect=false'];
    const chosen = `--controllers=${controllers.join(',')}`;
    this.#spawn('kube-controller-manager', [...usual, chosen, '--secure-port=0', ...flags]);
    // It cannot do without its server.
    const server = ['--bind-address=127.0.0.1', `--cert-dir=${this.#file('scheduler')}`];
    this.#spawn('kube-scheduler', [...usual, ...server]);
  }

  /** What gives each namespace the API server's certificate, and its service accounts tokens. */
  get accountFlags(): readonly string[] {
    return [
      `--root-ca-file=${this.#file('certs/apiserver.crt')}`,
      `--service-account-private-key-file=${this.#file('sa.key')}`,
    ];
  }

  /** The certificate by which the API server is known. */
  get certificate(): string {
    return readFileSync(this.#file('certs/apiserver.crt'), 'utf8');
  }

  /** Ends the API server at once, as a crash would; etcd keeps its data. */
  async stopApiServer(): Promise<void> {
    await this.#end('kube-apiserver');
  }

  /** A kubeconfig for the proxy's token. */
  kubeconfig({
    port = 6443,
    tokenFile,
    token = tokens.proxy,
    name = 'proxy',
  }: KubeconfigOptions = {}): string {
    const file = this.#file(`${name}.kubeconfig`);
    const ca = Buffer.from(this.certificate).toString('base64');
    const user = tokenFile === undefined ? { token } : { tokenFile };
    const value = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      clusters: [
        {
          name: 'test',
          cluster: {
            server: `https://${this.#options.address}:${port}`,
            'certificate-authority-data': ca,
          },
        },
      ],
      users: [{ name: 'proxy', user }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'proxy' } }],
    };
    writeFileSync(file, JSON.stringify(value), { mode: 0o600 });
    return file;
  }

  /** Allows the guest what these rules say, and no more. */
  async allowGuest(rules: readonly object[]): Promise<void> {
    const group = 'rbac.authorization.k8s.io';
    const metadata = { name: 'guest' };
    const role = { apiVersion: `${group}/v1`, kind: 'ClusterRole', metadata, rules };
    const binding = {
      apiVersion: `${group}/v1`,
      kind: 'ClusterRoleBinding',
      metadata,
      roleRef: { apiGroup: group, kind: 'ClusterRole', name: 'guest' },
      subjects: [{ apiGroup: group, kind: 'User', name: 'guest' }],
    };
    await this.must('POST', `/apis/${group}/v1/clusterroles`, role);
    await this.must('POST', `/apis/${group}/v1/clusterrolebindings`, binding);
  }

  /** One request as cluster admin. */
  async request(
    method: string,
    path: string,
    value?: unknown,
    type = 'application/json',
  ): Promise<ApiAnswer> {
    const id = ++this.#lastId;
    if (this.#relay?.exitCode !== null || this.#relay.signalCode !== null) return relayEnded;
    const body = value === undefined ? undefined : { type, value };
    const answer = new Promise<ApiAnswer>((resolve) => this.#waiting.set(id, resolve));
    this.#relay.stdin?.write(`${JSON.stringify({ id, method, path, body })}\n`);
    return answer;
  }

  /** A request that must succeed; answers the object. */
  async must(method: string, path: string, value?: unknown, type?: string): Promise<unknown> {
    const answer = await this.request(method, path, value, type);
    if (answer.status < 200 || answer.status > 299) {
      throw new Error(`${method} ${path}: ${answer.status} ${answer.text.slice(0, 400)}`);
    }
    return JSON.parse(answer.text);
  }

  /** Polls a condition until it holds; fails by name after a minute. */
  async until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 60_000;
    while (!(await condition())) {
      this.#options.signal?.throwIfAborted();
      if (Date.now() > deadline)
        throw new Error(`waited 60 s until ${what}; logs in ${this.folder}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async stop(): Promise<void> {
    this.#relay?.kill('SIGKILL');
    for (const name of this.#processes.keys()) await this.#end(name);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #file(name: string): string {
    return join(this.folder, name);
  }

  #inNamespace(command: string, args: readonly string[]): ChildProcess {
    const { namespace } = this.#options;
    if (namespace === '') return spawn(command, args);
    return spawn('ip', ['netns', 'exec', namespace, command, ...args]);
  }

  #spawn(name: string, args: readonly string[]): void {
    const child = this.#inNamespace(controlPlaneBinary(), [name, ...args]);
    const log = createWriteStream(this.#file(`${name}.log`), { flags: 'a' });
    child.stdout?.pipe(log);
    child.stderr?.pipe(log);
    this.#processes.set(name, child);
  }

  async #end(name: string): Promise<void> {
    const child = this.#processes.get(name);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  #startRelay(): ChildProcess {
    const script = join(import.meta.dirname, 'api-relay.mjs');
    const child = this.#inNamespace(process.execPath, [
      script,
      'https://127.0.0.1:6443',
      tokens.admin,
    ]);
    if (!child.stdout) throw new Error('the relay has no stdout');
    child.stdin?.on('error', () => {}); // its end says so too
    child.once('exit', () => {
      for (const answer of this.#waiting.values()) answer(relayEnded);
      this.#waiting.clear();
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      const answer = JSON.parse(line) as ApiAnswer & { id: number };
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    return child;
  }
}

function nodeFlags(trust: NodeTrust | undefined): readonly string[] {
  if (trust === undefined) return ['--authorization-mode=RBAC'];
  return [
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    `--client-ca-file=${trust.clientCa}`,
    `--kubelet-client-certificate=${trust.kubeletClientCertificate}`,
    `--kubelet-client-key=${trust.kubeletClientKey}`,
    `--kubelet-certificate-authority=${trust.servingCa}`,
    '--kubelet-preferred-address-types=InternalIP',
    // As kubeadm has them.
    `--requestheader-client-ca-file=${trust.frontProxyCa}`,
    `--proxy-client-cert-file=${trust.frontProxyCertificate}`,
    `--proxy-client-key-file=${trust.frontProxyKey}`,
    '--requestheader-allowed-names=front-proxy-client',
    '--requestheader-username-headers=X-Remote-User',
    '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
  ];
}
