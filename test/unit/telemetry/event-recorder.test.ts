// What becomes of Events that are told: one object for each, repeats counted in it, at a bounded pace, never in anybody's way.
import { describe, expect, it } from 'vitest';
import { EventRecorder } from '../../../src/telemetry/event-recorder.ts';
import type {
  EventAnswer,
  EventSink,
  ObjectEvent,
  WireEvent,
  WireSeries,
} from '../../../src/telemetry/events.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { settle, VirtualClock } from '../proxy/virtual-clock.ts';

const written: EventAnswer = { kind: 'written' };
const failed = (retryable: boolean, retryAfterMs?: number): EventAnswer => ({
  kind: 'failed',
  reason: 'no right',
  retryable,
  retryAfterMs,
});

function event(note: string, more: Partial<ObjectEvent> = {}, name = 'web'): ObjectEvent {
  const regarding = { apiVersion: 'v1', kind: 'Service', namespace: 'ns1', name, uid: `${name}-1` };
  return { regarding, reason: 'AddressRefused', action: 'Bind', note, scope: 'node', ...more };
}

class Rig implements EventSink {
  readonly clock = new VirtualClock();
  readonly created: WireEvent[] = [];
  /** `NAME COUNT` */
  readonly patched: string[] = [];
  readonly lines: string[] = [];
  /** What is answered next; then everything is written. */
  readonly answers: EventAnswer[] = [];
  /** When each write was asked for. */
  readonly atMs: number[] = [];
  /** What became of each. */
  readonly ends: string[] = [];
  readonly stop = new AbortController();
  readonly recorder: EventRecorder;
  readonly running: Promise<void>;

  constructor(instance = 'node-a') {
    const log = {
      ...silentLog,
      warn: (fields: object, text: string) =>
        void this.lines.push(`${text} ${JSON.stringify(fields)}`),
    };
    const { clock } = this;
    const controller = 'switchyard.io/proxy';
    const onEnd = (end: string): void => void this.ends.push(end);
    this.recorder = new EventRecorder({ sink: this, controller, instance, clock, log, onEnd });
    this.running = this.recorder.run(this.stop.signal);
  }

  async create(made: WireEvent): Promise<EventAnswer> {
    this.created.push(made);
    return this.#answer();
  }

  async patchSeries({ name }: WireEvent['metadata'], series: WireSeries): Promise<EventAnswer> {
    this.patched.push(`${name} ${series.count} ${series.lastObservedTime}`);
    return this.#answer();
  }

  #answer(): EventAnswer {
    this.atMs.push(this.clock.monotonic());
    return this.answers.shift() ?? written;
  }

  async tell(...events: readonly ObjectEvent[]): Promise<void> {
    for (const each of events) this.recorder.tell(each);
    await settle();
  }
}

const notes = ({ created }: Rig): readonly string[] => created.map(({ note }) => note);

describe('an Event', () => {
  it('is an object of events.k8s.io/v1 in the namespace of what it is about', async () => {
    const rig = new Rig();
    rig.clock.setDate(Date.UTC(2026, 0, 2, 3, 4, 5, 6));
    await rig.tell(event('not served'));
    expect(rig.created).toEqual([
      {
        apiVersion: 'events.k8s.io/v1',
        kind: 'Event',
        metadata: { namespace: 'ns1', name: expect.stringMatching(/^web\.[0-9a-f]{16}$/) },
        eventTime: '2026-01-02T03:04:05.006000Z',
        reportingController: 'switchyard.io/proxy',
        reportingInstance: 'node-a',
        action: 'Bind',
        reason: 'AddressRefused',
        regarding: event('').regarding,
        note: 'not served',
        type: 'Warning',
      },
    ]);
    expect(rig.patched).toEqual([]);
  });

  it('has a note of at most 1024 bytes, cut between characters', async () => {
    const rig = new Rig();
    await rig.tell(event('a'.repeat(1024)), event('ä'.repeat(600)));
    expect(notes(rig)).toEqual(['a'.repeat(1024), `${'ä'.repeat(510)}…`]);
    expect(Buffer.byteLength(notes(rig)[1] ?? '')).toBe(1023);
  });

  it('names a node of 128 bytes at most', async () => {
    const rig = new Rig('n'.repeat(253));
    await rig.tell(event('a'));
    expect(Buffer.byteLength(rig.created[0]?.reportingInstance ?? '')).toBeLessThanOrEqual(128);
  });

  it('has a name of its own on each node, or one for the cluster where all say the same', async () => {
    const rigs = [new Rig('node-a'), new Rig('node-b')];
    for (const rig of rigs)
      await rig.tell(event('here', { scope: 'node' }), event('everywhere', { scope: 'cluster' }));
    const [a = [], b = []] = rigs.map(({ created }) =>
      created.map(({ metadata }) => metadata.name),
    );
    expect(a).toHaveLength(2);
    expect(a[0]).not.toBe(b[0]);
    expect(a[1]).toBe(b[1]);
  });
});

describe('repeats', () => {
  it('within six minutes are counted in the first one', async () => {
    const rig = new Rig();
    await rig.tell(event('a'));
    await rig.clock.advance(300_000);
    await rig.tell(event('a'));
    await rig.clock.advance(300_000);
    await rig.tell(event('a'));
    const name = rig.created[0]?.metadata.name;
    expect(rig.created).toHaveLength(1);
    expect(rig.patched).toEqual([
      `${name} 2 1970-01-01T00:05:00.000000Z`,
      `${name} 3 1970-01-01T00:10:00.000000Z`,
    ]);
  });

  it('after six minutes of silence are an Event of their own', async () => {
    const rig = new Rig();
    await rig.tell(event('a'));
    await rig.clock.advance(360_000);
    await rig.tell(event('a'));
    expect(new Set(rig.created.map(({ metadata }) => metadata.name)).size).toBe(2);
    expect(rig.patched).toEqual([]);
  });

  it('that come before the first one is written are in it', async () => {
    const rig = new Rig();
    await rig.tell(event('a'), event('a'), event('a'));
    expect(rig.created[0]?.series).toEqual({
      count: 3,
      lastObservedTime: '1970-01-01T00:00:00.000000Z',
    });
    expect(rig.patched).toEqual([]);
  });

  it('of other words, reasons and objects are no repeats', async () => {
    const rig = new Rig();
    await rig.tell(event('a'), event('b'), event('a', { reason: 'Other' }), event('a', {}, 'dns'));
    expect(rig.created).toHaveLength(4);
  });

  it('make a new Event where the first has expired', async () => {
    const rig = new Rig();
    rig.answers.push(written, { kind: 'gone' });
    await rig.tell(event('a'));
    await rig.tell(event('a'));
    expect(rig.patched).toHaveLength(1);
    expect(rig.created.map(({ series }) => series?.count)).toEqual([undefined, 2]);
  });

  it('of what another node has told for the cluster are left to that node', async () => {
    const rig = new Rig();
    rig.answers.push({ kind: 'exists' });
    await rig.tell(event('a', { scope: 'cluster' }));
    await rig.tell(event('a', { scope: 'cluster' }));
    await rig.clock.advance(60_000);
    expect([rig.created.length, rig.patched.length]).toEqual([1, 0]);
  });

  it('go on where an Event of this node is there although nobody answered', async () => {
    const rig = new Rig();
    rig.answers.push({ kind: 'exists' });
    await rig.tell(event('a'));
    await rig.tell(event('a'));
    expect(rig.patched).toEqual([expect.stringMatching(/ 2 1970/)]);
  });
});

describe('the pace', () => {
  it('is ten at once for an object, and then one a minute; others are not held up', async () => {
    const rig = new Rig();
    const many = Array.from({ length: 12 }, (_, i) => event(`web ${i}`));
    await rig.tell(...many, event('dns', {}, 'dns'));
    expect(notes(rig)).toEqual([...many.slice(0, 10).map(({ note }) => note), 'dns']);
    await rig.clock.advance(59_999);
    expect(rig.created).toHaveLength(11);
    await rig.clock.advance(1);
    expect(rig.created).toHaveLength(12);
    await rig.clock.advance(60_000);
    expect(rig.created).toHaveLength(13);
  });

  it('is twenty at once in all, and then one every two seconds', async () => {
    const rig = new Rig();
    await rig.tell(...Array.from({ length: 23 }, (_, i) => event('a', {}, `s${i}`)));
    expect(rig.created).toHaveLength(20);
    await rig.clock.advance(6000);
    expect(rig.atMs.slice(20)).toEqual([2000, 4000, 6000]);
  });

  it('counts the repeats that it holds back: they are one write', async () => {
    const rig = new Rig();
    for (let i = 0; i < 30; i++) await rig.tell(event('a'));
    expect(rig.patched.map((each) => each.split(' ')[1])).toEqual(
      Array.from({ length: 9 }, (_, i) => String(i + 2)),
    );
    await rig.clock.advance(60_000);
    expect(rig.patched.at(-1)).toMatch(/ 30 /);
    expect(rig.patched).toHaveLength(10);
  });

  it('bounds what is held: a thousand, the rest is dropped with one line', async () => {
    const rig = new Rig();
    rig.answers.push(failed(true, 60_000));
    await rig.tell(...Array.from({ length: 1005 }, (_, i) => event('a', {}, `s${i}`)));
    expect(rig.lines).toEqual([
      'Events are not written: too much is told at once {"dropped":1,"reason":"too much is told at once"}',
    ]);
    await rig.clock.advance(3_000_000);
    // one of them twice: its first try failed
    expect(rig.created).toHaveLength(1001);
    await rig.tell(event('a', {}, 'later'));
    expect(rig.created).toHaveLength(1002);
  });
});

describe('what cannot be written', () => {
  it('for now is tried again, ever more rarely, and after the fifth time dropped', async () => {
    const rig = new Rig();
    rig.answers.push(...Array.from({ length: 5 }, () => failed(true)));
    await rig.tell(event('a'));
    await rig.clock.advance(300_000);
    expect(rig.atMs).toEqual([0, 5000, 15_000, 35_000, 75_000]);
    expect(rig.lines).toEqual([
      'Events are not written: no right {"dropped":1,"reason":"no right"}',
    ]);
  });

  it('for now waits as long as the server wishes', async () => {
    const rig = new Rig();
    rig.answers.push(failed(true, 30_000));
    await rig.tell(event('a'));
    await rig.clock.advance(60_000);
    expect(rig.atMs).toEqual([0, 30_000]);
  });

  it('for want of a right is dropped at once; the log says so each ten minutes at most', async () => {
    const rig = new Rig();
    rig.answers.push(...Array.from({ length: 4 }, () => failed(false)));
    await rig.tell(event('a'), event('b'), event('c'));
    expect(rig.created).toHaveLength(3);
    expect(rig.lines).toHaveLength(1);
    await rig.clock.advance(600_000);
    await rig.tell(event('d'));
    expect(rig.lines[1]).toContain('"dropped":3');
    await rig.tell(event('e'));
    expect(notes(rig)).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('is dropped where the sink throws', async () => {
    const rig = new Rig();
    rig.create = async () => {
      throw new Error('a bug');
    };
    await rig.tell(event('a'));
    expect(rig.lines).toEqual([expect.stringContaining('a bug')]);
  });
});

describe('the end', () => {
  it('comes at once, whatever waits', async () => {
    const rig = new Rig();
    rig.answers.push(failed(true, 60_000));
    await rig.tell(event('a'));
    rig.stop.abort();
    await rig.running;
    await rig.tell(event('b'));
    expect(notes(rig)).toEqual(['a']);
  });
});

describe('metrics and the end of the process', () => {
  it('are told what became of each Event and repeat', async () => {
    const rig = new Rig();
    rig.answers.push(written, written, failed(false));
    await rig.tell(event('a'), event('a'), event('b'));
    await rig.tell(event('a'));
    expect(rig.ends).toEqual(['written', 'written', 'dropped'].slice(0, rig.ends.length));
    expect(rig.ends).toContain('dropped');
  });

  it('wait for what is told, but not for ever', async () => {
    const rig = new Rig();
    rig.recorder.tell(event('a'));
    let flushed = 0;
    void rig.recorder.flush(3000).then(() => flushed++);
    await rig.clock.advance(10);
    expect([rig.created.length, flushed]).toEqual([1, 1]);
    rig.answers.push(failed(true));
    rig.recorder.tell(event('b'));
    void rig.recorder.flush(3000).then(() => flushed++);
    await rig.clock.advance(2900);
    expect(flushed).toBe(1);
    await rig.clock.advance(200);
    expect(flushed).toBe(2);
  });
});

describe('an Event on an object without a namespace', () => {
  it('is in the default one, names none, and may be of type Normal', async () => {
    const rig = new Rig();
    const regarding = { apiVersion: 'v1', kind: 'Node', namespace: '', name: 'a', uid: 'a' };
    await rig.tell(event('begins', { regarding, type: 'Normal' }));
    const [made] = rig.created;
    expect(made?.metadata.namespace).toBe('default');
    expect(made?.regarding).toEqual({ apiVersion: 'v1', kind: 'Node', name: 'a', uid: 'a' });
    expect(made?.type).toBe('Normal');
  });
});
