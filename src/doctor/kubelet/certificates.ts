import { judgeClock } from '../clock.ts';
import { judgeDates } from '../credentials.ts';
import { failure, ok, skipped, warning } from '../finding.ts';
import type { Finding } from '../finding.ts';
import { kubeletCheck } from './readings.ts';
import type {
  CertificateReading,
  CertificatesReading,
  KubeletApiReading,
  KubeletSubject,
} from './readings.ts';

const client = 'credentials.client-certificate';
const serving = 'credentials.serving-certificate';

/** The files by which the node and the API server know each other: there, fitting, and good for how long. */
export const certificates = kubeletCheck<CertificatesReading>({
  id: 'credentials',
  read: async (readings) => readings.certificates(),
  judge: (reading, subject) => [
    ...clientFindings(reading, subject),
    ...servingFindings(reading),
    ...authority(reading),
  ],
});

function clientFindings(
  { client: found, bootstrap, nowMs }: CertificatesReading,
  { config, nodeName }: KubeletSubject,
): readonly Finding[] {
  if (config.kubeconfig === '') return [skipped(client, 'no API server is wanted')];
  const spare = bootstrap === undefined ? [] : [bootstrapFinding(bootstrap)];
  if (found === undefined)
    return [skipped(client, 'the kubeconfig has a token or a plug-in'), ...spare];
  const isAskedFor = bootstrap !== undefined && bootstrap.problem === undefined;
  const renewal =
    'give --bootstrap-kubeconfig with a token that is good, and start the kubelet anew: it asks for another one';
  switch (found.kind) {
    case 'absent':
      return [
        isAskedFor
          ? ok(client, `${found.path} is not there yet: it is asked for at the start`)
          : failure(client, `${found.path} is not there`, renewal),
        ...spare,
      ];
    case 'unusable':
      return [failure(client, `${found.path}: ${found.problem}`, renewal), ...spare];
    case 'good': {
      const dates = named(
        judgeDates({ what: 'client certificate', ...found }, nowMs),
        found,
        config,
      );
      const isOver = dates.status === 'failure' && isAskedFor;
      const whose = ownName(found, nodeName);
      return [
        isOver
          ? warning(
              client,
              dates.text,
              'start the kubelet: it asks for another one by the bootstrap kubeconfig',
            )
          : dates,
        ...whose,
        ...spare,
      ];
    }
    default:
      return found satisfies never;
  }
}

/** Which one it is, where that is not the kubeconfig's own. */
function named(
  finding: Finding,
  { path }: CertificateReading,
  { kubeconfig }: KubeletSubject['config'],
): Finding {
  if (path === kubeconfig) return finding;
  return {
    ...finding,
    text: `${finding.text} (${path}, which counts more than that of ${kubeconfig})`,
  };
}

/** A node of another name may not write its Node. */
function ownName({ subject }: { readonly subject: string }, nodeName: string): readonly Finding[] {
  const id = 'credentials.node-name';
  if (subject.includes(`CN=system:node:${nodeName}`)) return [ok(id, subject)];
  const text = `the certificate is that of ${subject}, and the node is ${nodeName}`;
  const cure = `give --hostname-override the name in it, or have a certificate for CN=system:node:${nodeName} in O=system:nodes`;
  return [warning(id, text, cure)];
}

function bootstrapFinding({
  path,
  problem,
}: NonNullable<CertificatesReading['bootstrap']>): Finding {
  const id = 'credentials.bootstrap';
  if (problem === undefined) return ok(id, path);
  return warning(
    id,
    `${path}: ${problem}`,
    'make one with a bootstrap token: kubeadm token create; it is needed where the client certificate is not good',
  );
}

function servingFindings({ serving: found, nowMs }: CertificatesReading): readonly Finding[] {
  if (found === undefined) return [ok(serving, 'the kubelet signs one itself')];
  const cure = 'tlsCertFile and tlsPrivateKeyFile take two PEM files that belong together';
  switch (found.kind) {
    case 'absent':
      return [servingAbsent(found)];
    case 'unusable':
      return [failure(serving, `${found.path}: ${found.problem}`, cure)];
    case 'good':
      return [judgeDates({ what: 'serving certificate', ...found }, nowMs)];
    default:
      return [found satisfies never];
  }
}

function servingAbsent({ path }: CertificateReading): Finding {
  if (path.endsWith('-current.pem'))
    return ok(
      serving,
      `${path} is not there yet: it is asked for, and somebody has to approve that`,
    );
  return failure(serving, `${path} is not there`, 'put it there, or leave tlsCertFile out');
}

function authority({ clientCa }: CertificatesReading): readonly Finding[] {
  const id = 'credentials.client-ca';
  if (clientCa === undefined) return [];
  const { path, problem } = clientCa;
  if (problem === undefined) return [ok(id, path)];
  return [
    failure(
      id,
      `${path}: ${problem}`,
      'put the certificate authority of the API server there (clientCAFile)',
    ),
  ];
}

/** Whether the API server knows this node, and has the same time. */
export const api = kubeletCheck<KubeletApiReading>({
  id: 'api',
  read: async (readings) => readings.api(),
  judge: (reading, { nodeName }) => [...server(reading, nodeName), judgeClock(clockOf(reading))],
});

function clockOf(reading: KubeletApiReading): Parameters<typeof judgeClock>[0] {
  return reading.kind === 'answered'
    ? { kind: 'answered', aheadMs: reading.aheadMs }
    : { kind: 'unused' };
}

function server(reading: KubeletApiReading, nodeName: string): readonly Finding[] {
  const id = 'api.server';
  if (reading.kind === 'unused') return [skipped(id, reading.why)];
  if (reading.kind === 'silent') {
    const text = `${reading.server} does not answer: ${reading.problem}`;
    return [failure(id, text, `look from this node: curl -vk ${reading.server}/version`)];
  }
  const { server: url, version, nodeStatus, reason } = reading;
  const answers = ok(id, `${url} answers${version === '' ? '' : ` (${version})`}`);
  return [answers, nodeFinding(nodeStatus, reason, nodeName)];
}

function nodeFinding(status: number, reason: string, nodeName: string): Finding {
  const id = 'api.node';
  if (status === 200) return ok(id, `the Node ${nodeName} is there`);
  if (status === 404) return ok(id, `there is no Node ${nodeName} yet: the kubelet makes it`);
  const cures: Readonly<Record<number, string>> = {
    401: 'give a kubeconfig with credentials that are good: see credentials.*',
    403: 'nodes have their rights by --authorization-mode=Node,RBAC of the API server and a certificate of O=system:nodes',
  };
  return failure(
    id,
    `the Node ${nodeName}: ${reason}`,
    cures[status] ?? 'run it again; if it lasts, see the API server’s own log',
  );
}
