import { Buffer } from 'node:buffer';

import { SwitchyardError } from '../../error.ts';
import { allContainers } from '../pod/pod.ts';
import type { Container, EnvFrom, EnvVar, KeySelector } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import type { Environment, EnvValue, PodAddresses } from '../ports/environment.ts';
import type { ConfigMapData, ReferencedObjects, SecretData } from '../ports/referenced-objects.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';
import { expand } from './expand.ts';
import { podField } from './pod-fields.ts';
import { resourceField } from './resource-field.ts';
import type { Allocatable } from './resource-field.ts';
import { serviceVariables } from './service-variables.ts';
import type { LinkedService } from './service-variables.ts';

export interface EnvironmentSources {
  /** Undefined: there is no API server. */
  readonly objects: Pick<ReferencedObjects, 'configMap' | 'secret'> | undefined;
  /** All services of the cluster; undefined: they were not read once yet. Empty without an API server. */
  readonly services: () => Iterable<LinkedService> | undefined;
  readonly allocatable: Allocatable;
}

/**
 * The variables of containers (Kubernetes: Define Environment Variables for a Container). Their order is that of the declaration: what
 * `envFrom` brings, sorted within each source, then `env`, then the services'.
 */
export class ContainerEnvironment implements Environment {
  readonly #sources: EnvironmentSources;

  constructor(sources: EnvironmentSources) {
    this.#sources = sources;
  }

  async build(
    pod: Pod,
    container: Container,
    addresses: PodAddresses,
    signal: AbortSignal,
  ): Promise<readonly EnvValue[]> {
    const services = this.#services(pod);
    const values = new Map<string, string>();
    for (const source of container.envFrom) {
      for (const [name, value] of await this.#valuesFrom(source, pod.metadata.namespace, signal)) {
        values.set(name, value);
      }
    }
    for (const variable of container.env) {
      const value =
        variable.valueFrom === undefined || (variable.value ?? '') !== ''
          ? expand(variable.value ?? '', (name) => values.get(name) ?? services.get(name))
          : await this.#valueFrom(variable.valueFrom, { pod, container, addresses, signal });
      if (value !== undefined) values.set(variable.name, value);
    }
    for (const [name, value] of services) {
      if (!values.has(name)) values.set(name, value);
    }
    return Array.from(values, ([name, value]) => ({ name, value }));
  }

  /** A static pod does not wait for them: the API server may be one itself. */
  #services(pod: Pod): ReadonlyMap<string, string> {
    const { metadata, spec } = pod;
    const services = this.#sources.services() ?? (isStaticPod(pod) ? [] : undefined);
    if (services === undefined) {
      const message = 'services have not yet been read at least once, cannot construct envvars';
      throw new SwitchyardError('source', message, { retryable: true });
    }
    const variables = serviceVariables(services, metadata.namespace, spec.enableServiceLinks);
    return new Map(variables.map(({ name, value }) => [name, value]));
  }

  async #valuesFrom(
    { prefix = '', configMapRef, secretRef }: EnvFrom,
    namespace: string,
    signal: AbortSignal,
  ): Promise<readonly (readonly [string, string])[]> {
    const found = new Map<string, string>();
    if (configMapRef !== undefined) {
      const { name, optional } = configMapRef;
      const map = await this.#configMap({ namespace, name, optional }, signal);
      for (const [key, value] of Object.entries(map?.data ?? {})) found.set(key, value);
    }
    if (secretRef !== undefined) {
      const { name, optional } = secretRef;
      const secret = await this.#secret({ namespace, name, optional }, signal);
      for (const [key, value] of Object.entries(secret?.data ?? {})) found.set(key, textOf(value));
    }
    return Array.from(found, ([key, value]) => [prefix + key, value] as const).toSorted(
      ([a], [b]) => (a < b ? -1 : 1),
    );
  }

  /** Undefined: it is optional, and not there. */
  async #valueFrom(
    from: NonNullable<EnvVar['valueFrom']>,
    where: Where,
  ): Promise<string | undefined> {
    const { namespace } = where.pod.metadata;
    const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = from;
    if (fieldRef !== undefined) {
      const value = podField(where.pod, fieldRef.fieldPath, where.addresses);
      return value ?? refuse(`unsupported fieldPath: ${fieldRef.fieldPath}`);
    }
    if (resourceFieldRef !== undefined) {
      const of = containerOf(where, resourceFieldRef.containerName);
      const value = resourceField(of, resourceFieldRef, this.#sources.allocatable);
      return value ?? refuse(`unsupported container resource : ${resourceFieldRef.resource}`);
    }
    if (configMapKeyRef !== undefined) {
      const { name, optional } = configMapKeyRef;
      const found = await this.#configMap({ namespace, name, optional }, where.signal);
      return found && keyOf(found.data, configMapKeyRef, `ConfigMap ${namespace}/${name}`);
    }
    if (secretKeyRef !== undefined) {
      const { name, optional } = secretKeyRef;
      const found = await this.#secret({ namespace, name, optional }, where.signal);
      const value = found && keyOf(found.data, secretKeyRef, `Secret ${namespace}/${name}`);
      return value && textOf(value);
    }
    return '';
  }

  async #configMap(wanted: Wanted, signal: AbortSignal): Promise<ConfigMapData | undefined> {
    const { objects } = this.#sources;
    if (objects === undefined) throw noClient('configMap', wanted);
    const found = await objects.configMap(wanted.namespace, wanted.name, signal);
    return found ?? absent('configmap', wanted);
  }

  async #secret(wanted: Wanted, signal: AbortSignal): Promise<SecretData | undefined> {
    const { objects } = this.#sources;
    if (objects === undefined) throw noClient('secret', wanted);
    const found = await objects.secret(wanted.namespace, wanted.name, signal);
    return found ?? absent('secret', wanted);
  }
}

/** Whose variable it is. */
interface Where {
  readonly pod: Pod;
  readonly container: Container;
  readonly addresses: PodAddresses;
  readonly signal: AbortSignal;
}

interface Wanted {
  readonly namespace: string;
  readonly name: string;
  readonly optional: boolean | undefined;
}

function containerOf({ pod, container }: Where, name: string | undefined): Container {
  if (name === undefined || name === '') return container;
  return (
    allContainers(pod.spec).find((each) => each.name === name) ??
    refuse(`container ${name} not found`)
  );
}

function keyOf<V>(
  data: Readonly<Record<string, V>>,
  { key, optional }: KeySelector,
  place: string,
): V | undefined {
  if (Object.hasOwn(data, key)) return data[key];
  return optional === true ? undefined : refuse(`couldn't find key ${key} in ${place}`);
}

function absent(kind: string, { name, optional }: Wanted): undefined {
  return optional === true ? undefined : refuse(`${kind} "${name}" not found`);
}

function refuse(message: string): never {
  throw new SwitchyardError('object', message, { retryable: true });
}

function noClient(kind: string, { namespace, name }: Wanted): SwitchyardError {
  const message = `couldn't get ${kind} ${namespace}/${name}, no kubeClient defined`;
  return new SwitchyardError('missing', message);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}
