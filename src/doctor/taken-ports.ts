import { socketOwners, tcpListeners } from '../host/listeners.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import { readSetting } from '../host/sysctl.ts';
import type { PortReading } from './readings.ts';

const toolTimeoutMs = 20_000;

/** Who listens at some ports, as far as that can be seen. */
export async function takenPorts(
  ports: ReadonlySet<number | undefined>,
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<readonly PortReading[]> {
  const found = (await tcpListeners()).filter(({ port }) => ports.has(port));
  const isAtAll = found.some(({ address }) => address === '::');
  const narrow = isAtAll ? await onlyIPv6(tools, signal) : undefined;
  const owners = await socketOwners(new Set(found.map(({ inode }) => inode)));
  return Promise.all(
    found.map(async ({ address, port, inode }) => {
      const pid = owners.get(inode);
      const takesIPv4 = narrow && !narrow.has(inode);
      if (pid === undefined) return { address, port, owner: undefined, takesIPv4 };
      const name = await programName(pid).catch(() => 'name unknown');
      return { address, port, owner: { pid, name }, takesIPv4 };
    }),
  );
}

/** The kernel's name of a process; Node gives it that of its first thread, and then the command line tells more. */
async function programName(pid: number): Promise<string> {
  const name = (await readSetting(`/proc/${pid}/comm`)) ?? 'name unknown';
  if (name !== 'MainThread') return name;
  const line = (await readSetting(`/proc/${pid}/cmdline`)) ?? '';
  return line.split('\0')[0]?.split('/').at(-1) || name;
}

/** Of sockets at `::`, those that take no IPv4; undefined where no tool tells, for /proc does not. */
async function onlyIPv6(
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<ReadonlySet<number> | undefined> {
  const args = ['-6', '-l', '-t', '-n', '-H', '-e'];
  try {
    const { exitCode, stdout } = await tools.run('ss', args, { timeoutMs: toolTimeoutMs, signal });
    if (exitCode !== 0) return undefined;
    const lines = stdout.split('\n').filter((line) => /\bv6only:1\b/.test(line));
    return new Set(lines.map((line) => Number(/\bino:(\d+)/.exec(line)?.[1] ?? -1)));
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}
