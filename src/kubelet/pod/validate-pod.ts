import { isIP } from 'node:net';
import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import { labelProblem, objectNameProblem } from '../../services/object-names.ts';
import { podShape, shapeProblems } from './pod-schema.ts';
import type { PodProblem } from './pod-schema.ts';
import { mapsOf, placedMaps, quantityWritten, sectionOf, textOf } from './raw-fields.ts';
import { apiReferences } from './static-references.ts';
import { isStopSignal } from './stop-signals.ts';

/**
 * All that is wrong with a raw pod of a manifest, each with the path of its field; none: it can be run. Types come first: where one is
 * wrong nothing else is looked at. What an API server would refuse beyond this is found at the latest by the container runtime.
 */
export function validatePod(raw: unknown): readonly PodProblem[] {
  if (!isRaw(raw)) return [{ field: '', reason: 'expected a Pod' }];
  const types = shapeProblems(raw, podShape);
  if (types.length > 0) return types;
  const checking = new Checking();
  checking.metadata(sectionOf(raw, 'metadata'));
  if (isRaw(raw['spec'])) checking.spec(raw['spec']);
  else checking.add('spec', 'is missing');
  return [...checking.problems, ...apiReferences(sectionOf(raw, 'spec'))];
}

/** `spec.containers[0].image: is missing; …` */
export function problemsText(problems: readonly PodProblem[]): string {
  return problems
    .map(({ field, reason }) => (field === '' ? reason : `${field}: ${reason}`))
    .join('; ');
}

const handlers = ['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'] as const;
/** Printable ASCII but `=` (KEP-4369). */
const variableName = /^[ -<>-~]+$/;

class Checking {
  readonly problems: PodProblem[] = [];
  readonly #containers = new Set<string>();
  readonly #volumes = new Set<string>();
  readonly #hostPorts = new Set<string>();

  add(field: string, reason: string | undefined): void {
    if (reason !== undefined) this.problems.push({ field, reason });
  }

  metadata(meta: Raw): void {
    const { name, namespace } = meta;
    if (textOf(name) === '') this.add('metadata.name', 'is missing');
    else this.add('metadata.name', objectNameProblem(textOf(name)));
    if (textOf(namespace) !== '') this.add('metadata.namespace', labelProblem(textOf(namespace)));
    if (/[/\0]|^\.\.?$/.test(textOf(meta['uid']))) this.add('metadata.uid', 'has a slash');
  }

  spec(spec: Raw): void {
    for (const [volume, at] of placedMaps(spec, 'volumes', 'spec')) this.#volume(volume, at);
    const containers = placedMaps(spec, 'containers', 'spec');
    if (containers.length === 0) this.add('spec.containers', 'has to have one container at least');
    for (const [container, at] of placedMaps(spec, 'initContainers', 'spec'))
      this.#container(container, at, spec);
    for (const [container, at] of containers) this.#container(container, at, spec);
    if (mapsOf(spec, 'ephemeralContainers').length > 0)
      this.add('spec.ephemeralContainers', 'are only put into pods of the API server that run');
    this.#notNegative(spec, 'terminationGracePeriodSeconds', 'spec');
    this.#names(spec);
  }

  #names(spec: Raw): void {
    const deadline = spec['activeDeadlineSeconds'];
    if (typeof deadline === 'number' && deadline < 1)
      this.add('spec.activeDeadlineSeconds', 'has to be above 0');
    for (const key of ['hostname', 'subdomain']) {
      if (textOf(spec[key]) !== '') this.add(`spec.${key}`, labelProblem(textOf(spec[key])));
    }
    const servers = sectionOf(spec, 'dnsConfig')['nameservers'];
    if (spec['dnsPolicy'] === 'None' && (!Array.isArray(servers) || servers.length === 0))
      this.add('spec.dnsConfig.nameservers', 'is needed with dnsPolicy None');
    for (const [alias, at] of placedMaps(spec, 'hostAliases', 'spec')) {
      if (isIP(textOf(alias['ip'])) === 0) this.add(`${at}.ip`, 'is no IP address');
    }
  }

  #volume(volume: Raw, at: string): void {
    this.#named(volume, at, this.#volumes);
    const sources = Object.keys(volume).filter((key) => key !== 'name' && volume[key] !== null);
    if (sources.length > 1) this.add(at, `has more than one source: ${sources.join(', ')}`);
    const { hostPath } = volume;
    if (!isRaw(hostPath)) return;
    const path = textOf(hostPath['path']);
    if (path === '') this.add(`${at}.hostPath.path`, 'is missing');
    if (path.split('/').includes('..')) this.add(`${at}.hostPath.path`, "must not have '..'");
  }

  #container(container: Raw, at: string, spec: Raw): void {
    this.#named(container, at, this.#containers);
    if (textOf(container['image']).trim() === '') this.add(`${at}.image`, 'is missing');
    this.#restarts(container, at);
    this.#ports(container, at, spec['hostNetwork'] === true);
    this.#mounts(container, at);
    this.#probes(container, at);
    this.#stopSignal(container, at, spec);
    for (const [variable, here] of placedMaps(container, 'env', at)) {
      if (!variableName.test(textOf(variable['name'])))
        this.add(`${here}.name`, 'is no name of a variable');
      if (isRaw(variable['valueFrom']) && textOf(variable['value']) !== '')
        this.add(here, 'has both value and valueFrom');
    }
  }

  #restarts(container: Raw, at: string): void {
    const isInit = at.startsWith('spec.initContainers');
    const policy = container['restartPolicy'] ?? undefined;
    const isSidecar = isInit && policy === 'Always';
    if (policy !== undefined && !isSidecar)
      this.add(`${at}.restartPolicy`, 'only Always, and only of an init container, is possible');
    if (!isInit || isSidecar) return;
    for (const key of ['livenessProbe', 'readinessProbe', 'startupProbe', 'lifecycle']) {
      if (isRaw(container[key]))
        this.add(`${at}.${key}`, 'is not possible for an init container that ends');
    }
  }

  #ports(container: Raw, at: string, hostNetwork: boolean): void {
    for (const [port, here] of placedMaps(container, 'ports', at))
      this.#port(port, here, hostNetwork);
  }

  #port(port: Raw, here: string, hostNetwork: boolean): void {
    const number = port['containerPort'];
    if (!isPort(number)) this.add(`${here}.containerPort`, 'expected 1..65535');
    const hostPort = port['hostPort'] ?? 0;
    if (hostPort !== 0 && !isPort(hostPort)) this.add(`${here}.hostPort`, 'expected 1..65535');
    if (hostNetwork && hostPort !== 0 && hostPort !== number)
      this.add(`${here}.hostPort`, 'has to be containerPort with hostNetwork');
    if (hostPort === 0) return;
    const key = [
      textOf(port['protocol']) || 'TCP',
      textOf(port['hostIP']),
      quantityWritten(hostPort),
    ].join(' ');
    if (this.#hostPorts.has(key))
      this.add(`${here}.hostPort`, 'is taken by another port of this pod');
    this.#hostPorts.add(key);
  }

  #mounts(container: Raw, at: string): void {
    const paths = new Set<string>();
    for (const [mount, here] of placedMaps(container, 'volumeMounts', at)) {
      const name = textOf(mount['name']);
      if (!this.#volumes.has(name))
        this.add(`${here}.name`, `there is no volume ${JSON.stringify(name)}`);
      const path = textOf(mount['mountPath']);
      if (path === '' || path.includes(':')) this.add(`${here}.mountPath`, "is missing or has ':'");
      if (paths.has(path)) this.add(`${here}.mountPath`, 'is taken by another mount');
      paths.add(path);
      for (const key of ['subPath', 'subPathExpr']) {
        const sub = textOf(mount[key]);
        if (sub.startsWith('/') || sub.split('/').includes('..'))
          this.add(`${here}.${key}`, "has to be relative and without '..'");
      }
      if (textOf(mount['subPath']) !== '' && textOf(mount['subPathExpr']) !== '')
        this.add(`${here}.subPathExpr`, 'is not possible beside subPath');
    }
  }

  #probes(container: Raw, at: string): void {
    for (const key of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
      const probe = container[key];
      if (!isRaw(probe)) continue;
      const here = `${at}.${key}`;
      this.#oneHandler(probe, here);
      for (const name of ['initialDelaySeconds', 'timeoutSeconds', 'periodSeconds'])
        this.#notNegative(probe, name, here);
      if (key !== 'readinessProbe' && Number(probe['successThreshold'] ?? 1) > 1)
        this.add(`${here}.successThreshold`, 'has to be 1');
    }
    const lifecycle = sectionOf(container, 'lifecycle');
    for (const key of ['postStart', 'preStop']) {
      if (isRaw(lifecycle[key])) this.#oneHandler(lifecycle[key], `${at}.lifecycle.${key}`);
    }
  }

  /** Its names are those of an operating system (KEP-4960). */
  #stopSignal(container: Raw, at: string, spec: Raw): void {
    const name = sectionOf(container, 'lifecycle')['stopSignal'] ?? undefined;
    if (name === undefined) return;
    const field = `${at}.lifecycle.stopSignal`;
    if (!isStopSignal(textOf(name)))
      this.add(field, `${JSON.stringify(name)} is no signal of Linux`);
    if (textOf(sectionOf(spec, 'os')['name']) === '') this.add(field, 'needs spec.os.name');
  }

  #oneHandler(raw: Raw, at: string): void {
    const given = handlers.filter((key) => isRaw(raw[key]));
    if (given.length === 1) return;
    this.add(at, given.length === 0 ? 'has no handler' : `has more than one: ${given.join(', ')}`);
  }

  #named(raw: Raw, at: string, others: Set<string>): void {
    const name = textOf(raw['name']);
    if (name === '') this.add(`${at}.name`, 'is missing');
    else if (others.has(name)) this.add(`${at}.name`, `${JSON.stringify(name)} is there twice`);
    else this.add(`${at}.name`, labelProblem(name));
    others.add(name);
  }

  #notNegative(raw: Raw, key: string, at: string): void {
    const value = raw[key];
    if (typeof value === 'number' && value < 0) this.add(`${at}.${key}`, 'must not be negative');
  }
}

function isPort(value: unknown): boolean {
  return typeof value === 'number' && value >= 1 && value <= 65_535;
}
