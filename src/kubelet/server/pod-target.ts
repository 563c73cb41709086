/** What a path names after its verb: `/exec/NAMESPACE/POD[/UID]/CONTAINER`. */
export interface ContainerTarget extends PodTarget {
  readonly container: string;
}

/** `/portForward/NAMESPACE/POD[/UID]` */
export interface PodTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string | undefined;
}

/** undefined: the path names none. */
export function containerTarget(path: string): ContainerTarget | undefined {
  const parts = partsOf(path);
  if (parts.length < 3 || parts.length > 4) return undefined;
  const [namespace = '', pod = '', third = '', fourth] = parts;
  if (fourth === undefined) return { namespace, pod, uid: undefined, container: third };
  return { namespace, pod, uid: third, container: fourth };
}

/** undefined: the path names none. */
export function podTarget(path: string): PodTarget | undefined {
  const parts = partsOf(path);
  if (parts.length < 2 || parts.length > 3) return undefined;
  const [namespace = '', pod = '', uid] = parts;
  return { namespace, pod, uid };
}

/** None where one of them is empty, or is not encoded as it should be. */
function partsOf(path: string): readonly string[] {
  const parts = path.split('/').slice(2).map(decoded);
  return parts.includes('') ? [] : parts;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}
