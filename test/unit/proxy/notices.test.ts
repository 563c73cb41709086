import { describe, expect, it } from 'vitest';
import { Notices } from '../../../src/proxy/notices.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { rawService, Scene } from '../../support/scene.ts';

const report = {
  rulesWritten: {},
  rulesTotal: {},
  full: true,
  unprogrammed: [],
  refusedWrites: { full: 0, partial: 0 },
  failure: undefined,
};
const claiming = (name: string, clusterIP: string, spec: object = {}) =>
  rawService({ clusterIP, externalIPs: ['203.0.113.9'], ...spec }, { metadata: { name } });

function listen(): { readonly notices: Notices; readonly lines: readonly string[] } {
  const lines: string[] = [];
  const say = (level: string) => (fields: object, text: string) => {
    const { service, reason } = fields as { service?: string; reason?: string };
    lines.push([level, text, service, reason].filter((part) => part !== undefined).join(': '));
  };
  const log = { ...silentLog, debug: say('debug'), info: say('info'), warn: say('warn') };
  return { notices: new Notices(log, 'ipv4'), lines };
}

describe('an operator is told', () => {
  it('of a conflict once, with what decided it, and when it is over', () => {
    const { notices, lines } = listen();
    const both = new Scene([claiming('a', '10.96.0.1'), claiming('b', '10.96.0.2')]).graph;
    for (const graph of [both, both, new Scene([claiming('b', '10.96.0.2')]).graph])
      notices.synced(graph, report, true);
    const conflict =
      'ns1/b:http wants 203.0.113.9/TCP/80, which ns1/a:http holds: the age of both is unknown, and its name comes first';
    expect(lines.filter((line) => !line.startsWith('debug'))).toEqual([
      `warn: ${conflict}`,
      `info: no longer: ${conflict}`,
    ]);
  });

  it('why a Service has no rules, loudly where it is a fault', () => {
    const { notices, lines } = listen();
    const services = [
      claiming('a', '10.96.0.1', { type: 'ExternalName' }),
      claiming('b', '10.96.0'),
      claiming('c', '10.96.0.3'),
    ];
    notices.taken(new Scene(services).changes);
    expect(lines).toEqual([
      'warn: object not used as it stands: clusterIP "10.96.0" is not an IP address',
      'debug: Service without rules here: ns1/a: type ExternalName has no cluster IP to serve',
      'debug: Service without rules here: ns1/b: clusterIP "10.96.0" is not an IP address',
    ]);
  });
});
