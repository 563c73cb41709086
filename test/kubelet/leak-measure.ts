import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { labels } from '../../src/kubelet/runtime/labels.ts';
import { listCgroups } from './cgroups.ts';
import { testCgroup } from './kubelet-process.ts';
import type { KubeletProcess } from './kubelet-process.ts';
import { until } from './node-machine.ts';

/** How many there are of each thing, by its name in the plural. */
export type Counts = Readonly<Record<string, number>>;

/** Pods that come and go on a node, and what of them is counted beside what every node has. */
export interface PassingPods {
  readonly kubelet: KubeletProcess;
  /** Makes so many pods, numbered from `first`; resolves when all run. */
  readonly come: (first: number, count: number) => Promise<void>;
  /** Removes these pods; resolves when none of their containers runs. */
  readonly go: (first: number, count: number) => Promise<void>;
  /** Of what is seen elsewhere than on the node. */
  readonly count?: () => Promise<Counts>;
}

/** What pods added. Empty lists: nothing. */
export interface Passed {
  /** What cannot be seen by these measures: it was not more while pods were there. */
  readonly unseen: readonly string[];
  /** What was more after the pods than before them. */
  readonly left: readonly string[];
  /** Open files of the agent, before and after. */
  readonly descriptors: readonly [before: number, after: number];
  /** How much more was resident after each half than before it; of few pods, after all of them. */
  readonly grownBytes: readonly number[];
}

const atOnce = 10;
/** With fewer pods two halves would say nothing, and cost a minute more. */
const leastForHalves = 100;
/** Of keep-alives that come and go. */
const spareDescriptors = 2;
const namespaces = ['ipc', 'mnt', 'net', 'pid', 'uts'] as const;

/** Lets so many pods pass in rounds of ten, after two rounds that make what is made once. */
export async function letPass(pods: PassingPods, count: number): Promise<Passed> {
  const { kubelet } = pods;
  const first = 2 * atOnce;
  await rounds(pods, 0, first);
  const before = await countAll(pods);
  const filesBefore = openFiles(kubelet);
  const bytes = [residentBytes(kubelet)];
  let unseen: readonly string[] = [];
  for (const [begin, end] of parts(first, count)) {
    if (begin === first) unseen = await unseenIn(pods, begin, before);
    await rounds(pods, begin === first ? begin + atOnce : begin, end);
    bytes.push(residentBytes(kubelet));
  }
  const left = await leftAfter(pods, before, filesBefore);
  const grownBytes = bytes.slice(1).map((after, at) => after - (bytes[at] ?? NaN));
  return { unseen, left, descriptors: [filesBefore, openFiles(kubelet)], grownBytes };
}

/** From which pod to which, a half each. */
function parts(first: number, count: number): readonly (readonly [begin: number, end: number])[] {
  const end = first + count;
  if (count < leastForHalves) return [[first, end]];
  const middle = first + Math.ceil(count / 2 / atOnce) * atOnce;
  return [
    [first, middle],
    [middle, end],
  ];
}

/** From nothing to nothing; what is left of pods that have ended is collected once a minute. */
async function rounds(
  { kubelet, come, go }: PassingPods,
  first: number,
  end: number,
): Promise<void> {
  for (let at = first; at < end; at += atOnce) {
    await come(at, atOnce);
    await go(at, atOnce);
  }
  const { runtime } = kubelet.node.connect();
  const filter = { labelSelector: { [labels.managedBy]: kubelet.node.name } };
  const nothing = async (): Promise<boolean> => {
    const { items } = await runtime.listPodSandbox({ filter });
    const { containers } = await runtime.listContainers({ filter });
    return items.length + containers.length === 0;
  };
  await kubelet.until('the runtime has nothing of the pods', nothing, 150);
}

/** What is not more than before while a round of pods is there. */
async function unseenIn(
  pods: PassingPods,
  first: number,
  before: Counts,
): Promise<readonly string[]> {
  let unseen: readonly string[] = [];
  const allMore = async (): Promise<boolean> => {
    const there = await countAll(pods);
    unseen = Object.keys(there).filter((what) => !isMore(what, there, before));
    return unseen.length === 0;
  };
  await pods.come(first, atOnce);
  // Readings of pods are some seconds old.
  await until('all is more than before', allMore, 20).catch(() => {});
  await pods.go(first, atOnce);
  return unseen;
}

/** What is more than before, and stays so: something may still be on its way out, and open files settle as keep-alives end. */
async function leftAfter(
  pods: PassingPods,
  before: Counts,
  filesBefore: number,
): Promise<readonly string[]> {
  let left: readonly string[] = [];
  const nothing = async (): Promise<boolean> => {
    const now = await countAll(pods);
    const files = openFiles(pods.kubelet);
    left = Object.keys(now)
      .filter((what) => isMore(what, now, before))
      .map((what) => `${now[what]} ${what}, ${before[what]} before`);
    if (files > filesBefore + spareDescriptors)
      left = [...left, `${files} descriptors, ${filesBefore} before`];
    return left.length === 0;
  };
  await until('nothing is more than it was', nothing).catch(() => {});
  return left;
}

function isMore(what: string, now: Counts, before: Counts): boolean {
  return (now[what] ?? 0) > (before[what] ?? 0);
}

async function countAll({ kubelet, count }: PassingPods): Promise<Counts> {
  return { ...ofNode(kubelet), ...(await count?.()) };
}

/** What pods make on a node. */
function ofNode({ node, pid }: KubeletProcess): Counts {
  const lines = (...command: readonly string[]): readonly string[] =>
    node
      .run(...command)
      .split('\n')
      .filter(Boolean);
  const within = (folder: string): number => lines('ls', '-A', folder).length;
  // Of those that end while they are asked nothing is said.
  const links = lines('sh', '-c', 'readlink /proc/[0-9]*/ns/* || true');
  const kinds = namespaces.map((kind) => {
    const distinct = new Set(links.filter((link) => link.startsWith(`${kind}:`)));
    return [`${kind} namespaces of processes`, distinct.size] as const;
  });
  // Where test/kubelet/containerd-config.ts has them.
  const named = lines('find', join(node.folder, 'state'), '-maxdepth', '3');
  return {
    ...Object.fromEntries(kinds),
    processes: lines('ps', '-e', '-o', 'pid=').length,
    mounts: readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n').length,
    cgroups: listCgroups(join(testCgroup, node.name)).length,
    'named network namespaces': named.filter((path) => path.includes('/netns/')).length,
    links: lines('ip', '-o', 'link').length,
    addresses: lines('ls', join(node.folder, 'cni-data/pods')).filter((name) => /^\d/.test(name))
      .length,
    'folders and files of the agent': lines('find', join(node.folder, 'kubelet')).length,
    'folders of logs': within('/var/log/pods'),
    'links to logs': within('/var/log/containers'),
  };
}

function openFiles({ pid }: KubeletProcess): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function residentBytes({ pid }: KubeletProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? NaN) * 1024;
}
