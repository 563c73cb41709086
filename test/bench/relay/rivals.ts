import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const page = 'http-request return status 200 content-type text/plain string "hello"';

/** Programs of this run; `close` ends them. */
export class Programs {
  readonly #children: ChildProcess[] = [];
  readonly folder = mkdtempSync(join(tmpdir(), 'swybench-relay-'));

  /** Starts a program that listens, and waits for its port. */
  async start(port: number, file: string, ...args: readonly string[]): Promise<number> {
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#children.push(child);
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    for (let tries = 0; tries < 400; tries++) {
      if (child.exitCode !== null) throw new Error(`${file} has ended: ${said}`);
      if (await answers(port)) return child.pid ?? 0;
      await delay(25);
    }
    throw new Error(`${file} does not listen on ${port}: ${said}`);
  }

  /** haproxy on one thread: passes TCP on, or (`to` undefined) answers a small page. */
  async haproxy(port: number, to: number | undefined): Promise<number> {
    const path = join(this.folder, `${port}.cfg`);
    const what = to === undefined ? ['mode http', page] : ['mode tcp', `server s 127.0.0.1:${to}`];
    const lines = [
      'global',
      '  nbthread 1',
      '  maxconn 9950',
      'defaults',
      '  maxconn 9950',
      '  timeout connect 5s',
      '  timeout client 1h',
      '  timeout server 1h',
      'listen bench',
      `  bind 127.0.0.1:${port} backlog 4096`,
      ...what.map((line) => `  ${line}`),
    ];
    writeFileSync(path, `${lines.join('\n')}\n`);
    return this.start(port, 'haproxy', '-f', path);
  }

  /** socat: a process a connection. */
  async socat(port: number, to: number): Promise<number> {
    const listen = `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork,backlog=4096`;
    return this.start(port, 'socat', listen, `TCP:127.0.0.1:${to}`);
  }

  async close(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Resident memory in KiB. */
export function residentKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** Seconds of processor time that a process and those it has waited for have used, with its living children's. */
export function cpuSeconds(pid: number): number {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean),
  );
  return [pid, ...children.map(Number)].reduce((sum, each) => sum + ownSeconds(each), 0);
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function ownSeconds(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /, '').split(' ');
    return fields.slice(11, 15).reduce((sum, each) => sum + Number(each), 0) / 100;
  } catch {
    return 0; // it has ended
  }
}
