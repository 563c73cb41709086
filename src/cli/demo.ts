import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { systemClock } from '../clock.ts';
import { SwitchyardError } from '../error.ts';
import { Namespaces } from '../host/namespaces.ts';
import { systemTools, toolCure } from '../host/run-tool.ts';
import type { Command, CommandArgs, CommandIo } from './command.ts';
import { NetworkActor } from './demo/actor.ts';
import { DemoAgent } from './demo/agent.ts';
import { runClusterDemo } from './demo/cluster.ts';
import { play } from './demo/scenes.ts';
import {
  ShopManifests,
  customers,
  findExamples,
  shop,
  shopAttachments,
  shopPods,
} from './demo/shop.ts';
import { Story } from './demo/story.ts';
import { buildNode } from './demo/topology.ts';

/** `switchyard demo`: the real agent at work on a machine without a cluster. */
export const command: Command = {
  name: 'demo',
  summary: 'Shows it all at work in namespaces of its own; needs no cluster.',
  flags: [
    {
      name: 'mode',
      type: 'enum',
      values: ['iptables', 'userspace'],
      default: 'iptables',
      help: 'How the agent makes Services work: iptables (rules alone), or userspace (it carries the bytes itself).',
    },
    {
      name: 'examples',
      type: 'string',
      placeholder: 'PATH',
      help: 'The folder with the shop’s manifests. Default: examples/ beside the program.',
    },
    {
      name: 'cluster',
      type: 'bool',
      default: false,
      help: 'A whole cluster instead: a control plane, and two nodes with containerd that run the pods of a Deployment. Needs the source tree; what it lacks it installs, or says.',
    },
    {
      name: 'keep',
      type: 'bool',
      default: false,
      help: 'With --cluster: leaves it running until Ctrl-C, and says how kubectl reaches it.',
    },
    {
      name: 'no-color',
      type: 'bool',
      default: false,
      help: 'Plain text; also with NO_COLOR set, or where the output is no terminal.',
    },
  ],
  details: [
    'Makes private network namespaces (a client, a node, pods), runs the agent in the node on a copy of',
    'the manifests, sends real requests, changes the manifests, and removes everything again.',
    'Needs root, iproute2 and iptables; touches nothing of the machine itself. Where user namespaces are allowed, anybody is root of one:',
    '',
    '  unshare -Urnm sh -c "mount -t tmpfs run /run && npm run demo -- --mode=userspace"',
  ].join('\n'),
  run,
};

async function run({ flags }: CommandArgs, io: CommandIo): Promise<number> {
  const colour = !flags.bool('noColor') && !io.env['NO_COLOR'] && process.stdout.isTTY;
  if (flags.bool('cluster')) {
    const wanted = { folder: import.meta.dirname, keep: flags.bool('keep'), colour };
    return runClusterDemo(wanted, io.signal);
  }
  const missing = missingForDemo({
    platform: process.platform,
    uid: process.getuid?.(),
    tools: await missingTools(io.signal),
  });
  if (missing.length > 0) {
    const whats = missing.map(({ what }) => what).join('; ');
    const cures = [...new Set(missing.map(({ cure }) => cure))].join('; ');
    throw new SwitchyardError('missing', `the demo cannot run here: ${whats}`, {
      hint: `${cures}; or try, anywhere: npm run -s switchyard -- render -f examples/`,
    });
  }
  const examples = flags.text('examples') || (await findExamples(import.meta.dirname));
  if (examples === undefined) {
    throw new SwitchyardError('missing', 'the folder examples/ is not beside the program', {
      hint: 'name it with --examples=PATH; it is part of the source tree',
    });
  }
  const story = new Story(io.stdout, colour);
  return perform({ story, examples, mode: flags.text('mode'), io });
}

/** A user is root of namespaces of their own, in which `ip` needs a folder to note its names. */
const asRootOfOwn = 'unshare -Urnm sh -c "mount -t tmpfs run /run && npm run demo"';

/** Something the demo needs and does not have. */
interface Missing {
  readonly what: string;
  readonly cure: string;
}

/** What keeps the demo from running, and what to do about it; empty where nothing does. */
export function missingForDemo(machine: {
  readonly platform: string;
  readonly uid: number | undefined;
  readonly tools: readonly string[];
}): readonly Missing[] {
  if (machine.platform !== 'linux') {
    const what = `it needs Linux, and this is ${machine.platform}`;
    return [{ what, cure: 'run it on Linux, in a virtual machine for example' }];
  }
  const root = {
    what: 'network namespaces need root',
    cure: `run it as root: sudo npm run demo; or where user namespaces are allowed: ${asRootOfOwn}`,
  };
  return [
    ...(machine.uid === 0 ? [] : [root]),
    ...machine.tools.map((tool) => ({
      what: `the program ${tool} is not on this machine`,
      cure: toolCure(tool),
    })),
  ];
}

async function missingTools(signal: AbortSignal): Promise<readonly string[]> {
  const probes = [
    { tool: 'ip', args: ['-V'] },
    { tool: 'iptables-restore', args: ['--version'] },
  ];
  const missing: string[] = [];
  for (const { tool, args } of probes) {
    try {
      await systemTools.run(tool, args, { timeoutMs: 5000, signal });
    } catch (error) {
      if (signal.aborted) break;
      if (!(error instanceof SwitchyardError) || error.code !== 'missing') throw error;
      missing.push(tool);
    }
  }
  return missing;
}

/** What is other in a mode than in iptables mode. */
const differences: Readonly<Record<string, string>> = {
  userspace:
    'each service port has a port of the node, which portal rules lead to; the agent connects to the pods, in turns',
};

interface Performance {
  readonly story: Story;
  readonly examples: string;
  readonly mode: string;
  readonly io: CommandIo;
}

async function perform({ story, examples, mode, io }: Performance): Promise<number> {
  const startedMs = systemClock.monotonic();
  const namespaces = new Namespaces({ tools: systemTools, prefix: 'swydemo' });
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-demo-'));
  let outcome: 'done' | 'interrupted' = 'done';
  try {
    io.signal.throwIfAborted();
    await namespaces.removeLeftovers();
    const manifests = await ShopManifests.copy(examples, join(folder, 'manifests'));
    story.title('Switchyard: a small shop on one node, with real packets');
    story.line('client ── node (the agent runs here) ── pods: each a network namespace of its own');
    await buildNode(namespaces, shopAttachments(), [customers.welcome, '2001:db8::10']);
    const actors = await startActors(namespaces);
    const pod = (name: string): NetworkActor => actorNamed(actors, name);
    const agent = new DemoAgent(namespaces, { mode, manifests: manifests.folder, folder });
    const syncedMs = await agent.untilSynced(pod('node'), systemClock, io.signal);
    story.line(
      `switchyard proxy --mode=${mode} --source=file:examples: rules in after ${syncedMs} ms`,
    );
    const difference = differences[mode];
    if (difference !== undefined) story.line(difference);
    const stage = {
      story,
      source: mode === 'userspace' ? ('replaced' as const) : ('kept' as const),
      manifests,
      client: pod('client'),
      pod,
      nowMs: monotonicMs,
      signal: io.signal,
    };
    await Promise.race([play(stage), agent.failure, aborted(io.signal)]);
    await agent.stop();
  } catch (error) {
    if (!io.signal.aborted) throw error;
    outcome = 'interrupted';
  } finally {
    await namespaces.close();
    await rm(folder, { recursive: true, force: true });
  }
  const seconds = ((systemClock.monotonic() - startedMs) / 1000).toFixed(1);
  if (outcome === 'interrupted') {
    story.title('Interrupted; everything is removed again.');
    return 130;
  }
  if (story.problems.length > 0) {
    const list = story.problems.map((problem) => `  ${problem}\n`).join('');
    io.stderr(
      `error: not everything worked:\n${list}hint: run it again with a quiet machine, or report it with this output\n`,
    );
    return 1;
  }
  story.title(`All as it should be, in ${seconds} s; the namespaces and rules are gone again.`);
  return 0;
}

async function startActors(namespaces: Namespaces): Promise<ReadonlyMap<string, NetworkActor>> {
  const roles = ['client', 'node', ...shopPods.map(({ name }) => name)];
  const actors = new Map(roles.map((role) => [role, new NetworkActor(namespaces, role)]));
  await Promise.all(
    shopPods.map(async ({ name, ipv4, ipv6 }) => {
      const actor = actorNamed(actors, name);
      await actor.serve({ proto: 'tcp', address: ipv4, port: shop.podPort, name });
      await actor.serve({ proto: 'tcp', address: ipv6, port: shop.podPort, name });
    }),
  );
  return actors;
}

function actorNamed(actors: ReadonlyMap<string, NetworkActor>, name: string): NetworkActor {
  const actor = actors.get(name);
  if (actor === undefined) throw new SwitchyardError('internal', `no namespace ${name}`);
  return actor;
}

function monotonicMs(): number {
  return performance.now();
}

async function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    if (signal.aborted) reject(signal.reason as Error);
  });
}
