import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { describe, expect, test } from 'vitest';
import { syncedFamilies } from '../../../src/cli/demo/agent.ts';
import { ShopManifests, findExamples } from '../../../src/cli/demo/shop.ts';
import { Story, barChart, tally } from '../../../src/cli/demo/story.ts';
import { missingForDemo } from '../../../src/cli/demo.ts';
import { leftoverNames } from '../../../src/host/namespaces.ts';

describe('the demo says what is missing, and the cure', () => {
  test.each([
    [{ platform: 'linux', uid: 0, tools: [] }, []],
    [
      { platform: 'linux', uid: 1000, tools: [] },
      [
        {
          what: 'network namespaces need root',
          cure: expect.stringMatching(/^run it as root: .*unshare -Urnm/),
        },
      ],
    ],
    [
      { platform: 'linux', uid: 0, tools: ['ip'] },
      [
        {
          what: 'the program ip is not on this machine',
          cure: 'install it: apt-get install iproute2, or dnf install iproute',
        },
      ],
    ],
    [
      { platform: 'darwin', uid: 501, tools: [] },
      [
        {
          what: 'it needs Linux, and this is darwin',
          cure: 'run it on Linux, in a virtual machine for example',
        },
      ],
    ],
  ])('%j', (machine, expected) => {
    expect(missingForDemo(machine)).toEqual(expected);
  });
});

describe('the story', () => {
  test('bars show each share, and never lose a pod that answered once', () => {
    const lines = barChart([
      ['web-1', 99],
      ['api-12', 1],
    ]);
    expect(lines).toEqual([`web-1   ${'█'.repeat(40)} 99 (99 %)`, 'api-12  █ 1 (1 %)']);
  });

  test('answers are counted by pod, failures apart', () => {
    const answer = { answeredBy: 'web-2', sourceSeen: '192.0.2.10' };
    const { byPod, failed } = tally([answer, 'refused', answer, 'timeout']);
    expect([...byPod]).toEqual([['web-2', 2]]);
    expect(failed).toBe(2);
  });

  test('a result that does not hold is a problem, with what was seen instead', () => {
    const printed: string[] = [];
    const story = new Story((text) => printed.push(text), false);
    story.check(true, 'it works', '');
    story.check(false, 'nobody fails', '3 failed');
    expect(story.problems).toEqual(['nobody fails: 3 failed']);
    expect(printed.join('')).toBe('   ✓ it works\n   ✗ nobody fails: 3 failed\n');
  });
});

test('both families are synced once their time stamps are set', () => {
  const name = 'kubeproxy_sync_proxy_rules_last_timestamp_seconds';
  const metrics = `${name}{ip_family="IPv4"} 1.7e+09\n${name}{ip_family="IPv6"} 0\n`;
  expect(syncedFamilies(metrics)).toEqual(['IPv4']);
});

test('scaling rewrites the slices of both families and nothing else', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-shop-'));
  try {
    const examples = await findExamples(import.meta.dirname);
    await cp(examples ?? '', join(folder, 'from'), { recursive: true });
    const manifests = await ShopManifests.copy(join(folder, 'from'), join(folder, 'to'));
    await manifests.scale('web', ['web-4']);
    const text = await readFile(join(folder, 'to', 'web.yaml'), 'utf8');
    const [service, ...slices] = parseAllDocuments(text).map((document) => document.toJS());
    expect(service).toMatchObject({ kind: 'Service', spec: { clusterIP: '10.96.0.10' } });
    expect(slices.map(({ endpoints }) => endpoints[0].addresses)).toEqual([
      ['10.244.0.14'],
      ['fd00:10:244::14'],
    ]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('only namespaces of the own prefix whose owner is gone are left over', () => {
  const names = ['swy-1-node', 'swy-2-pod-a', 'swydemo-2-node', 'other', 'swy-x-node', 'swy-2'];
  expect(leftoverNames(names, 'swy', (pid) => pid === 1)).toEqual(['swy-2-pod-a']);
});
