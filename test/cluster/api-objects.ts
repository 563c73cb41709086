import type { ControlPlane } from './control-plane.ts';

/** An object as a manifest has it. */
interface Manifest {
  readonly kind: keyof typeof paths;
  readonly metadata: { readonly name: string };
  readonly spec?: object;
  readonly status?: object;
}

const paths = {
  Node: '/api/v1/nodes',
  Service: '/api/v1/namespaces/default/services',
  EndpointSlice: '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
};

/** Creates an object that a manifest shows: a dual-stack Service, an EndpointSlice or a Node, with its status. */
export async function createObject(plane: ControlPlane, object: object): Promise<void> {
  const manifest = object as Manifest;
  await plane.must('POST', paths[manifest.kind], apiForm(manifest));
  const { status } = manifest;
  if (status === undefined) return;
  const type = 'application/merge-patch+json';
  await plane.must('PATCH', `${pathOf(manifest)}/status`, { status }, type);
}

/** A set of objects of an API server that becomes another one, as a file of manifests would, but one by one. */
export class ApiObjects {
  readonly #plane: ControlPlane;
  /** What was written last, by path. */
  #present = new Map<string, string>();

  constructor(plane: ControlPlane) {
    this.#plane = plane;
  }

  /** Deletes, creates and replaces until the objects are these. */
  async become(objects: readonly object[]): Promise<void> {
    const wanted = new Map(objects.map((object) => [pathOf(object as Manifest), object]));
    for (const path of this.#present.keys()) {
      if (!wanted.has(path)) await this.#plane.must('DELETE', path);
    }
    for (const [path, object] of wanted) {
      const before = this.#present.get(path);
      if (before === undefined) await createObject(this.#plane, object);
      else if (before !== JSON.stringify(object))
        await this.#plane.must('PUT', path, apiForm(object as Manifest));
    }
    this.#present = new Map([...wanted].map(([path, object]) => [path, JSON.stringify(object)]));
  }
}

function pathOf({ kind, metadata }: Manifest): string {
  return `${paths[kind]}/${metadata.name}`;
}

/** The API server wants it said that a Service is dual-stack, where manifests show it by their addresses. */
function apiForm(manifest: Manifest): object {
  if (manifest.kind !== 'Service') return manifest;
  return { ...manifest, spec: { ...manifest.spec, ipFamilyPolicy: 'RequireDualStack' } };
}
