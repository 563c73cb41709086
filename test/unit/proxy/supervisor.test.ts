// Which configuration is in force, whatever comes of new ones: agents here do nothing but say what they are told.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { Registry } from 'prom-client';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import { proxyConfig } from '../../../src/config/read-proxy-config.ts';
import type { ProxyConfig } from '../../../src/config/proxy-config.ts';
import type { AgentEnd, AgentStart } from '../../../src/proxy/agent-options.ts';
import type { ConfigReading, SupervisedAgent } from '../../../src/proxy/supervised-run.ts';
import { Supervisor } from '../../../src/proxy/supervisor.ts';
import { errorText } from '../../../src/error.ts';
import { ConfigMetrics } from '../../../src/telemetry/config-metrics.ts';
import type { Log } from '../../../src/telemetry/log.ts';
import { VirtualClock, settle } from './virtual-clock.ts';

/** What an agent waits for: to be able to work, the end of its work, its first rules. */
interface Fate {
  readonly start?: Promise<void>;
  /** It cannot work at all. */
  readonly problem?: string;
  /** It cannot even be made. */
  readonly mistake?: string;
  readonly end?: Promise<void>;
  readonly rules?: Promise<void>;
  /** Its work goes on until then, though it was asked to stop. */
  readonly lingers?: Promise<void>;
}

/** The text of a configuration is a command line. */
function reading(text: string): ConfigReading {
  const config = proxyConfig(parseFlags(proxyFlags, text.split(' ').filter(Boolean)).flags);
  return { config, warnings: [], sha256: `sha of ${text}` };
}

class FakeAgent implements SupervisedAgent {
  readonly #says: (text: string) => void;
  readonly #fate: Fate;
  readonly #firstRules: () => void;

  constructor(says: (text: string) => void, fate: Fate, firstRules: () => void) {
    this.#says = says;
    this.#fate = fate;
    this.#firstRules = firstRules;
  }

  async run({ signal }: AbortController, { takeOver }: AgentStart = {}): Promise<void> {
    const stopped = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    if (this.#fate.problem !== undefined) throw new Error(this.#fate.problem);
    await Promise.race([this.#fate.start, stopped]);
    if (signal.aborted) return;
    await takeOver?.();
    this.#says('works');
    void Promise.resolve(this.#fate.rules).then(this.#firstRules);
    await Promise.race([this.#fate.end ?? stopped, stopped]);
    await this.#fate.lingers;
    this.#says('stops');
  }

  reconfigure(): void {
    this.#says('takes it up');
  }

  async leave(): Promise<void> {
    this.#says('leaves its ports');
  }

  async close(end?: AgentEnd): Promise<void> {
    this.#says(end === undefined ? 'ends' : `drains ${end.withinMs}`);
  }
}

class Stage {
  readonly clock = new VirtualClock();
  readonly registry = new Registry();
  readonly told: string[] = [];
  readonly #stop = new AbortController();
  readonly #supervisor: Supervisor;
  readonly #running: Promise<void>;
  readonly #agents: WeakRef<FakeAgent>[] = [];
  #count = 0;
  retired = 0;
  readonly inForce: string[] = [];
  /** What cannot be adopted. */
  unadoptable = '';

  constructor(first: string, fates: readonly Fate[] = []) {
    const line = (_fields: object, text: string): void => void this.told.push(text);
    const log: Log = { debug() {}, info: line, warn: line, error: line };
    this.#supervisor = new Supervisor({
      first: reading(first),
      read: reading,
      open: (_config, onFirstRules) => {
        const number = ++this.#count;
        const { mistake } = fates[number - 1] ?? {};
        if (mistake !== undefined) throw new Error(mistake);
        const says = (text: string): void => void this.told.push(`agent ${number} ${text}`);
        const agent = new FakeAgent(says, fates[number - 1] ?? {}, onFirstRules);
        this.#agents.push(new WeakRef(agent));
        return agent;
      },
      adopt: async (part, config) => this.#adopt(part, config),
      onInForce: (now) => void this.inForce.push(now.sha256),
      onRetired: () => void (this.retired += 1),
      close: async () => {},
      metrics: new ConfigMetrics(this.registry),
      clock: this.clock,
      log,
    });
    this.#running = this.#supervisor.run(this.#stop.signal);
    this.#running.catch(() => {});
  }

  async #adopt(part: string, { metricsBind }: ProxyConfig): Promise<void> {
    const port = String(metricsBind?.port);
    this.told.push(`${part} follows ${part === 'servers' ? port : ''}`.trim());
    if (port === this.unadoptable) throw new Error(`port ${port} is taken`);
  }

  /** What is said by the time that a new file was read. */
  async offer(text: string): Promise<readonly string[]> {
    this.#supervisor.offer({ kind: 'text', text });
    return this.said();
  }

  /** The second one comes so many turns after the first. */
  async offerTwice(one: string, other: string, turns: number): Promise<readonly string[]> {
    this.#supervisor.offer({ kind: 'text', text: one });
    for (let i = 0; i < turns; i++) await Promise.resolve();
    this.#supervisor.offer({ kind: 'text', text: other });
    return this.said();
  }

  /** The numbers of the agents that somebody still knows of. */
  agentsHeld(): readonly number[] {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    collect();
    return this.#agents.flatMap((agent, i) => (agent.deref() === undefined ? [] : [i + 1]));
  }

  async lose(): Promise<readonly string[]> {
    this.#supervisor.offer({ kind: 'missing', reason: 'no such file' });
    return this.said();
  }

  async said(): Promise<readonly string[]> {
    await settle();
    return this.told.splice(0);
  }

  async metrics(): Promise<{
    readonly inForce: string;
    readonly ok: string;
    readonly results: string;
  }> {
    const lines = (await this.registry.metrics()).split('\n');
    const line = (start: string): string => lines.find((each) => each.startsWith(start)) ?? '';
    const results = lines.flatMap((each) => {
      const [, result, count] =
        /^switchyard_config_reloads_total\{result="(\w+)"\} (\d+)$/.exec(each) ?? [];
      return count === undefined || count === '0' ? [] : [`${result} ${count}`];
    });
    return {
      inForce: /sha256="sha of (.*)",/.exec(line('switchyard_config_info{'))?.[1] ?? '',
      ok: line('switchyard_config_last_reload_successful ').split(' ')[1] ?? '',
      results: results.join(', '),
    };
  }

  async end(): Promise<readonly string[]> {
    this.#stop.abort();
    await this.#running;
    return this.said();
  }

  /** What ended it. */
  async failure(): Promise<string> {
    return this.#running.then(
      () => 'nothing',
      (error: unknown) => errorText(error),
    );
  }
}

const planOf = (text: string): string => `configuration changes: ${text}`;
const starting = 'a new agent starts; the old one works until that one can take over';
const masquerade = '--iptables-masquerade-bit=15';
const masqueradePlan = planOf(
  'iptables.masqueradeBit: 14 → 15 (restart: it is built into all rules)',
);
const userspace = '--proxy-mode=userspace';

describe('the supervisor', () => {
  it('lets the agent that runs take up what it can', async () => {
    const stage = new Stage('');
    expect(await stage.said()).toEqual(['agent 1 works']);
    expect(await stage.metrics()).toEqual({ inForce: '', ok: '1', results: '' });
    expect(await stage.offer('--masquerade-all -v=3')).toEqual([
      planOf('masqueradeAll: false → true (live); logging.verbosity: 0 → 3 (live)'),
      'rules follows',
      'log follows',
      'agent 1 takes it up',
      'the new configuration is in force',
    ]);
    expect(await stage.metrics()).toEqual({
      inForce: '--masquerade-all -v=3',
      ok: '1',
      results: 'live 1',
    });
    expect(await stage.end()).toEqual(['agent 1 stops', 'agent 1 ends']);
  });

  it('lets a new agent take over from the one that runs, not before it can work', async () => {
    const ready = Promise.withResolvers<void>();
    const stage = new Stage('', [{}, { start: ready.promise }]);
    await stage.said();
    expect(await stage.offer(masquerade)).toEqual([masqueradePlan, starting]);
    expect(await stage.metrics()).toEqual({ inForce: '', ok: '0', results: '' });
    ready.resolve();
    expect(await stage.said()).toEqual([
      'agent 1 stops',
      'the new configuration is in force',
      'agent 2 works',
    ]);
    expect(await stage.metrics()).toEqual({ inForce: masquerade, ok: '1', results: 'restart 1' });
    expect(await stage.end()).toEqual(['agent 2 stops', 'agent 2 ends', 'agent 1 drains 300000']);
  });

  it('keeps the agent that runs where no other can start', async () => {
    const stage = new Stage('', [{}, { problem: 'no such file' }]);
    await stage.said();
    expect(await stage.offer(masquerade)).toEqual([
      masqueradePlan,
      starting,
      'agent 2 drains 0',
      'no agent can start with the new configuration, the last good one stays in force: no such file',
    ]);
    expect(await stage.metrics()).toEqual({ inForce: '', ok: '0', results: 'failed 1' });
    expect((await stage.offer('--masquerade-all')).at(-1)).toBe(
      'the new configuration is in force',
    );
    expect(await stage.metrics()).toMatchObject({ ok: '1', results: 'live 1, failed 1' });
    await stage.end();
  });

  it('goes on where a mistake of its own keeps it from following a change, and tries it again', async () => {
    const stage = new Stage('', [{}, { mistake: 'x is not a function' }]);
    await stage.said();
    expect(await stage.offer(masquerade)).toEqual([
      masqueradePlan,
      'the new configuration cannot be followed, the last good one stays in force: x is not a function',
    ]);
    expect(await stage.metrics()).toEqual({ inForce: '', ok: '0', results: 'failed 1' });
    await stage.clock.advance(10_000);
    expect(await stage.said()).toContain('agent 3 works');
    await stage.end();
  });

  it('puts the process back as it was where no agent can start with what was tried', async () => {
    const stage = new Stage('', [{}, { problem: 'no such file' }]);
    await stage.said();
    const tried = `${masquerade} --metrics-bind-address=127.0.0.1:1 --oom-score-adj=0 --conntrack-min=1 -v=2`;
    expect((await stage.offer(tried)).slice(2, -1)).toEqual([
      'agent 2 drains 0',
      'servers follows 10249',
      'process follows',
      'kernel follows',
    ]);
    await stage.end();
  });

  it('tries again what no agent could start with, ever more rarely, until something newer comes', async () => {
    const failing = { problem: 'no such file' };
    const stage = new Stage('', [{}, failing, failing, {}]);
    await stage.said();
    await stage.offer(masquerade);
    await stage.clock.advance(9000);
    expect(await stage.said()).toEqual([]);
    await stage.clock.advance(1000);
    expect((await stage.said()).slice(0, 3)).toEqual([
      masqueradePlan,
      starting,
      'agent 3 drains 0',
    ]);
    await stage.clock.advance(19_000);
    expect(await stage.said()).toEqual([]);
    await stage.clock.advance(1000);
    expect(await stage.said()).toContain('agent 4 works');
    expect(await stage.metrics()).toMatchObject({
      inForce: masquerade,
      results: 'restart 1, failed 2',
    });
    await stage.clock.advance(3_600_000);
    expect((await stage.said()).slice(1)).toEqual([]);
    await stage.end();
  });

  it('forgets what no agent could start with when that is taken back', async () => {
    const stage = new Stage('', [{}, { problem: 'no such file' }]);
    await stage.said();
    await stage.offer(masquerade);
    await stage.offer('');
    await stage.clock.advance(3_600_000);
    expect(await stage.said()).toEqual([]);
    await stage.end();
  });

  it('keeps nothing of an agent that was replaced', async () => {
    const stage = new Stage('');
    await stage.said();
    await stage.offer(masquerade);
    await stage.clock.advance(1000);
    await stage.said();
    expect(stage.retired).toBe(1);
    expect(stage.agentsHeld()).toEqual([2]);
    await stage.end();
  });

  it('refuses what cannot be used, with each problem, and goes on', async () => {
    const stage = new Stage('');
    await stage.said();
    expect(await stage.offer('--cluster-cidr=x --oom-score-adj=5000')).toEqual([
      'the new configuration is refused, the last good one stays in force: it cannot be used; --cluster-cidr: "x" is not a CIDR; --oom-score-adj: 5000 is not -1000 to 1000',
    ]);
    expect(await stage.lose()).toEqual([
      'the new configuration is refused, the last good one stays in force: its file cannot be read: no such file',
    ]);
    expect(await stage.offer('--init-only')).toEqual([
      planOf('--init-only: false → true (new process: it says what the process is for)'),
      'the new configuration is refused, the last good one stays in force: it asks for what this process cannot follow; --init-only: false → true (new process: it says what the process is for)',
    ]);
    expect(await stage.metrics()).toEqual({ inForce: '', ok: '0', results: 'refused 3' });
    expect(await stage.offer('')).toEqual([
      'the configuration says what it said before',
      'the new configuration is in force',
    ]);
    expect(await stage.metrics()).toMatchObject({ ok: '1', results: 'unchanged 1, refused 3' });
    expect(await stage.end()).toEqual(['agent 1 stops', 'agent 1 ends']);
  });

  it('goes back where a part of the process cannot follow', async () => {
    const stage = new Stage('');
    await stage.said();
    stage.unadoptable = '1';
    expect(
      (await stage.offer('--masquerade-all --metrics-bind-address=127.0.0.1:1')).slice(1),
    ).toEqual([
      'servers follows 1',
      'servers follows 10249',
      'the new configuration is refused, the last good one stays in force: it cannot be followed; port 1 is taken',
    ]);
    expect(await stage.metrics()).toMatchObject({ inForce: '', ok: '0' });
    await stage.end();
  });

  it('gives up an agent that waits to take over when something newer comes', async () => {
    const stage = new Stage('', [{}, { start: new Promise(() => {}) }]);
    await stage.said();
    await stage.offer(masquerade);
    expect((await stage.offer('--iptables-masquerade-bit=16')).slice(-4)).toEqual([
      starting,
      'agent 1 stops',
      'the new configuration is in force',
      'agent 3 works',
    ]);
    expect(await stage.metrics()).toMatchObject({
      inForce: '--iptables-masquerade-bit=16',
      ok: '1',
    });
    await stage.end();
  });

  it('never waits for an agent while something newer is there, however close the two come', async () => {
    for (let moment = 0; moment < 12; moment++) {
      const stage = new Stage('', [{}, { start: new Promise(() => {}) }]);
      await stage.said();
      const said = await stage.offerTwice(masquerade, '', moment);
      expect(said.at(-1)).toBe('the new configuration is in force');
      await stage.end();
    }
  });

  it('finishes a take-over that has begun before it follows what is newer', async () => {
    const lingering = Promise.withResolvers<void>();
    const stage = new Stage('', [{ lingers: lingering.promise }]);
    await stage.said();
    await stage.offer(masquerade);
    const newer = `${masquerade} --masquerade-all`;
    await stage.offer(newer);
    lingering.resolve();
    expect((await stage.said()).at(-1)).toBe('the new configuration is in force');
    expect(await stage.metrics()).toMatchObject({ inForce: newer, results: 'live 1, restart 1' });
    expect((await stage.offer(masquerade))[0]).toBe(planOf('masqueradeAll: true → false (live)'));
    await stage.end();
  });

  it('waits for the end of the work before, but not without end', async () => {
    const stage = new Stage('', [{ lingers: new Promise(() => {}) }]);
    await stage.said();
    await stage.offer(masquerade);
    await stage.clock.advance(29_000);
    expect(await stage.said()).toEqual([]);
    await stage.clock.advance(1000);
    expect(await stage.said()).toEqual([
      'the agent before has not ended its work within 30 s; the new one goes on without waiting',
      'the new configuration is in force',
      'agent 2 works',
    ]);
    expect(await stage.metrics()).toMatchObject({ inForce: masquerade, ok: '1' });
  });

  it('leaves an agent that waits to it where the same is asked for again', async () => {
    const ready = Promise.withResolvers<void>();
    const stage = new Stage('', [{}, { start: ready.promise }]);
    await stage.said();
    await stage.offer(masquerade);
    expect(await stage.offer(masquerade)).toEqual([
      'an agent starts with this configuration already',
    ]);
    // Taken back and asked for anew, it is another matter.
    expect(await stage.offerTwice('', masquerade, 0)).toContain('agent 2 drains 0');
    ready.resolve();
    await stage.said();
    expect(stage.inForce.at(-1)).toBe(`sha of ${masquerade}`);
    await stage.end();
  });

  it('tells which configuration is in force, the first and each one after it', async () => {
    const stage = new Stage('', [{}, { problem: 'no such file' }]);
    await stage.said();
    for (const text of ['--masquerade-all', masquerade, '--cluster-cidr=x', '-v=2']) {
      await stage.offer(text);
    }
    expect(stage.inForce).toEqual(['sha of ', 'sha of --masquerade-all', 'sha of -v=2']);
    await stage.end();
  });

  it('goes back to the configuration in force where somebody takes a change back in time', async () => {
    const stage = new Stage('', [{}, { start: new Promise(() => {}) }]);
    await stage.said();
    await stage.offer(masquerade);
    expect(await stage.offer('')).toEqual([
      'agent 2 drains 0',
      'the new agent was given up before it took over',
      'the configuration says what it said before',
      'the new configuration is in force',
    ]);
    expect(await stage.metrics()).toMatchObject({ inForce: '', ok: '1' });
    expect(await stage.end()).toEqual(['agent 1 stops', 'agent 1 ends']);
  });

  it('lets an agent that listens leave its ports before another one does, and its connections go on', async () => {
    const stage = new Stage(userspace);
    await stage.said();
    expect((await stage.offer(`${userspace} --userspace-drain-timeout=1m`)).slice(2)).toEqual([
      'agent 1 stops',
      'agent 1 leaves its ports',
      'the new configuration is in force',
      'agent 2 works',
    ]);
    await stage.end();
  });

  it('lets an agent listen until the rules of another mode are in', async () => {
    const rules = Promise.withResolvers<void>();
    const stage = new Stage(userspace, [{}, { rules: rules.promise }]);
    await stage.said();
    expect((await stage.offer('')).slice(2)).toEqual([
      'agent 1 stops',
      'the new configuration is in force',
      'agent 2 works',
    ]);
    await stage.clock.advance(60_000);
    expect(await stage.said()).toEqual([]);
    rules.resolve();
    expect(await stage.said()).toEqual([]);
    await stage.clock.advance(1000);
    expect(await stage.said()).toEqual(['agent 1 drains 300000']);
    await stage.end();
  });

  it('closes an agent with the rules of a later one where the next one never wrote any', async () => {
    const stage = new Stage(userspace, [{}, { rules: new Promise(() => {}) }, {}]);
    await stage.said();
    expect(await stage.offer('')).toContain('agent 2 works');
    expect(await stage.offer(masquerade)).toContain('agent 3 works');
    await stage.clock.advance(1000);
    const said = await stage.said();
    expect(said.toSorted()).toEqual(['agent 1 drains 300000', 'agent 2 drains 300000']);
    expect(stage.agentsHeld()).not.toContain(1);
    await stage.end();
  });

  it('waits for no rules at its end', async () => {
    const stage = new Stage(userspace, [{}, { rules: new Promise(() => {}) }]);
    await stage.said();
    await stage.offer('');
    expect(await stage.end()).toEqual(
      expect.arrayContaining(['agent 1 drains 300000', 'agent 2 ends']),
    );
  });

  it('ends with the first agent where that cannot start', async () => {
    const stage = new Stage('', [{ problem: 'no tools' }]);
    expect(await stage.failure()).toBe('no tools');
  });

  it('ends with what ends the agent in force', async () => {
    const end = Promise.withResolvers<void>();
    const stage = new Stage('', [{}, { end: end.promise }]);
    await stage.said();
    await stage.offer(masquerade);
    end.reject(new Error('a bug'));
    expect(await stage.failure()).toBe('a bug');
  });

  it('ends with an agent that is done', async () => {
    const end = Promise.withResolvers<void>();
    const stage = new Stage('', [{ end: end.promise }]);
    end.resolve();
    expect(await stage.failure()).toBe('nothing');
  });

  it('that is stopped while an agent waits to take over ends both', async () => {
    const stage = new Stage('', [{}, { start: new Promise(() => {}) }]);
    await stage.said();
    await stage.offer(masquerade);
    const said = await stage.end();
    expect(said).toContain('agent 1 ends');
    expect(said).toContain('agent 2 drains 0');
  });
});
