import { describe, expect, it } from 'vitest';
import { runCommand } from '../../support/command-run.ts';

const cidrs = '--cluster-cidr=10.244.0.0/16,fd00:10:244::/56';
const manifests = `
apiVersion: v1
kind: Node
metadata: {name: node-a}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: six}
spec: {clusterIP: 'fd00:10:96::6', ipFamilies: [IPv6], ports: [{name: http, port: 80}]}
`;

async function explain(...argv: readonly string[]) {
  const words = ['node', 'switchyard', 'explain', ...argv, '-f', '-', cidrs];
  return runCommand(words, { stdin: manifests });
}

describe('explain by name', () => {
  it.each([
    ['IPv4 where the Service has it', ['pod', 'web:http'], '→ 10.96.0.10:80/TCP'],
    ['IPv6 where the Service has nothing else', ['pod', 'six:80'], '→ [fd00:10:96::6]:80/TCP'],
    ['the family of an address', ['fd00:10:244::5', 'six:80'], '→ [fd00:10:96::6]:80/TCP'],
  ])('looks at %s', async (_, argv, expected) => {
    const { status, stdout } = await explain(...argv);
    expect(status).toBe(0);
    expect(stdout).toContain(expected);
  });

  it.each([
    [
      ['pod', '10.96.0.10:80', '--ip-family=ipv6'],
      'error: --ip-family=ipv6: 10.96.0.10 is an address of IPv4\nhint: leave --ip-family out',
    ],
    [
      ['pod', 'web:80/udp'],
      'error: Service default/web has no port 80/UDP\nhint: it has: default/web:http = 80/TCP',
    ],
    [['pod', 'web:81'], 'error: Service default/web has no port 81\n'],
    [['pod', 'web:http', '--ip-family=ipv6'], 'error: '],
  ])('refuses %j with status 2', async (argv, expected) => {
    const { status, stdout, stderr } = await explain(...argv);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain(expected);
    expect(stderr).toContain('hint: ');
  });
});
