// What kube-proxy's nftables mode has left: found, removed, and never without need.
import { describe, expect, test } from 'vitest';
import type { Backend } from '../../../src/backends/backend.ts';
import { NftablesCleanup } from '../../../src/backends/nftables/cleanup.ts';
import { SwitchyardError } from '../../../src/error.ts';
import { AfterNftables } from '../../../src/proxy/after-nftables.ts';
import { FakeToolRunner } from '../../support/fake-tool-runner.ts';
import type { Answer } from '../../support/fake-tool-runner.ts';

const { signal } = new AbortController();

/** Tables by family: `ip kube-proxy`. `refuses`: a deletion fails. */
class Kernel {
  readonly tables: Set<string>;
  refuses = false;
  readonly tools = new FakeToolRunner(({ tool, args }) => this.#answer(tool, args));

  constructor(...tables: readonly string[]) {
    this.tables = new Set(tables);
  }

  #answer(tool: string, [verb, , ...rest]: readonly string[]): Answer {
    if (tool !== 'nft') return 'missing';
    if (verb === 'list') {
      const shown = [...this.tables].filter((table) => table.startsWith(`${rest.join(' ')} `));
      return { stdout: shown.map((table) => `table ${table}\n`).join('') };
    }
    if (this.refuses) return { exitCode: 1, stderr: 'Error: Device or resource busy\n' };
    const gone = this.tables.delete(rest.join(' '));
    return gone ? {} : { exitCode: 1, stderr: 'Error: No such file or directory\n' };
  }
}

const all = ['ip kube-proxy', 'ip6 kube-proxy', 'ip kube-proxy-2', 'ip nat'];

describe('the clean-up of the nftables mode', () => {
  test('removes the table of both families, and nobody else’s', async () => {
    const kernel = new Kernel(...all);
    const cleanup = new NftablesCleanup({ tools: kernel.tools, scope: 'all' });
    expect(await cleanup.look(signal)).toEqual({
      mode: 'nftables',
      removes: ['table kube-proxy of nftables (IPv4)', 'table kube-proxy of nftables (IPv6)'],
      keeps: [],
    });
    expect(kernel.tables.size).toBe(all.length);
    expect(await cleanup.remove(signal)).toEqual([]);
    expect([...kernel.tables]).toEqual(['ip kube-proxy-2', 'ip nat']);
    expect(await cleanup.remove(signal)).toEqual([]);
  });

  test('leaves it to a kube-proxy that has taken over', async () => {
    const kernel = new Kernel(...all);
    const cleanup = new NftablesCleanup({ tools: kernel.tools, scope: 'leftovers' });
    expect((await cleanup.look(signal)).removes).toEqual([]);
    expect(await cleanup.remove(signal)).toEqual([]);
    expect(kernel.tables.size).toBe(all.length);
  });

  test('says what is still there', async () => {
    const kernel = new Kernel('ip kube-proxy');
    kernel.refuses = true;
    const cleanup = new NftablesCleanup({ tools: kernel.tools, scope: 'all' });
    expect(await cleanup.remove(signal)).toEqual([
      'nft delete table ip kube-proxy failed: Error: Device or resource busy',
      'still there: table kube-proxy of nftables (IPv4)',
    ]);
  });

  test('says that it cannot look without nft, which is no obstacle', async () => {
    const cleanup = new NftablesCleanup({
      tools: new FakeToolRunner(() => 'missing'),
      scope: 'all',
    });
    const { removes, keeps } = await cleanup.look(signal);
    expect(removes).toEqual([]);
    expect(keeps).toMatchObject([{ isObstacle: false }]);
    expect(keeps[0]?.why).toContain('apt-get install nftables');
    expect(await cleanup.remove(signal)).toEqual([]);
  });
});

describe('a mode after kube-proxy’s nftables mode', () => {
  test('removes the table of its family once its own rules are in, once', async () => {
    const kernel = new Kernel(...all);
    const { backend, mode, said } = after(kernel);
    backend.fails = true;
    await expect(sync(mode)).rejects.toThrow('no rules');
    expect(kernel.tables.size).toBe(all.length);
    backend.fails = false;
    await sync(mode);
    expect([...kernel.tables]).toEqual(all.slice(1));
    expect(said).toEqual(['info kube-proxy’s nftables mode ran here: its table is removed (IPv4)']);
    const { length } = kernel.tools.runs;
    await sync(mode);
    expect(kernel.tools.runs).toHaveLength(length);
  });

  test('serves all the same where the table cannot be removed, says so, and tries again', async () => {
    const kernel = new Kernel('ip kube-proxy');
    kernel.refuses = true;
    const { mode, said } = after(kernel);
    await sync(mode);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(
      /^warn what kube-proxy’s nftables mode has left is still in force \(IPv4\)/,
    );
    kernel.refuses = false;
    await sync(mode);
    expect(kernel.tables.size).toBe(0);
  });

  test('gives up on a tool that never succeeds', async () => {
    const kernel = new Kernel('ip kube-proxy');
    kernel.refuses = true;
    const { mode, said } = after(kernel);
    for (let i = 0; i < 8; i++) await sync(mode);
    expect(said).toHaveLength(5);
  });

  test('leaves the table of a kube-proxy that came later to it, whichever agent of the process comes next', async () => {
    const kernel = new Kernel();
    const settled = new Set<'ipv4' | 'ipv6'>();
    await sync(after(kernel, settled).mode);
    kernel.tables.add('ip kube-proxy');
    const { mode, said } = after(kernel, settled);
    await sync(mode);
    expect([said, [...kernel.tables]]).toEqual([[], ['ip kube-proxy']]);
  });

  test('asks for nothing more where there is no nft', async () => {
    const tools = new FakeToolRunner(() => 'missing');
    const { mode, said } = after({ tools });
    await sync(mode);
    await sync(mode);
    expect(tools.runs).toHaveLength(1);
    expect(said).toEqual([]);
  });
});

const report = {
  full: true,
  rulesTotal: {},
  rulesWritten: {},
  unprogrammed: [],
  refusedWrites: { full: 0, partial: 0 },
  failure: undefined,
};

class OwnRules implements Backend {
  readonly mode = 'iptables';
  fails = false;

  async sync(): ReturnType<Backend['sync']> {
    if (this.fails) throw new SwitchyardError('tool', 'no rules', { retryable: true });
    return report;
  }

  async audit(): Promise<string | undefined> {
    return undefined;
  }

  invalidate(): void {
    // nothing is remembered
  }

  desired(): undefined {
    return undefined;
  }
}

function after({ tools }: { readonly tools: FakeToolRunner }, settled?: Set<'ipv4' | 'ipv6'>) {
  const backend = new OwnRules();
  const said: string[] = [];
  const line = (level: string) => (_: object, message: string) =>
    void said.push(`${level} ${message}`);
  const log = {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
  };
  return { backend, said, mode: new AfterNftables(backend, 'ipv4', tools, log, settled) };
}

async function sync(backend: Backend): Promise<unknown> {
  const nothing = {} as Parameters<Backend['sync']>;
  return backend.sync(nothing[0], nothing[1], signal);
}
