import type { KubeletConfig } from '../../config/kubelet-config.ts';
import { errorText } from '../../error.ts';
import { kubeconfigPair } from '../../informer/node-kubeconfig.ts';
import type { ApiSide } from '../base/api-side.ts';
import { signingKind } from '../certificates/bootstrap.ts';
import { CertificateKeeper } from '../certificates/certificate-keeper.ts';
import { CertificateStore, readPair } from '../certificates/certificate-store.ts';
import type { KeptCertificate } from '../certificates/certificate-store.ts';
import { clientWish, countingClient, isOwnClient } from '../certificates/client-certificate.ts';
import { clientStore } from '../certificates/client-store.ts';
import type { SigningPorts, SigningWish } from '../certificates/signing.ts';
import { ObjectApi } from '../api/object-api.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import type { NodeParts } from './node-parts.ts';
import type { ServingPair } from '../server/access/serving-certificate.ts';

type NodeApi = Pick<ApiSide, 'objects' | 'useClientFile'>;

/** What they need of a kubelet. */
export interface NodeCertificatesBase extends Pick<
  KubeletBase,
  'nodeName' | 'connect' | 'clock' | 'random' | 'log' | 'metrics'
> {
  readonly config: Pick<KubeletConfig, 'certDir' | 'certificates' | 'kubeconfig'>;
  readonly api: NodeApi | undefined;
}

/** The certificates of the node that the cluster signs: asked for, renewed, and taken into use; only those that the configuration wants. */
export class NodeCertificates {
  readonly #base: NodeCertificatesBase;
  readonly #node: Pick<NodeParts, 'addresses'>;
  readonly #client: CertificateStore;
  readonly #serving: CertificateStore;
  /** Whether there is a client certificate to renew. */
  readonly #renewsClient: boolean;
  readonly #keepers: readonly CertificateKeeper[];
  /** Told when another one is to be served with. */
  onServing: () => void = () => {};

  private constructor(base: NodeCertificatesBase, node: Pick<NodeParts, 'addresses'>) {
    const { api, config } = base;
    this.#base = base;
    this.#node = node;
    this.#client = clientStore(config.certDir);
    this.#serving = new CertificateStore(config.certDir, 'kubelet-server');
    this.#renewsClient = api !== undefined && this.#hasClient();
    this.#keepers = [
      ...(api !== undefined && this.#renewsClient ? [this.#clientKeeper(api)] : []),
      ...(api !== undefined && config.certificates.serving ? [this.#servingKeeper(api)] : []),
    ];
  }

  /** The API server is spoken to with the newest client certificate when this resolves. */
  static async open(
    base: NodeCertificatesBase,
    node: Pick<NodeParts, 'addresses'>,
  ): Promise<NodeCertificates> {
    const own = new NodeCertificates(base, node);
    if (base.api !== undefined && own.#renewsClient) await own.#chooseClient(base.api);
    return own;
  }

  /** Until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#keepers.map(async (each) => each.run(signal)));
  }

  /** What is to be served with; undefined: none is signed yet, or none was asked for. */
  async servingPair(): Promise<ServingPair | undefined> {
    const { config, clock } = this.#base;
    if (!config.certificates.serving) return undefined;
    const pair = await this.#serving.current();
    return pair !== undefined && pair.notAfterMs > clock.now() ? pair : undefined;
  }

  /** A node that is known by a token, say, has nothing to renew. */
  #hasClient(): boolean {
    const { config, log } = this.#base;
    if (!config.certificates.rotateClient || config.kubeconfig === '') return false;
    if (kubeconfigPair(config.kubeconfig) !== undefined) return true;
    log.warn({}, 'rotateCertificates has no effect: the kubeconfig has no client certificate');
    return false;
  }

  /** What is kept renewed is what requests are made with: an operator may put another kubeconfig there at any time. */
  async #chooseClient(api: NodeApi): Promise<KeptCertificate | undefined> {
    const kept = await this.#client.current();
    const chosen = this.#newestClient(kept);
    const isKept = kept !== undefined && kept.cert === chosen?.cert;
    await api.useClientFile(isKept ? this.#client.currentPath : undefined);
    return chosen;
  }

  /** That of the kubeconfig, or what came after it; throws where the one cannot be read and the other is of no use. */
  #newestClient(kept: KeptCertificate | undefined): KeptCertificate | undefined {
    const { config, clock, nodeName, log } = this.#base;
    let given: KeptCertificate | undefined;
    try {
      const pair = kubeconfigPair(config.kubeconfig);
      given = pair && readPair(pair.cert, pair.key);
    } catch (error) {
      if (!isOwnClient(kept, nodeName, clock.now())) throw error;
      log.warn({}, `goes on by ${this.#client.currentPath}: ${errorText(error)}`);
    }
    return countingClient({ given, kept }, nodeName, clock.now());
  }

  #clientKeeper(api: NodeApi): CertificateKeeper {
    const { nodeName, metrics, config, connect, clock, log } = this.#base;
    const { bootstrapKubeconfig } = config.certificates;
    const store = this.#client;
    return new CertificateKeeper({
      ...this.#base,
      what: 'client certificate',
      store,
      current: async () => this.#chooseClient(api),
      wish: () => clientWish(nodeName),
      withApi: async (expired, use) => {
        if (!expired || bootstrapKubeconfig === '') return use(this.#signing(api));
        // With a certificate that has expired one is nobody.
        const bootstrap = await connect({ kubeconfig: bootstrapKubeconfig }, { log });
        try {
          return await use(new ObjectApi(bootstrap.client, clock, signingKind));
        } finally {
          await bootstrap.close();
        }
      },
      onRenewed: async () => api.useClientFile(store.currentPath),
      meter: metrics.certificates.client,
    });
  }

  #servingKeeper(api: NodeApi): CertificateKeeper {
    const { metrics } = this.#base;
    return new CertificateKeeper({
      ...this.#base,
      what: 'serving certificate',
      store: this.#serving,
      wish: () => this.#servingWish(),
      withApi: async (_expired, use) => use(this.#signing(api)),
      onRenewed: async () => this.onServing(),
      meter: metrics.certificates.server,
    });
  }

  #servingWish(): SigningWish | undefined {
    const names = this.#node.addresses;
    if (names.length === 0) return undefined;
    const { organization, commonName } = clientWish(this.#base.nodeName).subject;
    const subject = { organization, commonName, names };
    return { signer: 'kubernetes.io/kubelet-serving', subject };
  }

  #signing(api: NodeApi): SigningPorts['api'] {
    return api.objects(signingKind.apiVersion, signingKind.resource);
  }
}
