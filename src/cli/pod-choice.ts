import { SwitchyardError } from '../error.ts';
import type { FlagTable } from '../config/flag-table.ts';
import { kubeletSocketFlag } from '../config/kubelet-flags.ts';
import type { PodEntry, PodsDocument } from '../kubelet/admin/pods-document.ts';

/** Of the commands that are about one container of a pod. */
export const podChoiceFlags: FlagTable = [
  {
    name: 'container',
    short: 'c',
    type: 'string',
    default: '',
    placeholder: 'NAME',
    help: 'The container; default: the first one that is no init container.',
  },
  {
    name: 'namespace',
    short: 'n',
    type: 'string',
    default: '',
    placeholder: 'NAMESPACE',
    help: 'Of the pod, as in NAMESPACE/POD; default: any in which there is one of the name.',
  },
  kubeletSocketFlag,
];

/**
 * The pod that is meant by `NAMESPACE/NAME`, `NAME`, or the name in its manifest, which is without that of the node. Of several with one name in
 * one namespace the newest; throws a usage error where none is meant, or pods of several namespaces are.
 */
export function choosePod({ pods, node }: PodsDocument, text: string, flag: string): PodEntry {
  const slash = text.indexOf('/');
  const namespace = slash < 0 ? flag : text.slice(0, slash);
  const name = text.slice(slash + 1);
  const within = pods.filter((pod) => namespace === '' || pod.namespace === namespace);
  const exact = within.filter((pod) => pod.name === name);
  const found =
    exact.length > 0 ? exact : within.filter((pod) => pod.name === `${name}-${node.toLowerCase()}`);
  const names = new Set(found.map((pod) => `${pod.namespace}/${pod.name}`));
  if (names.size > 1) {
    throw new SwitchyardError('usage', `${JSON.stringify(text)} is ${[...names].join(' and ')}`, {
      hint: 'name one of them with its namespace',
    });
  }
  const newest = found.toSorted((one, other) =>
    (one.created ?? '') < (other.created ?? '') ? 1 : -1,
  );
  const [pod] = [...newest.filter(({ status }) => status !== 'Terminating'), ...newest];
  if (pod !== undefined) return pod;
  throw new SwitchyardError('usage', `there is no pod ${JSON.stringify(text)} on ${node}`, {
    hint: 'switchyard ps lists those that there are',
  });
}

/** Throws a usage error for one that it does not have. */
export function chooseContainer(pod: PodEntry, given: string): string {
  const names = pod.containers.map(({ name }) => name);
  const usual = pod.containers.find(({ kind }) => kind === 'container')?.name ?? '';
  const name = given === '' ? usual : given;
  if (names.includes(name)) return name;
  const what = `${pod.namespace}/${pod.name}`;
  throw new SwitchyardError('usage', `${what} has no container ${JSON.stringify(name)}`, {
    hint: `it has ${names.join(', ')}`,
  });
}

/** `/v1/logs/NAMESPACE/POD/CONTAINER` */
export function containerPath(verb: 'logs' | 'exec', pod: PodEntry, container: string): string {
  return `/v1/${[verb, pod.namespace, pod.name, container].map(encodeURIComponent).join('/')}`;
}
