import type { FlagTable } from './flag-table.ts';
import {
  bool,
  duration,
  int,
  intSet,
  kubeletField,
  on,
  oneOf,
  text,
  texts,
} from './kubelet-field.ts';

const secondMs = 1000;
const minuteMs = 60 * secondMs;

/** Fields of KubeletConfiguration about what listens: ports, certificates, who may ask and for what. */
export const kubeletServerFields: FlagTable = [
  kubeletField(
    'address',
    { ...text, default: '0.0.0.0', flag: 'address', placeholder: 'IP' },
    'Where the server listens.',
  ),
  kubeletField('port', { ...intSet(10_250), flag: 'port' }, 'Its port.'),
  kubeletField('enableServer', on, 'Whether there is a server.'),
  kubeletField(
    'tlsCertFile',
    { ...text, flag: 'tls-cert-file', placeholder: 'FILE' },
    'Its certificate, with the chain. Without one a self-signed one is made in --cert-dir.',
  ),
  kubeletField(
    'tlsPrivateKeyFile',
    { ...text, flag: 'tls-private-key-file', placeholder: 'FILE' },
    'The key of it.',
  ),
  kubeletField(
    'tlsMinVersion',
    oneOf('', 'VersionTLS12', 'VersionTLS13'),
    'The oldest version of TLS that is spoken; 1.2 unless given.',
  ),
  kubeletField('tlsCipherSuites', texts, 'Names of the suites that TLS 1.2 may use.'),
  kubeletField(
    'authentication.x509.clientCAFile',
    { ...text, flag: 'client-ca-file', placeholder: 'FILE' },
    'Who signs the certificates of clients.',
  ),
  kubeletField(
    'rotateCertificates',
    { ...bool, flag: 'rotate-certificates' },
    'Whether a client certificate is renewed before it ends, and kept in --cert-dir.',
  ),
  kubeletField(
    'serverTLSBootstrap',
    { ...bool, flag: 'rotate-server-certificates' },
    'Whether the cluster is asked to sign what the server serves with, and again before it ends. Somebody has to approve that.',
  ),
  kubeletField(
    'authentication.webhook.enabled',
    on,
    'Whether the API server is asked whose a token is.',
  ),
  kubeletField(
    'authentication.webhook.cacheTTL',
    duration(2 * minuteMs),
    'How long its answer counts.',
  ),
  kubeletField(
    'authentication.anonymous.enabled',
    { ...bool, flag: 'anonymous-auth' },
    'Whether those without credentials are let in, as system:anonymous.',
  ),
  kubeletField(
    'authorization.mode',
    { ...oneOf('Webhook', 'AlwaysAllow'), flag: 'authorization-mode' },
    'Webhook: the API server is asked who may do what.',
  ),
  kubeletField(
    'authorization.webhook.cacheAuthorizedTTL',
    duration(5 * minuteMs),
    'How long a yes counts.',
  ),
  kubeletField(
    'authorization.webhook.cacheUnauthorizedTTL',
    duration(30 * secondMs),
    'How long a no counts.',
  ),
  kubeletField(
    'enableDebuggingHandlers',
    on,
    'Whether the server has exec, attach, portForward, containerLogs and logs.',
  ),
  kubeletField(
    'enableSystemLogHandler',
    on,
    'Whether it shows the files of /var/log, links in there not followed.',
  ),
  kubeletField(
    'streamingConnectionIdleTimeout',
    duration(4 * 60 * minuteMs),
    'How long a stream of exec, attach or portForward may be silent.',
  ),
  kubeletField(
    'readOnlyPort',
    { ...int(0), flag: 'read-only-port' },
    'A port without TLS and without exec; 0: none.',
  ),
  kubeletField(
    'healthzPort',
    { ...int(10_248), flag: 'healthz-port' },
    'Where health is asked for; 0: nowhere.',
  ),
  kubeletField(
    'healthzBindAddress',
    { ...text, default: '127.0.0.1', flag: 'healthz-bind-address', placeholder: 'IP' },
    'The address of that port.',
  ),
];
