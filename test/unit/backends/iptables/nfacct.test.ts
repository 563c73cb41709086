/** Its one job: packets are counted in kube-proxy's nfacct objects where these can be had, and nowhere else. */
import { describe, expect, it } from 'vitest';
import { NfacctCleanup } from '../../../../src/backends/iptables/nfacct-cleanup.ts';
import { arePrintsOf } from '../../../../src/backends/iptables/printed-rules.ts';
import { defaultFeatures } from '../../../../src/backends/iptables/state.ts';
import type { LoweringOptions } from '../../../../src/backends/iptables/state.ts';
import {
  forwardRules,
  markTargets,
  postroutingRules,
  staticRule,
} from '../../../../src/backends/iptables/static-rules.ts';
import { SwitchyardError } from '../../../../src/error.ts';
import { makeCountingObject, readCountedPackets } from '../../../../src/host/nfacct.ts';
import { packetReader } from '../../../../src/proxy/kernel-measures.ts';
import { FakeToolRunner } from '../../../support/fake-tool-runner.ts';
import type { Answer } from '../../../support/fake-tool-runner.ts';
import { chain } from '../../../support/iptables-states.ts';

const { signal } = new AbortController();
const invalid = 'ct_state_invalid_dropped_pkts';
const local = 'localhost_nps_accepted_pkts';

describe('rules that count packets', () => {
  const options: LoweringOptions = {
    features: { ...defaultFeatures, nfacct: true },
    masqueradeMark: 0x4000,
    localhostNodePorts: true,
    conntrackBeLiberal: false,
  };
  const marks = markTargets(options.masqueradeMark);
  const texts = (some: Partial<LoweringOptions>): readonly string[] => {
    const all = { ...options, ...some };
    return [...forwardRules(marks, all, []), ...postroutingRules(marks, all, [])].map(
      ({ args }) => args,
    );
  };
  const counting = (some: Partial<LoweringOptions>): readonly string[] =>
    texts(some).filter((args) => args.includes('nfacct'));

  const dropped = `-m conntrack --ctstate INVALID -m nfacct --nfacct-name ${invalid} -j DROP`;
  const accepted = `-m conntrack --ctstate DNAT --ctorigdst 127.0.0.0/8 -m nfacct --nfacct-name ${local}`;

  it('are the drop of invalid packets, and one for node ports at loopback that decides nothing', () => {
    expect(counting({})).toEqual([dropped, accepted]);
    const all = texts({});
    expect(all.indexOf(accepted)).toBe(all.findIndex((args) => args.endsWith('-j RETURN')) + 1);
  });

  it('are known for ours as the tools print them', () => {
    const printed = dropped.replace('-name ', '-name  ');
    const forward = chain('KUBE-FORWARD', 'root', staticRule(dropped));
    expect(arePrintsOf(forward, [printed])).toBe(true);
    expect(arePrintsOf(forward, [printed.replace('-j DROP', '-j ACCEPT')])).toBe(false);
  });

  it('are left out where there is nothing to count', () => {
    expect(counting({ localhostNodePorts: false })).toEqual([dropped]);
    expect(counting({ conntrackBeLiberal: true })).toEqual([accepted]);
    expect(counting({ features: defaultFeatures })).toEqual([]);
    expect(texts({ features: defaultFeatures })).toContain(
      '-m conntrack --ctstate INVALID -j DROP',
    );
  });
});

const tools = (answer: (...args: readonly string[]) => Answer): FakeToolRunner =>
  new FakeToolRunner(({ args }) => answer(...args));

describe('nfacct objects', () => {
  it('are made, or are there already, or cannot be', async () => {
    const busy = { exitCode: 1, stderr: 'nfacct v1.0.2: error: Device or resource busy' };
    const exists = tools((what) => (what === 'add' ? busy : { stdout: '{ pkts = 5, bytes = 9 }' }));
    const refused = tools(() => ({
      exitCode: 1,
      stderr: 'nfacct v1.0.2: error: Protocol not supported',
    }));
    expect(
      await makeCountingObject(
        tools(() => undefined),
        invalid,
        signal,
      ),
    ).toBeUndefined();
    expect(await makeCountingObject(exists, invalid, signal)).toBeUndefined();
    expect(await makeCountingObject(refused, invalid, signal)).toContain('not supported');
    expect(
      await makeCountingObject(
        tools(() => 'missing'),
        invalid,
        signal,
      ),
    ).toContain('nfacct');
  });

  it('keep no rule waiting where the tool hangs', async () => {
    const hangs = new SwitchyardError('timeout', 'nfacct did not end', { retryable: true });
    const made = makeCountingObject(
      tools(() => hangs),
      invalid,
      signal,
    );
    expect(await made).toBe('nfacct did not end');
  });

  it('are read as the tool prints them', async () => {
    const stdout = `{ pkts = 00000000000000000042, bytes = 00000000000000002520 } = ${invalid};\n`;
    expect(
      await readCountedPackets(
        tools(() => ({ stdout })),
        invalid,
        signal,
      ),
    ).toBe(42);
    const none = tools(() => ({ exitCode: 1, stderr: 'No such file or directory' }));
    expect(await readCountedPackets(none, invalid, signal)).toBeUndefined();
  });

  it('have no value where they cannot be read, and a tool that is not there is not asked for again', async () => {
    const missing = tools(() => 'missing');
    const read = packetReader(missing);
    expect([await read(invalid), await read(local)]).toEqual([undefined, undefined]);
    expect(missing.runs).toHaveLength(1);
  });

  it('are read once for all who ask meanwhile, and anew for who asks after that', async () => {
    let packets = 0;
    const kernel = tools(() => ({ stdout: `{ pkts = ${++packets}, bytes = 2 }` }));
    const read = packetReader(kernel);
    expect(await Promise.all([read(invalid), read(invalid), read(local)])).toEqual([1, 1, 2]);
    expect(await read(invalid)).toBe(3);
  });

  it('are removed by the clean-up, once no rule uses them', async () => {
    const there = new Set<string>([invalid]);
    let inUse = true;
    const kernel = tools((what = '', name = '') => {
      if (what === 'get')
        return there.has(name) ? { stdout: '{ pkts = 1, bytes = 2 }' } : { exitCode: 1 };
      if (what === 'del' && inUse) return { exitCode: 1, stderr: 'Device or resource busy' };
      if (what === 'del') there.delete(name);
      return undefined;
    });
    const cleanup = new NfacctCleanup(kernel);
    expect((await cleanup.look(signal)).removes).toEqual([`nfacct object ${invalid}`]);
    expect(await cleanup.remove(signal)).toEqual([`still there: nfacct object ${invalid}`]);
    inUse = false;
    expect(await cleanup.remove(signal)).toEqual([]);
    expect((await cleanup.look(signal)).removes).toEqual([]);
    expect((await new NfacctCleanup(tools(() => 'missing')).look(signal)).removes).toEqual([]);
  });
});
