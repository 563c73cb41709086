// Events about pods and the node, as kubectl shows them.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ObjectApi } from '../../../../src/kubelet/api/object-api.ts';
import { KubeletEvents } from '../../../../src/kubelet/events/kubelet-events.ts';
import { apiRig, field, until } from '../support/api-rig.ts';
import type { ApiRig } from '../support/api-rig.ts';
import { container, pod } from '../runtime/made-pods.ts';

const path = '/api/v1/namespaces/default/events';
let rig: ApiRig;
let events: KubeletEvents;

function recorder(hasApi: boolean, qps = 50): KubeletEvents {
  const { client, clock, log } = rig;
  const api = new ObjectApi(client, clock, { apiVersion: 'v1', resource: 'events' });
  const limits = { qps, burst: 100 };
  return new KubeletEvents({
    api: hasApi ? api : undefined,
    node: 'n1',
    ...limits,
    clock,
    log,
    random: () => 0.5,
  });
}

beforeEach(async () => {
  rig = await apiRig();
  events = recorder(true);
  rig.start(async (signal) => events.run(signal));
});

afterEach(async () => rig.stop());

const web = pod({ containers: [container('app')], initContainers: [container('i1')] });
const started = {
  type: 'Normal',
  reason: 'Started',
  message: 'Container started',
  container: 'app',
} as const;

function written(name: string): readonly unknown[] {
  return rig.server.objects(path).map((event) => field(event, name));
}

async function count(expected: number): Promise<void> {
  await until(`${expected} Events are there`, () => rig.server.objects(path).length >= expected);
}

describe('an Event', () => {
  it('says what happened to which container of which pod, and who says so', async () => {
    events.tell(web, started);
    await count(1);
    const [event] = rig.server.objects(path);
    expect(event).toMatchObject({
      apiVersion: 'v1',
      kind: 'Event',
      involvedObject: {
        apiVersion: 'v1',
        kind: 'Pod',
        namespace: 'default',
        name: 'web',
        uid: 'u1',
        fieldPath: 'spec.containers{app}',
      },
      type: 'Normal',
      reason: 'Started',
      message: 'Container started',
      source: { component: 'kubelet', host: 'n1' },
      reportingComponent: 'kubelet',
      reportingInstance: 'n1',
      count: 1,
      firstTimestamp: '1970-01-01T00:00:00Z',
      lastTimestamp: '1970-01-01T00:00:00Z',
    });
    expect(event?.metadata.name).toMatch(/^web\.[0-9a-f]+$/);
    events.tell(web, { ...started, container: 'i1' });
    events.tell(web, { type: 'Warning', reason: 'FailedMount', message: 'no' });
    await count(3);
    expect(
      written('involvedObject').map((object) => (object as { fieldPath?: string }).fieldPath),
    ).toEqual(['spec.containers{app}', 'spec.initContainers{i1}', undefined]);
    expect(rig.lines).toContain('warn default/web (u1): no');
  });

  it('about the node is in the namespace default', async () => {
    events.ofNode.tell('Warning', 'Rebooted', 'Node n1 has been rebooted, boot id: b1');
    await count(1);
    expect(written('involvedObject')).toEqual([
      { apiVersion: 'v1', kind: 'Node', name: 'n1', uid: 'n1' },
    ]);
  });

  it('that happens again is counted', async () => {
    for (const times of [1, 2, 3]) {
      events.tell(web, started);
      await until('it is counted', () => written('count')[0] === times);
      await rig.clock.advance(1000);
    }
    expect(written('lastTimestamp')).toEqual(['1970-01-01T00:00:02Z']);
    expect(written('firstTimestamp')).toEqual(['1970-01-01T00:00:00Z']);
  });

  it('that has expired meanwhile is told anew', async () => {
    events.tell(web, started);
    await count(1);
    const name = rig.server.objects(path)[0]?.metadata.name ?? '';
    rig.server.remove('/api/v1/events', `default/${name}`);
    events.tell(web, started);
    await count(1);
    expect(written('count')).toEqual([2]);
  });
});

describe('too many Events', () => {
  it('of one kind are told as one', async () => {
    for (let at = 0; at < 20; at += 1) {
      events.tell(web, { type: 'Warning', reason: 'Failed', message: `try ${at}` });
    }
    await until('all are counted', () => written('count').includes(10));
    expect(written('message')).toHaveLength(11);
    expect(written('message').at(-1)).toBe('(combined from similar events): try 19');
    events.tell(web, { type: 'Warning', reason: 'Failed', message: 'try 0' });
    await until('the first is counted', () => written('count')[0] === 2);
  });

  it('about one object are not written; about others they are', async () => {
    for (let at = 0; at < 40; at += 1) {
      events.tell(web, { type: 'Warning', reason: `Odd${at}`, message: 'odd' });
    }
    events.tell(pod({}, { uid: 'u2', name: 'api' }), started);
    await count(26);
    expect(written('reason').filter((reason) => String(reason).startsWith('Odd'))).toHaveLength(25);
    await rig.clock.advance(300_000);
    events.tell(web, { type: 'Warning', reason: 'Late', message: 'odd' });
    await count(27);
  });
});

describe('an API server', () => {
  it('that is away for a while gets them afterwards, in order', async () => {
    await rig.server.down();
    events.tell(web, started);
    events.tell(web, { ...started, reason: 'Killing' });
    await rig.clock.advance(30_000);
    await rig.server.up();
    await rig.clock.advance(10_000);
    await count(2);
    expect(written('reason')).toEqual(['Started', 'Killing']);
  });

  it('that refuses one gets the next', async () => {
    rig.server.inject({ on: 'create', type: 'status', status: 403 });
    events.tell(web, started);
    events.tell(web, { ...started, reason: 'Killing' });
    await count(1);
    expect(written('reason')).toEqual(['Killing']);
  });

  it('that is none is not needed: the log has them', async () => {
    const alone = recorder(false);
    rig.start(async (signal) => alone.run(signal));
    alone.tell(web, started);
    await rig.clock.advance(1000);
    expect(rig.lines).toContain('info default/web (u1): Container started');
    expect(rig.server.requests).toEqual([]);
  });
});
