// In the sandbox: a control plane, two nodes, a Deployment and a Service, real requests, and a pod that is deleted under them.
// usage (start.ts): main.ts --control-plane=TEXT --kubectl=PATH | --no-kubectl=WHY [--keep] [--color]
import process from 'node:process';
import { parseArgs } from 'node:util';
import { tally, Story } from '../../../src/cli/demo/story.ts';
import { errorText } from '../../../src/error.ts';
import { tokens } from '../../cluster/control-plane.ts';
import { busyboxImage, pauseImage } from '../images.ts';
import { KubeletCluster } from '../kubelet-cluster.ts';
import type { KubeletProcess } from '../kubelet-process.ts';
import { Kubectl } from '../kubectl.ts';
import { proxyFlags } from '../proxy-flags.ts';
import { endWithStarter, sandboxPidVariable } from '../sandbox.ts';
import { Visitors } from './visitors.ts';
import { nodePort, webDeployment, webService } from './web.ts';

const { values } = parseArgs({
  options: {
    'control-plane': { type: 'string', default: '' },
    kubectl: { type: 'string' },
    'no-kubectl': { type: 'string', default: '' },
    keep: { type: 'boolean', default: false },
    color: { type: 'boolean', default: false },
  },
});

const pods = '/api/v1/namespaces/default/pods';
const story = new Story((text) => void process.stdout.write(text), values.color);
const cluster = new KubeletCluster(['node-1', 'node-2']);
const agents: KubeletProcess[] = [];

/** The part of a pod or a node that is read here. */
interface Seen {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

endWithStarter();
try {
  await play();
  process.exitCode = story.problems.length === 0 ? 0 : 1;
} catch (error) {
  const said = agents.map(({ node }) => `${node.name}:\n${node.tail('kubelet.log', 1500)}`);
  process.stderr.write(`error: ${errorText(error)}\n${said.join('\n')}\n`);
  process.exitCode = 1;
}
// What was started does not hold this process: all of it ends with the sandbox.
process.exit();

async function play(): Promise<void> {
  story.title('Switchyard: a cluster of two nodes on this machine');
  story.line(
    'each node has namespaces of its own, containerd, and runs switchyard node: kubelet and',
  );
  story.line('proxy in one process, with the rights of a node and no more');

  story.chapter('Control plane: etcd, API server, controller manager, scheduler');
  story.line(values['control-plane']);
  const controlMs = await taken(async () => cluster.start([pauseImage(), busyboxImage()]));
  story.check(true, `up after ${seconds(controlMs)}, with containerd on both nodes`, '');

  const kubectl = await openKubectl();
  story.chapter('Two nodes: switchyard node is started on each');
  const nodesMs = await taken(startNodes);
  story.check(true, `both Ready after ${seconds(nodesMs)}`, '');
  await kubectl('get', 'nodes', '--output=wide');

  story.chapter('A Deployment of four pods, and a Service before them');
  const podsMs = await taken(deployWeb);
  story.check(true, `four pods Ready after ${seconds(podsMs)}`, '');
  await kubectl('get', 'pods', '--output=wide');
  await kubectl('get', 'service', 'web');

  const visitors = new Visitors(
    cluster.nodes.map(({ address }) => `http://${address}:${nodePort}/`),
  );
  story.chapter(`120 requests from outside, to node port ${nodePort} of both nodes in turn`);
  // Nodes hear of a Service, and of the last pod behind it, a moment after the pods are Ready.
  await visitors.untilAnsweredBy(4);
  const first = tally(await visitors.ask(120));
  story.bars(first);
  const answered = `${first.byPod.size} pods answered, ${first.failed} requests failed`;
  story.check(
    first.byPod.size === 4 && first.failed === 0,
    'all four pods answer, none fails',
    answered,
  );
  await fromInside(kubectl);
  await replaceOne(visitors);
  if (values.keep) await stay();
}

async function startNodes(): Promise<void> {
  for (const node of cluster.nodes) {
    await cluster.allowProxy(node);
    const flags = [...proxyFlags(node), '--iptables-min-sync-period=100ms'];
    const agent = cluster.kubelet(node, { proxyFlags: flags });
    agent.start();
    agents.push(agent);
  }
  for (const { name } of cluster.nodes) {
    await until(`${name} is Ready`, async () => {
      const node = await cluster.get<Seen>(`/api/v1/nodes/${name}`);
      return node !== undefined && isReady(node);
    });
  }
}

async function deployWeb(): Promise<void> {
  await until('there is an account for pods', async () => cluster.hasAccount());
  await cluster.control.must('POST', '/apis/apps/v1/namespaces/default/deployments', webDeployment);
  await cluster.control.must('POST', '/api/v1/namespaces/default/services', webService);
  await until('four pods are Ready', async () => (await webPods()).filter(isReady).length === 4);
}

/** A pod asks by the cluster IP, through the API server and the kubelet's own server. */
async function fromInside(kubectl: Show): Promise<void> {
  const service = await cluster.get<{ spec: { clusterIP: string } }>(
    '/api/v1/namespaces/default/services/web',
  );
  const address = `http://${service?.spec.clusterIP}/`;
  await kubectl('exec', 'deployment/web', '--', 'wget', '-qO-', address);
}

async function replaceOne(visitors: Visitors): Promise<void> {
  const [victim] = await webPods();
  if (victim === undefined) throw new Error('no pod of web is there');
  const { name } = victim.metadata;
  const known = new Set((await webPods()).map((pod) => pod.metadata.name));
  story.chapter(`Pod ${name} on ${victim.spec.nodeName} is deleted under load`);
  const visits = visitors.keepAsking();
  let substitute: Seen | undefined;
  const replacedMs = await taken(async () => {
    await cluster.control.must('DELETE', `${pods}/${name}`);
    await until('the pod is replaced', async () => {
      substitute = (await webPods()).find((pod) => !known.has(pod.metadata.name) && isReady(pod));
      return substitute !== undefined;
    });
  });
  const successor = `${substitute?.metadata.name} on ${substitute?.spec.nodeName}`;
  story.check(true, `${successor} stands in for it, Ready after ${seconds(replacedMs)}`, '');
  await until(
    'the old pod is gone',
    async () => !(await webPods()).some((pod) => pod.metadata.name === name),
  );
  await until('the new pod answers', async () => visits.seen.has(substitute?.metadata.name ?? ''));
  const { byPod, failed } = tally(await visits.stop());
  story.bars({ byPod, failed });
  const asked = [...byPod.values()].reduce((sum, count) => sum + count, failed);
  story.check(failed === 0, `${asked} requests meanwhile, not one failed`, `${failed} failed`);
}

async function webPods(): Promise<readonly Seen[]> {
  const list = await cluster.get<{ items: readonly Seen[] }>(`${pods}?labelSelector=app%3Dweb`);
  return list?.items ?? [];
}

function isReady({ status }: Seen): boolean {
  return (
    status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true
  );
}

/** Runs a kubectl command and prints both. */
type Show = (...args: readonly string[]) => Promise<void>;

async function openKubectl(): Promise<Show> {
  const kubeconfig = cluster.control.kubeconfig({ token: tokens.admin, name: 'kubectl' });
  if (values.kubectl === undefined) {
    story.note(`without the output of kubectl: ${values['no-kubectl']}`);
    return async () => {};
  }
  const kubectl = new Kubectl(values.kubectl, kubeconfig);
  return async (...args) => {
    const output = await kubectl.run(...args);
    story.line(`$ kubectl ${args.join(' ')}`);
    for (const line of output.trimEnd().split('\n')) story.note(line.trimEnd());
  };
}

async function stay(): Promise<void> {
  const kubeconfig = cluster.control.kubeconfig({ token: tokens.admin, name: 'kubectl' });
  story.chapter('It runs on until Ctrl-C; in another terminal, as root:');
  const program = values.kubectl ?? 'kubectl';
  const enter = `nsenter --target=${process.env[sandboxPidVariable]} --net --mount`;
  story.line(`export KUBECONFIG=${kubeconfig}`);
  story.line(`${enter} ${program} get pods --all-namespaces`);
  await new Promise<never>(() => {}); // what is watched holds this process
}

/** Polls until it holds; an agent that has ended is told of at once. */
async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  await cluster.control.until(what, async () => {
    const ended = agents.find((agent) => agent.ended !== undefined);
    if (ended) throw new Error(`switchyard node on ${ended.node.name} has ended`);
    return condition();
  });
}

async function taken(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
