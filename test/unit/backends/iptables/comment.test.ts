import { expect, it } from 'vitest';
import { lowerAll } from '../../../../src/backends/iptables/lower.ts';
import { renderRestore } from '../../../../src/backends/iptables/render.ts';
import { defaultFeatures } from '../../../../src/backends/iptables/state.ts';
import { comment } from '../../../../src/backends/iptables/static-rules.ts';
import { compileAll } from '../../../../src/graph/compile.ts';
import type { ServiceName } from '../../../../src/services/service-port.ts';
import { byKey, endpoint, nodeContext, servicePort } from '../../../support/service-ports.ts';

const port = (service: string) =>
  servicePort({
    service: service as ServiceName,
    nodePort: 30_080,
    healthCheckNodePort: 32_000,
    endpoints: [endpoint('10.244.1.5:8080'), endpoint('10.244.1.6:8080')],
  });

it.each([
  ['default/web:http cluster IP', 'default/web:http cluster IP'],
  ['a "quoted" name', 'a ?quoted? name'],
  [String.raw`a\b`, 'a?b'],
  ['two\nlines\r\0', 'two?lines??'],
  ['\u0085\u2028ü', '???'],
  ['x'.repeat(300), 'x'.repeat(255)],
])('the comment %j is written as %j', (text, written) => {
  expect(comment(text)).toBe(`-m comment --comment "${written}"`);
});

it('a name with quotes and lines of its own adds no rule', () => {
  const [evil, good] = ['default/x" -j REJECT\n-A INPUT -j ACCEPT -m comment --comment "y', 'a/b']
    .map((service) => compileAll(byKey([port(service)]), nodeContext()))
    .map((graph) =>
      renderRestore(
        lowerAll(graph, {
          features: defaultFeatures,
          masqueradeMark: 0x4000,
          localhostNodePorts: true,
          conntrackBeLiberal: false,
        }),
      ),
    )
    .map((text) => text.split('\n'));
  expect(evil?.length).toBe(good?.length);
  expect(evil?.filter((line) => line.startsWith('-A INPUT'))).toEqual([]);
});
