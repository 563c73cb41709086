import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import { parseQuantity } from './quantity.ts';
import { quantityWritten } from './raw-fields.ts';

/** What is wrong with one field of a pod. */
export interface PodProblem {
  /** `spec.containers[0].image` */
  readonly field: string;
  readonly reason: string;
}

/** What a value of a field has to be. */
export type Shape =
  | Scalar
  | { readonly oneOf: readonly string[] }
  | { readonly mapOf: Shape }
  | { readonly listOf: Shape }
  | { readonly fields: Readonly<Record<string, Shape>> };

const texts = { listOf: 'text' } as const;
const textMap = { mapOf: 'text' } as const;
const resources: Shape = {
  fields: { limits: { mapOf: 'quantity' }, requests: { mapOf: 'quantity' } },
};
const profile: Shape = {
  fields: {
    type: { oneOf: ['RuntimeDefault', 'Unconfined', 'Localhost'] },
    localhostProfile: 'text',
  },
};
const seLinux: Shape = { fields: { user: 'text', role: 'text', type: 'text', level: 'text' } };
const httpGet: Shape = {
  fields: {
    path: 'text',
    port: 'intOrText',
    host: 'text',
    scheme: { oneOf: ['HTTP', 'HTTPS'] },
    httpHeaders: { listOf: { fields: { name: 'text', value: 'text' } } },
  },
};
const exec: Shape = { fields: { command: texts } };
const tcpSocket: Shape = { fields: { port: 'intOrText', host: 'text' } };
const hook: Shape = { fields: { exec, httpGet, tcpSocket, sleep: { fields: { seconds: 'int' } } } };
const probe: Shape = {
  fields: {
    exec,
    httpGet,
    tcpSocket,
    grpc: { fields: { port: 'int', service: 'text' } },
    initialDelaySeconds: 'int',
    timeoutSeconds: 'int',
    periodSeconds: 'int',
    successThreshold: 'int',
    failureThreshold: 'int',
    terminationGracePeriodSeconds: 'int',
  },
};
const fieldRef: Shape = { fields: { apiVersion: 'text', fieldPath: 'text' } };
const resourceFieldRef: Shape = {
  fields: { containerName: 'text', resource: 'text', divisor: 'quantity' },
};
const keyRef: Shape = { fields: { name: 'text', key: 'text', optional: 'bool' } };
const nameRef: Shape = { fields: { name: 'text', optional: 'bool' } };
const container: Shape = {
  fields: {
    name: 'text',
    image: 'text',
    imagePullPolicy: { oneOf: ['Always', 'IfNotPresent', 'Never'] },
    command: texts,
    args: texts,
    workingDir: 'text',
    ports: {
      listOf: {
        fields: {
          name: 'text',
          containerPort: 'int',
          hostPort: 'int',
          hostIP: 'text',
          protocol: { oneOf: ['TCP', 'UDP', 'SCTP'] },
        },
      },
    },
    env: {
      listOf: {
        fields: {
          name: 'text',
          value: 'text',
          valueFrom: {
            fields: { configMapKeyRef: keyRef, secretKeyRef: keyRef, fieldRef, resourceFieldRef },
          },
        },
      },
    },
    envFrom: {
      listOf: { fields: { prefix: 'text', configMapRef: nameRef, secretRef: nameRef } },
    },
    resources,
    volumeMounts: {
      listOf: {
        fields: {
          name: 'text',
          mountPath: 'text',
          readOnly: 'bool',
          recursiveReadOnly: { oneOf: ['Disabled', 'IfPossible', 'Enabled'] },
          subPath: 'text',
          subPathExpr: 'text',
          mountPropagation: { oneOf: ['None', 'HostToContainer', 'Bidirectional'] },
        },
      },
    },
    restartPolicy: { oneOf: ['Always', 'OnFailure', 'Never'] },
    livenessProbe: probe,
    readinessProbe: probe,
    startupProbe: probe,
    lifecycle: { fields: { postStart: hook, preStop: hook, stopSignal: 'text' } },
    terminationMessagePath: 'text',
    terminationMessagePolicy: { oneOf: ['File', 'FallbackToLogsOnError'] },
    securityContext: {
      fields: {
        runAsUser: 'int',
        runAsGroup: 'int',
        runAsNonRoot: 'bool',
        privileged: 'bool',
        allowPrivilegeEscalation: 'bool',
        readOnlyRootFilesystem: 'bool',
        procMount: { oneOf: ['Default', 'Unmasked'] },
        capabilities: { fields: { add: texts, drop: texts } },
        seccompProfile: profile,
        appArmorProfile: profile,
        seLinuxOptions: seLinux,
      },
    },
    stdin: 'bool',
    stdinOnce: 'bool',
    tty: 'bool',
  },
};
const items: Shape = { listOf: { fields: { key: 'text', path: 'text', mode: 'int' } } };
const downwardItems: Shape = {
  listOf: { fields: { path: 'text', mode: 'int', fieldRef, resourceFieldRef } },
};
const volume: Shape = {
  fields: {
    name: 'text',
    emptyDir: { fields: { medium: 'text', sizeLimit: 'quantity' } },
    hostPath: { fields: { path: 'text', type: 'text' } },
    configMap: { fields: { name: 'text', items, defaultMode: 'int', optional: 'bool' } },
    secret: { fields: { secretName: 'text', items, defaultMode: 'int', optional: 'bool' } },
    downwardAPI: { fields: { items: downwardItems, defaultMode: 'int' } },
    projected: {
      fields: {
        defaultMode: 'int',
        sources: { listOf: { fields: { downwardAPI: { fields: { items: downwardItems } } } } },
      },
    },
  },
};

/** Where a pod has which types; a field that is not here is not read. */
export const podShape: Shape = {
  fields: {
    metadata: {
      fields: {
        name: 'text',
        namespace: 'text',
        uid: 'text',
        labels: textMap,
        annotations: textMap,
      },
    },
    spec: {
      fields: {
        nodeName: 'text',
        containers: { listOf: container },
        initContainers: { listOf: container },
        volumes: { listOf: volume },
        restartPolicy: { oneOf: ['Always', 'OnFailure', 'Never'] },
        terminationGracePeriodSeconds: 'int',
        activeDeadlineSeconds: 'int',
        dnsPolicy: { oneOf: ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'] },
        dnsConfig: {
          fields: {
            nameservers: texts,
            searches: texts,
            options: { listOf: { fields: { name: 'text', value: 'text' } } },
          },
        },
        enableServiceLinks: 'bool',
        hostAliases: { listOf: { fields: { ip: 'text', hostnames: texts } } },
        hostname: 'text',
        hostnameOverride: 'text',
        subdomain: 'text',
        setHostnameAsFQDN: 'bool',
        hostNetwork: 'bool',
        hostPID: 'bool',
        hostIPC: 'bool',
        shareProcessNamespace: 'bool',
        securityContext: {
          fields: {
            runAsUser: 'int',
            runAsGroup: 'int',
            runAsNonRoot: 'bool',
            fsGroup: 'int',
            fsGroupChangePolicy: { oneOf: ['Always', 'OnRootMismatch'] },
            supplementalGroups: { listOf: 'int' },
            supplementalGroupsPolicy: { oneOf: ['Merge', 'Strict'] },
            sysctls: { listOf: { fields: { name: 'text', value: 'text' } } },
            seccompProfile: profile,
            appArmorProfile: profile,
            seLinuxOptions: seLinux,
          },
        },
        serviceAccountName: 'text',
        imagePullSecrets: { listOf: { fields: { name: 'text' } } },
        readinessGates: { listOf: { fields: { conditionType: 'text' } } },
        tolerations: {
          listOf: {
            fields: {
              key: 'text',
              operator: { oneOf: ['Exists', 'Equal', 'Lt', 'Gt'] },
              value: 'text',
              effect: { oneOf: ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute'] },
              tolerationSeconds: 'int',
            },
          },
        },
        nodeSelector: textMap,
        priority: 'int',
        priorityClassName: 'text',
        runtimeClassName: 'text',
        overhead: { mapOf: 'quantity' },
        resources,
        os: { fields: { name: 'text' } },
      },
    },
  },
};

/** All values that are not what their field takes; null is as good as absent. */
export function shapeProblems(value: unknown, shape: Shape, at = ''): readonly PodProblem[] {
  if (value === undefined || value === null) return [];
  if (typeof shape === 'string') return scalarProblems(value, shape, at);
  if ('oneOf' in shape) {
    if (typeof value === 'string' && shape.oneOf.includes(value)) return [];
    const known = shape.oneOf.filter((each) => each !== '').join(', ');
    return [{ field: at, reason: `expected one of ${known}, got ${shown(value)}` }];
  }
  if ('listOf' in shape) {
    if (!Array.isArray(value)) return wrong(at, 'a list', value);
    return value.flatMap((each, index) => shapeProblems(each, shape.listOf, `${at}[${index}]`));
  }
  if (!isRaw(value)) return wrong(at, 'a map', value);
  if ('mapOf' in shape) {
    return Object.entries(value).flatMap(([key, each]) =>
      each === null
        ? wrong(`${at}[${key}]`, 'a value', each)
        : shapeProblems(each, shape.mapOf, `${at}[${key}]`),
    );
  }
  return fieldProblems(value, shape.fields, at);
}

function fieldProblems(
  value: Raw,
  fields: Readonly<Record<string, Shape>>,
  at: string,
): readonly PodProblem[] {
  return Object.entries(fields).flatMap(([name, shape]) =>
    shapeProblems(value[name], shape, at === '' ? name : `${at}.${name}`),
  );
}

type Scalar = 'text' | 'int' | 'bool' | 'quantity' | 'intOrText';

const scalars: Readonly<
  Record<Scalar, { readonly is: (value: unknown) => boolean; readonly expected: string }>
> = {
  text: { is: (value) => typeof value === 'string', expected: 'a text (quote it)' },
  bool: { is: (value) => typeof value === 'boolean', expected: 'true or false' },
  int: { is: Number.isSafeInteger, expected: 'a whole number' },
  intOrText: {
    is: (value) => typeof value === 'string' || Number.isSafeInteger(value),
    expected: 'a port or the name of one',
  },
  quantity: {
    is: (value) => parseQuantity(quantityWritten(value)) !== undefined,
    expected: 'a quantity such as 100m or 64Mi',
  },
};

function scalarProblems(value: unknown, shape: Scalar, at: string): readonly PodProblem[] {
  const { is, expected } = scalars[shape];
  return is(value) ? [] : wrong(at, expected, value);
}

function wrong(field: string, expected: string, value: unknown): readonly PodProblem[] {
  return [{ field, reason: `expected ${expected}, got ${shown(value)}` }];
}

/** Quoted, so that control characters do not reach a terminal. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
