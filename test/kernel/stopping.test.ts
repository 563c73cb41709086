import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AgentProcess } from '../support/agent-process.ts';
import { NodeLab, eventually } from '../support/node-lab.ts';
import { nodeObject, service, slices } from './contract-objects.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
const program = join(import.meta.dirname, '../../src/cli/main.ts');
const agentFlags = ['--cluster-cidr=10.244.0.0/16', '--conntrack-max-per-core=0'];

describe.skipIf(!able)('an agent that is stopped while a tool runs (needs root)', () => {
  let lab: NodeLab;

  beforeEach(async () => {
    lab = await NodeLab.create('nft');
    await lab.write('node', nodeObject());
    await lab.write('web', service('web', { host: 10 }), ...slices('web', ['pod-a']));
  });

  afterEach(async () => {
    await lab.close();
  });

  test('lets the running restore end: status 0, and the rules are whole', async () => {
    const gate = await gatedTool(lab, 'iptables-nft-restore', 'KUBE-SERVICES');
    const agent = lab.startAgent(agentFlags, gate.folder);
    await gate.entered(agent);
    const stopped = agent.stop();
    await gate.open();
    expect(await stopped, agent.log).toBe(0);
    expect(agent.log).toContain('stopped; the rules stay in place');
    expect(agent.log).not.toContain('sync failed');
    expect(await lab.ask('client', { to: '10.96.0.10', port: 80 })).toMatchObject({
      answeredBy: 'pod-a',
    });
  });

  test('does not wait for the restore when it is told again', async () => {
    const gate = await gatedTool(lab, 'iptables-nft-restore', 'KUBE-SERVICES');
    const agent = lab.startAgent(agentFlags, gate.folder);
    await gate.entered(agent);
    let status: number | undefined;
    const again = async (): Promise<number | undefined> => {
      void agent.stop().then((code) => (status = code));
      return status;
    };
    expect(await eventually(again, (code) => code !== undefined)).toBe(128 + 15);
  });

  test('ends with status 0 also while it starts', async () => {
    const gate = await gatedTool(lab, 'ip6tables-nft-save', '');
    const agent = lab.startAgent(agentFlags, gate.folder);
    await gate.entered(agent);
    expect(await agent.stop(), agent.log).toBe(0);
    expect(agent.log).not.toContain('error');
  });
});

describe.skipIf(!able)('a demo that is interrupted (needs root)', () => {
  let folder = '';

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'switchyard-stop-'));
  });

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  test.each([
    ['SIGINT', 'while it builds', async (pid: number) => (await namespacesOf(pid)).length > 0],
    ['SIGTERM', 'while it plays', async (_: number, said: string) => said.includes('1. Service')],
  ] as const)('by %s %s leaves nothing', async (signal, _when, reached) => {
    const child = spawn(process.execPath, [program, 'demo'], {
      env: { ...process.env, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    }
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    const pid = child.pid ?? 0;
    await eventually(async () => reached(pid, said), Boolean, 30_000);
    child.kill(signal);
    expect(await ended, said).toBe(130);
    expect(said).toContain('Interrupted; everything is removed again.');
    expect(await namespacesOf(pid)).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });
});

async function namespacesOf(pid: number): Promise<readonly string[]> {
  const names = await readdir('/run/netns').catch(() => []);
  return names.filter((name) => name.startsWith(`swydemo-${pid}-`));
}

/** A tool that says when it is fed `word`, and then waits for leave before it does its work. */
async function gatedTool(lab: NodeLab, tool: string, word: string) {
  const folder = join(lab.folder, 'gated');
  const [entered, leave] = [join(folder, 'entered'), join(folder, 'leave')];
  await mkdir(folder);
  const real = (await lab.onNode('sh', '-c', `command -v ${tool}`)).trim();
  const script = `#!/bin/sh
input="$(cat; echo x)"
case "$input" in
  *${word}*) touch ${entered}; until [ -e ${leave} ]; do sleep 0.02; done ;;
esac
printf %s "\${input%x}" | exec ${real} "$@"
`;
  await writeFile(join(folder, tool), script, { mode: 0o755 });
  return {
    folder,
    entered: async (agent: AgentProcess) =>
      eventually(
        async () => ({ entered: (await readdir(folder)).includes('entered'), said: agent.log }),
        (seen) => seen.entered,
      ),
    open: async () => writeFile(leave, ''),
  };
}
