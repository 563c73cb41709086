// Who listens at a port, by the name that people know the program by.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { expect, it } from 'vitest';
import { takenPorts } from '../../../src/doctor/taken-ports.ts';
import { systemTools } from '../../../src/host/run-tool.ts';

const script =
  "const s = require('net').createServer().listen(0, '127.0.0.1', () => console.log(s.address().port))";

it('is the program, where the kernel knows the name of a thread of it', async () => {
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    const port = Number(said.toString());
    const { signal } = new AbortController();
    expect(await takenPorts(new Set([port]), systemTools, signal)).toEqual([
      { address: '127.0.0.1', port, owner: { pid: child.pid, name: 'node' }, takesIPv4: undefined },
    ]);
  } finally {
    child.kill('SIGKILL');
  }
});
