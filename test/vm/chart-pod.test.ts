// The chart's pod in ipvs mode, as its DaemonSet is rendered: its first container prepares the node with privileges, its second one
// serves with NET_ADMIN and NET_RAW alone, over a file system and kernel settings that are read-only.
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { nodeObject, service, slices } from '../kernel/contract-objects.ts';
import { program } from '../support/agent-process.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab, eventually } from '../support/node-lab.ts';
import type { Container, DaemonSet } from '../support/pod-form.ts';
import { containerScript } from '../support/pod-process.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;
const rendered = join(import.meta.dirname, '../unit/chart/rendered/ipvs-watched.yaml');
const complaint = /"level":"?(?:40|50|60|warn|error)/;
const settings = ['net/ipv4/conf/all/arp_ignore', 'net/ipv4/vs/conntrack'] as const;

/** What V8 has compiled outside of the guest would be compiled again by an agent that knows nothing of it. */
const cache = process.env['NODE_COMPILE_CACHE'];
const compiled = cache === undefined ? [] : ['env', `NODE_COMPILE_CACHE=${cache}`];

interface Rendered {
  readonly kind: string;
  readonly data?: Readonly<Record<string, string>>;
}

describe.skipIf(!inGuest)("the chart's pod in ipvs mode (needs IPVS in the kernel)", () => {
  let lab: NodeLab;
  let pod: DaemonSet['spec']['template']['spec'];
  let config: string;

  beforeAll(async () => {
    lab = await NodeLab.create('nft');
    await lab.write('node', nodeObject());
    await lab.write(
      'web',
      service('web', { host: 10, type: 'NodePort', nodePort: 30_010 }),
      ...slices('web', ['pod-a', 'pod-b']),
    );
    const objects = parseAllDocuments(await readFile(rendered, 'utf8')).map(
      (each) => each.toJS() as Rendered | null,
    );
    const named = (kind: string, key?: string) =>
      objects.find((each) => each?.kind === kind && (key === undefined || each.data?.[key]));
    pod = (named('DaemonSet') as unknown as DaemonSet).spec.template.spec;
    config = named('ConfigMap', 'config.yaml')?.data?.['config.yaml'] ?? '';
  });

  afterAll(async () => {
    await lab.close();
  });

  /** Objects come from manifests: the guest has no API server. */
  async function start(container: Container | undefined): Promise<AgentProcess> {
    if (container === undefined) throw new Error('there is no such container');
    const [run, folder, token] = ['run', 'config', 'token'].map((name) => join(lab.folder, name));
    for (const each of [run, folder, token]) await mkdir(each ?? '', { recursive: true });
    await writeFile(join(folder ?? '', 'config.yaml'), config);
    await appendFile(join(lab.folder, 'xtables.lock'), '', { mode: 0o600 });
    const args = [...(container.args ?? []), `--source=file:${lab.manifests}`];
    const script = containerScript(
      { ...container, args },
      {
        volumes: {
          config: folder ?? '',
          run: run ?? '',
          'xtables-lock': join(lab.folder, 'xtables.lock'),
        },
        serviceAccount: token ?? '',
        fields: { 'spec.nodeName': 'node-a' },
        entryPoint: [...compiled, process.execPath, program],
      },
    );
    // By its priority class a kubelet has the kernel spare it.
    const spared = ['choom', '-n', '-997', '--'];
    return lab.startClusterAgent([], [...spared, 'unshare', '--mount', 'sh', '-ec', script]);
  }

  test('prepares the node, with privileges and to its end', async () => {
    const init = await start(pod.initContainers[0]);
    expect(await init.ended(), init.log).toBe(0);
    expect(init.log).not.toMatch(complaint);
    expect(await Promise.all(settings.map(async (key) => lab.setting(key)))).toEqual(['1', '1']);
  });

  test('serves, without privileges and without a complaint', async () => {
    expect(config).toContain('mode: ipvs');
    const agent = await start(pod.containers[0]);
    try {
      // What an earlier one has left may answer before this one is there.
      await eventually(
        async () => Promise.resolve(agent.log),
        (log) => log.includes('"started"'),
        120_000,
      );
      for (const to of [
        { to: '10.96.0.10', port: 80 },
        { to: 'fd00:10:96::10', port: 80 },
      ]) {
        const seen = await eventually(
          async () => lab.probe('client', { ...to, timeoutMs: 500 }),
          (answer) => typeof answer !== 'string',
          120_000,
        ).catch((error: unknown) => {
          throw new Error(`${String(error)}\n${agent.log}`);
        });
        expect(seen).toMatchObject({ answeredBy: expect.stringMatching(/^pod-[ab]$/) as string });
      }
      expect(await lab.onNode('ipvsadm', '-Ln')).toContain('10.96.0.10:80 wlc');
      // A guest that stands still is no fault of the pod.
      const lines = agent.log.split('\n').filter((line) => !line.includes('stood still'));
      expect(lines.join('\n')).not.toMatch(complaint);
      const status = await readFile(`/proc/${agent.pid}/status`, 'utf8');
      expect(/^CapBnd:\s+(\w+)/m.exec(status)?.[1]).toBe('0000000000003000');
    } finally {
      await agent.stop();
    }
  });
});
