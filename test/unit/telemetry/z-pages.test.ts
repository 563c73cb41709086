// Pages for people: when it began, and with which flags.
import { expect, it } from 'vitest';
import { flagLines } from '../../../src/config/flag-lines.ts';
import { parseFlags } from '../../../src/config/parse-flags.ts';
import { proxyFlags } from '../../../src/config/proxy-flags.ts';
import { flagzPage, statuszPage } from '../../../src/telemetry/z-pages.ts';

it('/statusz tells for how long it has run', () => {
  const startedMs = Date.UTC(2026, 0, 2, 3, 4, 5);
  const facts = { startedMs, version: '1.2.3', mode: 'ipvs', paths: ['/configz', '/metrics'] };
  const lines = statuszPage({ ...facts, upMs: 93_784_999 }).split('\n');
  expect(lines.slice(0, 2)).toEqual(['', 'kube-proxy statusz']);
  expect(lines.slice(4)).toEqual([
    'Started: Fri, 02 Jan 2026 03:04:05 GMT',
    'Up: 26 hr 03 min 04 sec',
    `Node.js version: ${process.version}`,
    'Binary version: 1.2.3',
    'Mode: ipvs',
    'Paths: /configz /metrics',
    '',
  ]);
});

it('/flagz has every flag with what was said or the default, by name', () => {
  const { flags } = parseFlags(proxyFlags, ['--config-sync-period=90s', '--v=3']);
  const lines = flagLines(proxyFlags, flags);
  expect(lines).toEqual(lines.toSorted());
  expect(lines).toEqual(
    expect.arrayContaining([
      'cleanup=false',
      'config-sync-period=1m30s',
      'kubeconfig=',
      'nodeport-addresses=',
      'oom-score-adj=-999',
      'v=3',
    ]),
  );
  expect(flagzPage(lines)).toContain('\nconfig-sync-period=1m30s\n');
});

it('/flagz keeps passwords and queries of URLs to itself', () => {
  const given = [
    '--source=https://me:se@cret@x.example/a@b?token=se@cret',
    '--master=http://token@10.0.0.1:8080',
  ];
  const lines = flagLines(proxyFlags, parseFlags(proxyFlags, given).flags);
  expect(lines).toContain('source=https://…@x.example/a@b?…');
  expect(lines).toContain('master=http://…@10.0.0.1:8080');
});
