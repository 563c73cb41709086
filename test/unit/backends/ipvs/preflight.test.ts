// What ipvs mode looks at before it starts, and what it says of each thing that is missing.
import { describe, expect, it } from 'vitest';
import { ipvsRuleFeatures } from '../../../../src/backends/ipvs/features.ts';
import { missingForIpvs, refuseMissing } from '../../../../src/backends/ipvs/preflight.ts';
import { Schedulers, ipv6Problem } from '../../../../src/backends/ipvs/schedulers.ts';
import { SwitchyardError } from '../../../../src/error.ts';
import { FakeToolRunner } from '../../../support/fake-tool-runner.ts';
import type { ToolRunner } from '../../../../src/host/run-tool.ts';
import { FakeIpvsNode } from '../../../support/fake-ipvs-node.ts';
import type { Answer, RecordedRun } from '../../../support/fake-tool-runner.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

const { signal } = new AbortController();
const rr = { scheduler: 'rr', flags: [] };

/** A machine that has everything, but for what the test says. */
function machine(answer: (run: RecordedRun) => Answer = () => undefined): FakeToolRunner {
  return new FakeToolRunner((run) => {
    const said = answer(run);
    if (said !== undefined) return said;
    if (run.args[0] === '--version') return { stdout: 'ipset v7.17, protocol version: 7\n' };
    // there is no kube-ipvs0 yet
    return run.args.includes('show') ? { exitCode: 1, stderr: 'does not exist' } : undefined;
  });
}

async function look(tools: FakeToolRunner, scheduler = rr): Promise<readonly string[]> {
  const missing = await missingForIpvs({ tools, scheduler }, signal);
  return missing.map(({ name, reason, cure }) => `${name} | ${reason} | ${cure}`);
}

/** The run that tries a scheduler. */
const tried = (how: string): string =>
  `--restore -D -t 198.51.100.0:20000\n-A -t 198.51.100.0:20000 -s ${how}\n-D -t 198.51.100.0:20000`;

const commands = ({ runs }: FakeToolRunner, tool: string): readonly string[] =>
  runs
    .filter((run) => run.tool === tool)
    .map(({ args, input }) => [...args, input].join(' ').trim());

describe('a machine that has everything', () => {
  it('lacks nothing, and is left as it was', async () => {
    const tools = machine();
    expect(await look(tools)).toEqual([]);
    expect(commands(tools, 'ipvsadm')).toEqual(['-L --timeout', tried('rr')]);
    expect(commands(tools, 'ip')).toEqual([
      '-d link show dev kube-ipvs0',
      '-force -batch - link del kube-ipvs-probe\nlink add kube-ipvs-probe type dummy\nlink del kube-ipvs-probe',
    ]);
    const sets = commands(tools, 'ipset').filter((line) => line.startsWith('restore'));
    expect(sets).toHaveLength(1);
    expect(sets[0]?.match(/create KUBE-SWITCHYARD-PROBE-I \S+/g)).toHaveLength(5);
    expect(sets[0]?.match(/destroy KUBE-SWITCHYARD-PROBE-I/g)).toHaveLength(5);
    expect(commands(tools, 'modprobe')).toEqual([]);
  });

  it('needs no other link where kube-ipvs0 is there', async () => {
    const stdout = '5: kube-ipvs0: <BROADCAST,NOARP> mtu 1500 \\ dummy addrgenmode none';
    const tools = machine(({ args }) => (args.includes('show') ? { stdout } : undefined));
    expect(await look(tools)).toEqual([]);
    expect(commands(tools, 'ip')).toHaveLength(1);
  });

  it('has no probe to remove, which the tools say of the first line', async () => {
    const tools = machine(({ tool, args }) => {
      if (tool === 'ipvsadm' && args[0] === '--restore') return { stderr: 'No such service\n' };
      if (tool !== 'ip' || !args.includes('-batch')) return undefined;
      const stderr = 'Cannot find device "kube-ipvs-probe"\nCommand failed -:1\n';
      return { exitCode: 1, stderr };
    });
    expect(await look(tools)).toEqual([]);
  });

  it('leaves nothing where the agent is killed meanwhile: one run makes each probe and removes it', async () => {
    const node = new FakeIpvsNode();
    const links = new Set(['kube-ipvs-probe']);
    const tools = machine(({ tool, args, input }) => {
      if (tool === 'ip' && args.includes('-batch')) runLinks(links, input);
      return undefined;
    });
    const runner = {
      run: async (...run: Parameters<ToolRunner['run']>) => {
        const [tool, args] = run;
        if (tool !== 'ipvsadm' || args[0] !== '--restore') return tools.run(...run);
        await node.tools.run(...run);
        throw new Error('killed');
      },
    };
    node.servers.set('-t 198.51.100.0:20000', {
      scheduler: 'rr',
      persistent: undefined,
      realServers: new Map(),
    });
    await expect(missingForIpvs({ tools: runner, scheduler: rr }, signal)).rejects.toThrow(
      'killed',
    );
    expect([node.servers.size, links.size]).toEqual([0, 0]);
  });

  it('may have a set of an agent that was killed', async () => {
    let isLeft = true;
    const tools = machine(({ args }) => {
      if (args.includes('destroy')) isLeft = false;
      if (!isLeft || !args.includes('restore')) return undefined;
      return { exitCode: 1, stderr: 'set with the same name' };
    });
    expect(await look(tools)).toEqual([]);
    expect(isLeft).toBe(false);
  });
});

/** What a run does to links. */
function runLinks(links: Set<string>, input: string): void {
  for (const line of input.trim().split('\n')) {
    const [, verb, name = ''] = line.split(' ');
    if (verb === 'add') links.add(name);
    else links.delete(name);
  }
}

const notBuiltIn =
  'modprobe: FATAL: Module ip_vs not found in directory /lib/modules/6.1.0\n' +
  "Can't initialize ipvs: Protocol not available\n" +
  'Are you sure that IP Virtual Server is built in the kernel or as module?\n';

const notPermitted = 'RTNETLINK answers: Operation not permitted';
const noScheduler = 'No such service\nScheduler or persistence engine not found\nNo such service\n';

function refusedLinks(words: string): Answer {
  const absent = 'Cannot find device "kube-ipvs-probe"';
  const stderr = [absent, words, absent].map((each, i) => `${each}\nCommand failed -:${i + 1}\n`);
  return { exitCode: 1, stderr: stderr.join('') };
}

describe('what is missing is named, with its cure:', () => {
  it.each<[string, (run: RecordedRun) => Answer, RegExp]>([
    [
      'ipvsadm',
      ({ tool }) => (tool === 'ipvsadm' ? 'missing' : undefined),
      /^the tool ipvsadm \| ipvsadm is not on this machine \| install it: apt-get install ipvsadm, /,
    ],
    [
      'ipset',
      ({ tool }) => (tool === 'ipset' ? 'missing' : undefined),
      /^the tool ipset \| .* \| install it: apt-get install ipset, /,
    ],
    [
      'ip',
      ({ tool }) => (tool === 'ip' ? 'missing' : undefined),
      /^the tool ip \| .* \| install it: apt-get install iproute2, /,
    ],
    [
      'a newer ipset',
      ({ args }) =>
        args[0] === '--version' ? { stdout: 'ipset v4.5 Protocol version 4.' } : undefined,
      /^ipset 6\.0 or newer \| this one is v4\.5 \| install ipset 6\.0 or newer$/,
    ],
    [
      'ip_vs',
      ({ tool }) =>
        tool === 'ipvsadm'
          ? { exitCode: 2, stderr: notBuiltIn }
          : tool === 'modprobe'
            ? { exitCode: 1, stderr: 'FATAL' }
            : undefined,
      /^ip_vs \| Can't initialize ipvs: Protocol not available \| load the kernel module ip_vs .*CONFIG_IP_VS$/,
    ],
    [
      'rights',
      ({ tool }) =>
        tool === 'ipvsadm'
          ? { exitCode: 2, stderr: "Can't initialize ipvs: Permission denied (you must be root)\n" }
          : undefined,
      /^ip_vs \| .* \| run as root, with CAP_NET_ADMIN in the host's network namespace/,
    ],
    [
      'rights to make links',
      ({ args }) => (args.includes('-batch') ? refusedLinks(notPermitted) : undefined),
      /^a dummy link \| .* \| run as root/,
    ],
    [
      'the dummy module',
      ({ args }) =>
        args.includes('-batch') ? refusedLinks('Error: Unknown device type.') : undefined,
      /^a dummy link \| Error: Unknown device type\. \| load the kernel module dummy \(modprobe dummy\)$/,
    ],
    [
      'another link of the name',
      ({ args }) =>
        args.includes('show') ? { stdout: '5: kube-ipvs0: <UP> mtu 1500 \\ bridge' } : undefined,
      /^the dummy link kube-ipvs0 \| there is a link of this name that is none \| ip link del kube-ipvs0$/,
    ],
    [
      'a type of sets',
      ({ input }) =>
        input.includes('hash:ip,port,net ')
          ? { exitCode: 1, stderr: 'ipset v7.17: Kernel error received: set type not supported\n' }
          : undefined,
      /^ipset's type hash:ip,port,net \| .*not supported \| load the kernel modules ip_set and ip_set_hash_ipportnet$/,
    ],
    [
      'the scheduler',
      ({ input }) => (input.includes('-A') ? { exitCode: 255, stderr: noScheduler } : undefined),
      /^scheduler rr \| Scheduler or persistence engine not found \| load the kernel module ip_vs_rr \(modprobe ip_vs_rr\), /,
    ],
  ])('%s', async (_, answer, expected) => {
    const found = await look(machine(answer));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(expected);
  });

  it('all of it at once, in one error', async () => {
    const missing = await missingForIpvs(
      { tools: machine(() => 'missing'), scheduler: rr },
      signal,
    );
    expect(() => {
      refuseMissing(missing);
    }).toThrow(
      expect.objectContaining({
        code: 'missing',
        retryable: false,
        message: expect.stringMatching(/^mode ipvs cannot be used: .*ipvsadm.*ipset.*the tool ip:/),
        hint: expect.stringMatching(/ipvsadm.*ipset.*iproute2/),
      }),
    );
    expect(() => {
      refuseMissing([]);
    }).not.toThrow();
  });

  it('and what passes is no missing thing', async () => {
    const busy = new SwitchyardError('timeout', 'ipset did not end', { retryable: true });
    const tools = machine(({ tool }) => (tool === 'ipset' ? busy : undefined));
    await expect(look(tools)).rejects.toBe(busy);
  });
});

describe('ip_vs that is not loaded', () => {
  it('is loaded where ipvsadm could not, but modprobe can', async () => {
    let loaded = false;
    const tools = machine(({ tool }) => {
      if (tool === 'modprobe') loaded = true;
      return tool === 'ipvsadm' && !loaded ? { exitCode: 2, stderr: notBuiltIn } : undefined;
    });
    expect(await look(tools)).toEqual([]);
    expect(commands(tools, 'modprobe')).toEqual(['ip_vs']);
  });
});

describe('a scheduler', () => {
  const mh = { scheduler: 'mh', flags: ['mh-fallback', 'mh-port'] };

  it('is tried with its flags when it is first met, and not again, whoever asks', async () => {
    const tools = machine();
    const schedulers = new Schedulers(tools, new VirtualClock());
    await Promise.all([schedulers.ready([mh, mh], signal), schedulers.ready([mh], signal)]);
    await schedulers.ready([mh], signal);
    expect(schedulers.problem(mh)).toBeUndefined();
    expect(commands(tools, 'ipvsadm')).toEqual([tried('mh -b mh-fallback,mh-port')]);
  });

  it('that is not there is tried again after five minutes, whatever is asked for then', async () => {
    let loaded = false;
    const tools = machine(() => (loaded ? undefined : { exitCode: 2, stderr: 'not found' }));
    const clock = new VirtualClock();
    const schedulers = new Schedulers(tools, clock);
    await schedulers.ready([mh], signal);
    expect(schedulers.problem(mh)).toMatchObject({
      name: 'scheduler mh mh-fallback mh-port',
      cure: expect.stringContaining('modprobe ip_vs_mh'),
    });
    loaded = true;
    await clock.advance(299_999);
    await schedulers.ready([mh], signal);
    expect(schedulers.problem(mh)).toMatchObject({ reason: 'not found' });
    const { version } = schedulers;
    await clock.advance(1);
    await schedulers.ready([], signal);
    expect(schedulers.problem(mh)).toBeUndefined();
    expect(schedulers.version).not.toBe(version);
  });

  it('at which the tool fails is one that cannot be used', async () => {
    const tools = machine(() => new SwitchyardError('tool', 'ipvsadm was ended by SIGSEGV'));
    const schedulers = new Schedulers(tools, new VirtualClock());
    await schedulers.ready([mh], signal);
    expect(schedulers.problem(mh)).toMatchObject({ reason: 'ipvsadm was ended by SIGSEGV' });
  });

  it('needs ipvs of IPv6 there', async () => {
    const stderr = 'Operation not supported with IPv6';
    const tools = machine(({ input }) =>
      input.includes('[2001:db8::]:20000') ? { exitCode: 2, stderr } : undefined,
    );
    expect(await ipv6Problem(tools, signal)).toMatchObject({
      reason: stderr,
      cure: expect.stringContaining('CONFIG_IP_VS_IPV6'),
    });
    expect(await ipv6Problem(machine(), signal)).toBeUndefined();
  });
});

const lacking = (name: string, instead: string | undefined) => ({
  name,
  reason: 'r',
  instead,
  cure: 'c',
});

describe('of the features of iptables', () => {
  const features = {
    hairpin: 'bpf',
    affinity: 'recent',
    randomFully: false,
    comments: 'auto',
  } as const;
  it('those that ipvs does itself are not missed', () => {
    const missing = [
      lacking('match statistic', undefined),
      lacking('target SET', 'x'),
      lacking('match recent', 'x'),
    ];
    expect(ipvsRuleFeatures({ features, missing })).toEqual({
      features: { hairpin: 'bpf', randomFully: false },
      missing: [],
      warnings: [],
    });
  });

  it('sets are needed, and what has a stand-in is told', () => {
    const missing = [
      lacking('match set', 'x'),
      lacking('target REJECT', undefined),
      lacking('match bpf', 'sets'),
    ];
    const found = ipvsRuleFeatures({ features: { ...features, hairpin: 'ipset' }, missing });
    expect(found.missing.map(({ name }) => name)).toEqual(['match set', 'target REJECT']);
    expect(found.warnings).toEqual(['match bpf is missing (r); sets; c']);
    expect(found.features.hairpin).toBe('ipset');
  });
});
