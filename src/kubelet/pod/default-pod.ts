import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import { mapsOf, quantityWritten, textOf } from './raw-fields.ts';
import type { Pod } from './pod.ts';

/**
 * A raw v1 Pod (JSON or YAML, already known to have the types of one) with all defaults (as the API reference has them): what has a default
 * is there, and lists that are always asked for are empty rather than absent. Fields that Switchyard does not read stay, for
 * `unsupportedFields`. What came from an API server has its defaults already, and keeps them.
 */
export function defaultPod(raw: Raw): Pod {
  const { managedFields: _, ...metadata } = section(raw, 'metadata');
  return {
    metadata: {
      namespace: 'default',
      uid: '',
      ...metadata,
      labels: section(metadata, 'labels'),
      annotations: section(metadata, 'annotations'),
    },
    spec: podSpec(section(raw, 'spec')),
    status: section(raw, 'status'),
    // What it is made of has the names and types of the API; validation was before, or the API server's.
  } as unknown as Pod;
}

function podSpec(spec: Raw): Raw {
  const hostNetwork = spec['hostNetwork'] === true;
  const containers = (key: string): Raw[] =>
    mapsOf(spec, key).map((each) => container(each, hostNetwork));
  return {
    nodeName: '',
    restartPolicy: 'Always',
    dnsPolicy: 'ClusterFirst',
    terminationGracePeriodSeconds: 30,
    schedulerName: 'default-scheduler',
    enableServiceLinks: true,
    shareProcessNamespace: false,
    hostPID: false,
    hostIPC: false,
    ...present(spec),
    hostNetwork,
    securityContext: section(spec, 'securityContext'),
    containers: containers('containers'),
    initContainers: containers('initContainers'),
    ephemeralContainers: containers('ephemeralContainers'),
    volumes: mapsOf(spec, 'volumes').map(volume),
    ...(spec['resources'] === undefined ? {} : { resources: resources(spec) }),
  };
}

function container(raw: Raw, hostNetwork: boolean): Raw {
  return {
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: usualPullPolicy(textOf(raw['image'])),
    ...present(raw),
    ports: mapsOf(raw, 'ports').map((port) => containerPort(port, hostNetwork)),
    env: mapsOf(raw, 'env').map(envVar),
    envFrom: mapsOf(raw, 'envFrom'),
    resources: resources(raw),
    volumeMounts: mapsOf(raw, 'volumeMounts'),
    ...mapped(raw, 'livenessProbe', probe),
    ...mapped(raw, 'readinessProbe', probe),
    ...mapped(raw, 'startupProbe', probe),
    ...mapped(raw, 'lifecycle', (lifecycle) => ({
      ...lifecycle,
      ...mapped(lifecycle, 'postStart', handler),
      ...mapped(lifecycle, 'preStop', handler),
    })),
  };
}

/** By its tag: `latest`, said or not, may be another image tomorrow. */
function usualPullPolicy(image: string): string {
  if (image.includes('@')) return 'IfNotPresent';
  const last = image.slice(image.lastIndexOf('/') + 1);
  const tag = last.includes(':') ? last.slice(last.indexOf(':') + 1) : 'latest';
  return tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function containerPort(raw: Raw, hostNetwork: boolean): Raw {
  return {
    protocol: 'TCP',
    ...(hostNetwork ? { hostPort: raw['containerPort'] } : {}),
    ...present(raw),
  };
}

function envVar(raw: Raw): Raw {
  return {
    ...raw,
    ...mapped(raw, 'valueFrom', (from) => ({
      ...from,
      ...mapped(from, 'fieldRef', fieldRef),
      ...mapped(from, 'resourceFieldRef', resourceFieldRef),
    })),
  };
}

function fieldRef(raw: Raw): Raw {
  return { apiVersion: 'v1', ...present(raw) };
}

function resourceFieldRef(raw: Raw): Raw {
  return { divisor: '0', ...present(raw) };
}

/** A limit without a request is one; quantities may be written as numbers. */
function resources(raw: Raw): Raw {
  const given = section(raw, 'resources');
  const limits = quantities(given, 'limits');
  const requests = quantities(given, 'requests');
  const both = { ...limits, ...requests };
  return {
    ...given,
    ...(limits === undefined ? {} : { limits }),
    ...(limits === undefined && requests === undefined ? {} : { requests: both }),
  };
}

function quantities(raw: Raw, key: string): Readonly<Record<string, string>> | undefined {
  const given = raw[key];
  if (!isRaw(given)) return undefined;
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name, quantityWritten(value)]),
  );
}

function probe(raw: Raw): Raw {
  return {
    initialDelaySeconds: 0,
    ...handler(raw),
    timeoutSeconds: positive(raw['timeoutSeconds'], 1),
    periodSeconds: positive(raw['periodSeconds'], 10),
    successThreshold: positive(raw['successThreshold'], 1),
    failureThreshold: positive(raw['failureThreshold'], 3),
  };
}

/** Zero means the default, as in the API. */
function positive(value: unknown, usual: number): unknown {
  return value === undefined || value === null || value === 0 ? usual : value;
}

function handler(raw: Raw): Raw {
  return {
    ...present(raw),
    ...mapped(raw, 'httpGet', (get) => ({ path: '/', scheme: 'HTTP', ...present(get) })),
    ...mapped(raw, 'grpc', (grpc) => ({ service: '', ...present(grpc) })),
  };
}

const usualMode = 0o644;

function volume(raw: Raw): Raw {
  const sources = Object.keys(present(raw)).filter((key) => key !== 'name');
  const withMode = (from: Raw): Raw => ({ defaultMode: usualMode, ...present(from) });
  const withItems = (from: Raw): Raw => ({ ...withMode(from), ...items(from) });
  return {
    ...raw,
    ...(sources.length === 0 ? { emptyDir: {} } : {}),
    ...mapped(raw, 'emptyDir', (from) => ({
      ...from,
      ...(from['sizeLimit'] === undefined ? {} : { sizeLimit: quantityWritten(from['sizeLimit']) }),
    })),
    ...mapped(raw, 'hostPath', (path) => ({ type: '', ...present(path) })),
    ...mapped(raw, 'configMap', withMode),
    ...mapped(raw, 'secret', withMode),
    ...mapped(raw, 'downwardAPI', withItems),
    ...mapped(raw, 'projected', (projected) => ({
      ...withMode(projected),
      sources: mapsOf(projected, 'sources').map(projection),
    })),
  };
}

function projection(raw: Raw): Raw {
  return {
    ...raw,
    ...mapped(raw, 'downwardAPI', (from) => ({ ...from, ...items(from) })),
    ...mapped(raw, 'serviceAccountToken', (token) => ({
      expirationSeconds: 3600,
      ...present(token),
    })),
  };
}

function items(raw: Raw): Raw {
  if (raw['items'] === undefined) return {};
  return {
    items: mapsOf(raw, 'items').map((item) => ({
      ...item,
      ...mapped(item, 'fieldRef', fieldRef),
      ...mapped(item, 'resourceFieldRef', resourceFieldRef),
    })),
  };
}

/** Without what is null: that means absent. */
function present(raw: Raw): Raw {
  return Object.fromEntries(Object.entries(raw).filter(([, value]) => value !== null));
}

function section(raw: Raw, key: string): Raw {
  const value = raw[key];
  return isRaw(value) ? present(value) : {};
}

/** The field with a change, where it is there. */
function mapped(raw: Raw, key: string, change: (value: Raw) => Raw): Raw {
  const value = raw[key];
  return isRaw(value) ? { [key]: change(value) } : {};
}
