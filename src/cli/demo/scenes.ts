import { SwitchyardError } from '../../error.ts';
import type { Answer, NetworkActor, Question } from './actor.ts';
import { customers, shop } from './shop.ts';
import type { ShopManifests } from './shop.ts';
import { answerText, tally } from './story.ts';
import type { Story, Tally } from './story.ts';

/** Everything the scenes act on. */
export interface Stage {
  readonly story: Story;
  readonly manifests: ShopManifests;
  readonly client: NetworkActor;
  readonly pod: (name: string) => NetworkActor;
  /** Whose address a pod sees: that of its client, or the node's, which connects for it. */
  readonly source: 'kept' | 'replaced';
  /** Milliseconds of some clock that never goes back. */
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
}

const requests = 120;
const changeDeadlineMs = 10_000;

/** The whole play, in order. Results that are not as they should be end up in the story's problems. */
export async function play(stage: Stage): Promise<void> {
  for (const scene of [spread, hairpin, affinity, nodePort, loadBalancer, nobodyHome, scaling]) {
    stage.signal.throwIfAborted();
    await scene(stage);
  }
}

async function spread({ story, client }: Stage): Promise<void> {
  story.chapter(`Service web: ${requests} requests to its cluster IP ${shop.web.to}`);
  const seen = tally(await many(client, shop.web, requests));
  story.bars(seen);
  const all = seen.byPod.size === 3 && seen.failed === 0;
  story.check(all, 'three pods share the load', tallyText(seen));
  const six = tally(await many(client, shop.web6, 30));
  story.check(
    six.byPod.size > 0 && six.failed === 0,
    `the same over IPv6, ${shop.web6.to}`,
    tallyText(six),
  );
}

async function hairpin({ story, pod, source }: Stage): Promise<void> {
  story.chapter('Pods are clients too');
  const fromPod = await many(pod('api-1'), shop.web, 12);
  const isAsMeant = fromPod.every(
    (each) =>
      typeof each !== 'string' && (each.sourceSeen === '10.244.0.21') === (source === 'kept'),
  );
  const example = fromPod[0] ?? 'timeout';
  const what =
    source === 'kept'
      ? 'a pod’s own address is kept (api-1 is 10.244.0.21)'
      : 'pods see the address of the node, which connects for their client (api-1 is 10.244.0.21)';
  story.check(isAsMeant, what, answerText(example));
  const own = (await many(pod('web-1'), shop.web, 30)).filter((each) => typeof each !== 'string');
  const itself = own.find((each) => each.answeredBy === 'web-1');
  story.check(
    own.length === 30 && itself !== undefined,
    'web-1 also reaches itself through its own service',
    `${own.length} of 30 were answered${itself === undefined ? ', none by itself' : ''}`,
  );
}

async function affinity({ story, client }: Stage): Promise<void> {
  story.chapter('Service cart: sessionAffinity ClientIP');
  const seen = tally(await inTurn(client, shop.cart, 20));
  const [name = 'nobody'] = seen.byPod.keys();
  story.check(
    seen.byPod.size === 1 && seen.failed === 0,
    `20 requests of one client, one pod: ${name}`,
    tallyText(seen),
  );
}

async function nodePort({ story, client }: Stage): Promise<void> {
  story.chapter(`Service api: node port ${shop.api.port} of the node ${shop.api.to}`);
  const answer = await client.ask(shop.api);
  const replaced = typeof answer !== 'string' && answer.sourceSeen !== customers.welcome;
  story.check(
    replaced,
    `answered by ${answerText(answer)}: the node stands in for the client`,
    answerText(answer),
  );
}

async function loadBalancer({ story, client, source }: Stage): Promise<void> {
  story.chapter(`Service checkout: load balancer ${shop.checkout.to}, for one customer only`);
  const welcome = await client.ask({ ...shop.checkout, from: customers.welcome });
  const isKept = typeof welcome !== 'string' && welcome.sourceSeen === customers.welcome;
  const how = source === 'kept' ? ', and its address is kept' : ', to the pods of this node';
  story.check(
    typeof welcome !== 'string' && isKept === (source === 'kept'),
    `${customers.welcome} is let in${how} (externalTrafficPolicy Local)`,
    answerText(welcome),
  );
  const stranger = await client.ask({ ...shop.checkout, from: customers.stranger, timeoutMs: 700 });
  story.check(
    stranger === 'timeout',
    `${customers.stranger} is not in loadBalancerSourceRanges: its packets are dropped`,
    answerText(stranger),
  );
}

async function nobodyHome({ story, client, nowMs }: Stage): Promise<void> {
  story.chapter('Service search: no pods yet');
  const startedMs = nowMs();
  const answer = await client.ask({ ...shop.search, timeoutMs: 3000 });
  const tookMs = Math.max(1, Math.round(nowMs() - startedMs));
  story.check(
    answer === 'refused',
    `refused after ${tookMs} ms: clients need not wait`,
    answerText(answer),
  );
}

async function scaling(stage: Stage): Promise<void> {
  const { story } = stage;
  story.chapter('The manifests change under load: web-4 joins, then web-1 leaves');
  const grown = await follow(stage, ['web-1', 'web-2', 'web-3', 'web-4'], 'web-4 answers', (pods) =>
    pods.has('web-4'),
  );
  const shrunk = await follow(
    stage,
    ['web-2', 'web-3', 'web-4'],
    'web-1 gets nothing new',
    (pods) => !pods.has('web-1'),
  );
  const seen = tally(await many(stage.client, shop.web, requests));
  story.bars(seen);
  const failed = grown.failed + shrunk.failed + seen.failed;
  const total = grown.asked + shrunk.asked + requests;
  story.check(
    failed === 0,
    `${total} requests meanwhile, not one failed`,
    `${failed} of ${total} failed`,
  );
}

/** Changes web's pods and keeps asking until the traffic follows. */
async function follow(
  { story, manifests, client, nowMs, signal }: Stage,
  pods: readonly string[],
  text: string,
  done: (pods: ReadonlyMap<string, number>) => boolean,
): Promise<{ readonly asked: number; readonly failed: number }> {
  await manifests.scale('web', pods);
  const startedMs = nowMs();
  let asked = 0;
  let failed = 0;
  for (;;) {
    signal.throwIfAborted();
    const seen = tally(await many(client, shop.web, 40));
    asked += 40;
    failed += seen.failed;
    const tookMs = Math.round(nowMs() - startedMs);
    if (done(seen.byPod)) {
      story.check(true, `${text} (${tookMs} ms after the file was written)`, '');
      return { asked, failed };
    }
    if (tookMs > changeDeadlineMs) {
      throw new SwitchyardError(
        'timeout',
        `the traffic did not follow the manifests: ${text} was expected, seen ${tallyText(seen)}`,
      );
    }
  }
}

async function many(actor: NetworkActor, question: Question, times: number): Promise<Answer[]> {
  return Promise.all(Array.from({ length: times }, async () => actor.ask(question)));
}

async function inTurn(actor: NetworkActor, question: Question, times: number): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let i = 0; i < times; i++) answers.push(await actor.ask(question));
  return answers;
}

function tallyText({ byPod, failed }: Tally): string {
  const parts = [...byPod].map(([name, count]) => `${name} ${count}`);
  return [...parts, ...(failed > 0 ? [`no answer ${failed}`] : [])].join(', ');
}
