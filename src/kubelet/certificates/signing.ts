import { X509Certificate, createHash, createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { Clock } from '../../clock.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { ApiObject, ObjectAnswer, ObjectApi } from '../api/object-api.ts';
import { certificateRequest } from './certificate-request.ts';
import type { CertificateSubject } from './certificate-request.ts';

/** What the API server is asked to have signed. */
export interface SigningWish {
  readonly signer: 'kubernetes.io/kube-apiserver-client-kubelet' | 'kubernetes.io/kubelet-serving';
  readonly subject: CertificateSubject;
}

/** What asks for it. */
export interface SigningPorts {
  readonly api: Pick<ObjectApi, 'get' | 'send'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether what was asked for is still what is wanted: asked while nobody has decided yet. */
  readonly isWanted?: () => Promise<boolean>;
}

const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const firstLookMs = 500;
const longestLookMs = 10_000;
/** A controller approves within seconds, where one does. */
const silentMs = 10_000;
const remindMs = 5 * 60_000;
const usages = {
  'kubernetes.io/kube-apiserver-client-kubelet': ['digital signature', 'client auth'],
  'kubernetes.io/kubelet-serving': ['digital signature', 'server auth'],
} as const;

/** What was answered will not become a certificate: another key, and so another request, is needed. */
export class RequestRefused extends SwitchyardError {}

/**
 * Has a certificate signed by a CertificateSigningRequest, and gives it in PEM. Waits for as long as nobody has decided: the request has the
 * same name each time it is made with the same key, so that a waiting one is found again after a restart. Throws {@link RequestRefused} where
 * it was denied, has failed, or is not wanted any more.
 */
export async function signed(
  wish: SigningWish,
  key: KeyObject,
  ports: SigningPorts,
  signal: AbortSignal,
): Promise<string> {
  const request = new Request(wish, key, ports);
  await request.create(signal);
  return request.wait(signal);
}

class Request {
  readonly #wish: SigningWish;
  readonly #key: KeyObject;
  readonly #ports: SigningPorts;
  readonly #name: string;

  constructor(wish: SigningWish, key: KeyObject, ports: SigningPorts) {
    this.#wish = wish;
    this.#key = key;
    this.#ports = ports;
    this.#name = requestName(wish, key);
  }

  /** One that is there already is that of an agent before this one. */
  async create(signal: AbortSignal): Promise<void> {
    const { signer, subject } = this.#wish;
    const pem = certificateRequest(subject, this.#key);
    const answer = await this.#ports.api.send(
      'create',
      path,
      {
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: { name: this.#name },
        spec: {
          request: Buffer.from(pem).toString('base64'),
          signerName: signer,
          usages: usages[signer],
        },
      },
      signal,
    );
    if (answer.object === undefined && answer.status !== 409) throw unanswered(this.#text, answer);
    const log = { request: this.#name, signer };
    this.#ports.log.info(log, 'asked for a certificate');
  }

  async wait(signal: AbortSignal): Promise<string> {
    const { clock } = this.#ports;
    const beganMs = clock.monotonic();
    let toldMs = -Infinity;
    for (let lookMs = firstLookMs; ; lookMs = Math.min(lookMs * 1.5, longestLookMs)) {
      await clock.sleep(lookMs, signal);
      signal.throwIfAborted();
      const state = await this.#look(signal);
      if (state.kind === 'issued') return state.pem;
      if ((await this.#ports.isWanted?.()) === false)
        throw new RequestRefused('source', `${this.#text} is not what is needed any more`);
      const nowMs = clock.monotonic();
      if (nowMs - beganMs < silentMs || nowMs - toldMs < remindMs) continue;
      toldMs = nowMs;
      this.#ports.log.warn({ request: this.#name }, `${this.#text}: ${state.text}`);
    }
  }

  async #look(signal: AbortSignal): Promise<RequestState> {
    const answer = await this.#ports.api.get(`${path}/${this.#name}`, signal);
    if (answer.status === 404) {
      // Those that nobody decides on are removed after a day.
      await this.create(signal);
      return { kind: 'waiting', text: 'was removed, and is made anew' };
    }
    if (answer.object === undefined) throw unanswered(this.#text, answer);
    const state = stateOf(this.#name, answer.object);
    if (state.kind === 'refused')
      throw new RequestRefused('source', `${this.#text} ${state.text}`, { hint: state.cure });
    if (state.kind === 'issued') this.#check(state.pem);
    return state;
  }

  /** Whoever signs could have mixed something up: TLS would fail without a word about it. */
  #check(pem: string): void {
    let isOwn: boolean;
    try {
      isOwn = new X509Certificate(pem).checkPrivateKey(this.#key);
    } catch (cause) {
      throw new RequestRefused(
        'source',
        `${this.#text} was answered with what is no certificate: ${errorText(cause)}`,
        { cause },
      );
    }
    if (!isOwn)
      throw new RequestRefused('source', `${this.#text} was answered with one of another key`);
  }

  get #text(): string {
    return `CertificateSigningRequest ${this.#name} (${this.#wish.signer})`;
  }
}

type RequestState =
  | { readonly kind: 'issued'; readonly pem: string }
  | { readonly kind: 'waiting'; readonly text: string }
  | { readonly kind: 'refused'; readonly text: string; readonly cure: string };

interface RequestStatus {
  readonly certificate?: string;
  readonly conditions?: readonly {
    readonly type: string;
    readonly status?: string;
    readonly reason?: string;
    readonly message?: string;
  }[];
}

function stateOf(name: string, object: ApiObject): RequestState {
  const { certificate = '', conditions = [] } = (object['status'] ?? {}) as RequestStatus;
  const is = (type: string): RequestStatus['conditions'] =>
    conditions.filter((each) => each.type === type && each.status !== 'False');
  for (const [type, text] of [
    ['Denied', 'was denied'],
    ['Failed', 'could not be signed'],
  ] as const) {
    const [found] = is(type) ?? [];
    if (found === undefined) continue;
    const why = [found.reason, found.message].filter((each) => each !== undefined && each !== '');
    return {
      kind: 'refused',
      text: why.length === 0 ? text : `${text}: ${why.join(': ')}`,
      cure: `another one is made with another key; if that is to be signed: kubectl get csr, then kubectl certificate approve NAME`,
    };
  }
  if (certificate !== '')
    return { kind: 'issued', pem: Buffer.from(certificate, 'base64').toString('utf8') };
  if ((is('Approved') ?? []).length > 0)
    return {
      kind: 'waiting',
      text: 'is approved and not signed: a controller manager with --cluster-signing-cert-file signs',
    };
  return {
    kind: 'waiting',
    text: `waits for approval: kubectl certificate approve ${name}`,
  };
}

/** The same for the same key and wish. `node-csr-` is how upstream's names of first certificates begin. */
function requestName({ signer, subject }: SigningWish, key: KeyObject): string {
  const hash = createHash('sha256')
    .update(createPublicKey(key).export({ type: 'spki', format: 'der' }))
    .update(JSON.stringify([signer, subject.organization, subject.commonName, subject.names]))
    .digest('hex');
  const prefix = signer === 'kubernetes.io/kubelet-serving' ? 'csr' : 'node-csr';
  return `${prefix}-${hash.slice(0, 40)}`;
}

function unanswered(what: string, { reason, status }: ObjectAnswer): SwitchyardError {
  return new SwitchyardError('source', `${what}: ${reason}`, {
    retryable: true,
    ...(status === 403 && {
      hint: 'bind the ClusterRole system:node-bootstrapper to whoever asks for a first certificate: kubectl create clusterrolebinding',
    }),
  });
}
