import { execFileSync } from 'node:child_process';
import { cpus, loadavg, release } from 'node:os';
import process from 'node:process';

/** What figures were taken on, in a line; `more`: what else took part. */
export function machine(...more: readonly string[]): string {
  const facts = [
    new Date().toISOString().slice(0, 16).replace('T', ' '),
    `${cpus().length} cores, ${cpus()[0]?.model ?? 'unknown'}`,
    `kernel ${release()}`,
    version('iptables', '--version').replace(/ \(.*/, ''),
    `node ${process.version}`,
    `commit ${version('git', 'describe', '--always', '--dirty')}`,
    ...more,
    `load average before ${load()}`,
  ];
  return facts.join('; ');
}

export function version(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8' }).trim();
}

export function load(): string {
  return loadavg()
    .map((each) => each.toFixed(1))
    .join(', ');
}
