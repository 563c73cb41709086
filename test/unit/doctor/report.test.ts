/** What doctor makes of its findings: the report for people and for scripts, verdicts, exit status, and checks that fail. */
import { describe, expect, it } from 'vitest';
import { isChosen, registered, runChecks } from '../../../src/doctor/check.ts';
import type { AnyCheck } from '../../../src/doctor/check.ts';
import { failure, ok, skipped, warning } from '../../../src/doctor/finding.ts';
import type { Finding } from '../../../src/doctor/finding.ts';
import { checks } from '../../../src/doctor/registry.ts';
import { reportText } from '../../../src/doctor/report-text.ts';
import { exitStatus, reportJson, reportOf } from '../../../src/doctor/report.ts';
import { SwitchyardError } from '../../../src/error.ts';
import { findingsOf, healthyValues, readingsOf, subjectOf } from '../../support/healthy-node.ts';

const subject = subjectOf();
const findings: readonly Finding[] = [
  ok('kernel.version', 'Linux 6.12.30'),
  failure('tool.ipvsadm', 'ipvsadm is not here', 'install ipvsadm', ['ipvs']),
  warning('lock.holder', 'process 7 (portmap) holds it', 'look', ['iptables', 'ipvs', 'userspace']),
  skipped('clock.api', 'no API server to compare with'),
];

describe('the report', () => {
  it('tells people of their mode, and what another one would lack', () => {
    const text = reportText(reportOf(findings, subject), { quiet: false });
    expect(text).toBe(`switchyard doctor: node node-a, mode iptables

✓ kernel.version  Linux 6.12.30
! lock.holder     process 7 (portmap) holds it
                  → look
– clock.api       no API server to compare with

could run here:
! iptables: yes; see lock.holder
✗ ipvs: no: tool.ipvsadm
    ✗ tool.ipvsadm  ipvsadm is not here
                    → install ipvsadm
! userspace: yes; see lock.holder
✓ userspace, --userspace-portals=none: yes

0 failures, 1 warning, 1 as they should be, 1 not looked at
`);
  });

  it('of some checks gives no verdict', () => {
    const report = reportOf(findings, subject, { isPartial: true });
    expect(reportText(report, { quiet: true })).toBe(`switchyard doctor: node node-a, mode iptables

! lock.holder  process 7 (portmap) holds it
               → look

0 failures, 1 warning, 1 as they should be, 1 not looked at
`);
    expect(JSON.parse(reportJson(report, '1.2.3'))).toMatchObject({ modes: [], status: 'warning' });
  });

  it('leaves out for those in a hurry what is well', () => {
    const text = reportText(reportOf(findings, subject), { quiet: true });
    expect(text).toContain('! lock.holder  process 7');
    expect(text).not.toContain('Linux 6.12.30');
  });

  it('is JSON of a shape that scripts can rely on', () => {
    expect(JSON.parse(reportJson(reportOf(findings, subject), '1.2.3'))).toEqual({
      version: 1,
      switchyard: '1.2.3',
      node: 'node-a',
      mode: 'iptables',
      status: 'warning',
      checks: [
        { id: 'kernel.version', status: 'ok', text: 'Linux 6.12.30' },
        {
          id: 'lock.holder',
          status: 'warning',
          text: 'process 7 (portmap) holds it',
          cure: 'look',
        },
        { id: 'clock.api', status: 'skipped', text: 'no API server to compare with' },
      ],
      modes: [
        {
          mode: 'iptables',
          status: 'warning',
          problems: [expect.objectContaining({ id: 'lock.holder' })],
        },
        {
          mode: 'ipvs',
          status: 'failure',
          problems: [
            {
              id: 'tool.ipvsadm',
              status: 'failure',
              text: 'ipvsadm is not here',
              cure: 'install ipvsadm',
            },
            expect.objectContaining({ id: 'lock.holder' }),
          ],
        },
        { mode: 'userspace', status: 'warning', problems: [expect.anything()] },
        { mode: 'userspace-without-portals', status: 'ok', problems: [] },
      ],
    });
  });

  it.each([
    [[], false, 0],
    [['warning'], false, 0],
    [['warning'], true, 1],
    [['failure'], false, 1],
    [['failure of another mode'], true, 0],
  ] as const)('with %j and strict %s has the exit status %d', (list, strict, status) => {
    const made = list.map((kind) =>
      kind === 'warning'
        ? warning('a.b', 'x', 'y')
        : failure('a.b', 'x', 'y', kind === 'failure' ? undefined : ['ipvs']),
    );
    expect(exitStatus(reportOf([ok('a.a', 'x'), ...made], subject), strict)).toBe(status);
  });

  it('never moves a terminal’s cursor', () => {
    expect(warning('a.b', 'one\ntwo\u001B[2J', 'three\r').text).toBe('one two [2J');
  });
});

const never = async (): Promise<void> => new Promise<void>(() => {});

describe('checks', () => {
  it('that fail are warnings with their name, and stop no other', async () => {
    const broken: AnyCheck[] = [
      registered({
        id: 'unreadable',
        read: async () => {
          throw new SwitchyardError('tool', 'no such thing', { hint: 'make one' });
        },
        judge: () => [],
      }),
      registered({
        id: 'buggy',
        read: async () => undefined,
        judge: () => {
          throw new TypeError('undefined is not a function');
        },
      }),
    ];
    const found = await runChecks([...broken, ...checks], readingsOf(), subject, never);
    expect(found.slice(0, 2)).toEqual([
      warning('unreadable', 'the check unreadable failed: no such thing', 'make one'),
      expect.objectContaining({
        id: 'buggy',
        status: 'warning',
        text: expect.stringContaining('not a function'),
      }),
    ]);
    expect(found.length).toBe(2 + (await findingsOf()).length);
  });

  it('that take too long are given up, and named', async () => {
    const hanging = registered({ id: 'slow', read: async () => never(), judge: () => [] });
    const found = await runChecks([hanging], readingsOf(), subject, async () => {});
    expect(found).toEqual([
      expect.objectContaining({
        id: 'slow',
        status: 'warning',
        text: 'the check slow failed: it took too long',
      }),
    ]);
  });

  it.each(Object.keys(healthyValues))('go on where the reading %s fails', async (name) => {
    const found = await findingsOf({ [name]: new Error('broken for the test') });
    const failed = found.filter(({ text }) => text.includes('broken for the test'));
    expect(failed.length).toBeGreaterThan(0);
    const asked = new Set(failed.map(({ id }) => id));
    const rest = checks.filter(({ id }) => !asked.has(id));
    for (const { id } of rest) expect(found.some((each) => isChosen(each.id, [id]))).toBe(true);
  });

  it('are chosen by id, or by the first words of it', () => {
    expect(isChosen('sysctl.net.ipv4.ip_forward', ['sysctl'])).toBe(true);
    expect(isChosen('sysctl.net.ipv4.ip_forward', ['sysctl.net.ipv4'])).toBe(true);
    expect(isChosen('sysctl.net.ipv4.ip_forward', ['sys'])).toBe(false);
    expect(isChosen('sysctl.net.ipv4.ip_forward', [])).toBe(true);
  });
});

/** Scripts choose by these: what is added here may be looked for, what is gone may be missed. */
describe('the ids of a healthy node', () => {
  it('stay the same', async () => {
    const ids = (await findingsOf()).map(({ id }) => id);
    expect(ids).toMatchInlineSnapshot(`
      [
        "privileges.rights",
        "privileges.network",
        "privileges.sysctls",
        "kernel.version",
        "kernel.tables",
        "kernel.rules",
        "kernel.statistic",
        "kernel.hairpin",
        "kernel.sets",
        "kernel.ipvs",
        "kernel.conntrack-netlink",
        "tool.iptables",
        "tool.ip6tables",
        "tool.ip",
        "tool.ipset",
        "tool.ipvsadm",
        "tool.conntrack",
        "tool.modprobe",
        "tool.nfacct",
        "feature.iptables.ipv4",
        "feature.ipvs.ipv4",
        "feature.userspace.ipv4",
        "feature.iptables.ipv6",
        "feature.ipvs.ipv6",
        "feature.userspace.ipv6",
        "feature.ipvs.kernel",
        "variant.choice",
        "variant.other",
        "lock.holder",
        "lock.file",
        "sysctl.net.ipv4.ip_forward",
        "sysctl.net.ipv4.conf.all.route_localnet",
        "sysctl.net.ipv4.conf.all.rp_filter",
        "sysctl.net.bridge.bridge-nf-call-iptables",
        "sysctl.net.ipv4.ip_local_port_range",
        "sysctl.ipvs",
        "conntrack.use",
        "conntrack.limit",
        "conntrack.hashsize",
        "forward.ipv4",
        "forward.ipv6",
        "forward.nft",
        "writer.switchyard",
        "writer.kube-proxy",
        "writer.ipvs",
        "port.healthz",
        "port.metrics",
        "credentials.kind",
        "credentials.client-certificate",
        "api.server",
        "api.services",
        "api.endpointslices",
        "api.nodes",
        "api.all-nodes",
        "api.servicecidrs",
        "api.events",
        "clock.api",
        "node.name",
        "node.pods",
        "resource.memory",
        "resource.files",
      ]
    `);
  });
});
