import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NodeLab } from './node-lab.ts';

const variants = ['iptables', 'iptables-nft', 'iptables-legacy'];
const programs = [...variants, ...variants.map((name) => name.replace('ip', 'ip6'))].flatMap(
  (name) => [name, `${name}-save`, `${name}-restore`],
);
const tools = [...programs, 'ipset', 'conntrack'];

/** How a fault goes about: in shell, with `$tool`, `$step`, `$input` (its text), `$real`, `$agent` (a process id) and `$state` (a folder). */
export interface Fault {
  /** Instead of or before the real tool. */
  readonly before?: string;
  /** After the real tool ran; `$status` is its status. */
  readonly after?: string;
}

/**
 * Wrappers that stand before the node's tools. Each run is a step, recorded in words that say what it is for:
 * `iptables-nft-restore: write rules`. A fault acts on the runs it names.
 */
export class FaultyTools {
  readonly folder: string;
  readonly #state: string;
  #taken = 0;

  private constructor(folder: string) {
    this.folder = folder;
    this.#state = join(folder, 'state');
  }

  /** `ipv4Only` hides the tools of IPv6, so that the steps of a start have one order. */
  static async install(lab: NodeLab, { ipv4Only = false } = {}): Promise<FaultyTools> {
    const made = new FaultyTools(join(lab.folder, 'faulty'));
    await mkdir(made.#state, { recursive: true });
    for (const tool of tools) {
      if (ipv4Only && tool.startsWith('ip6')) {
        await writeFile(join(made.folder, tool), '#!/bin/sh\nexit 127\n', { mode: 0o755 });
        continue;
      }
      const real = (await lab.onNode('sh', '-c', `command -v ${tool}`)).trim();
      await writeFile(join(made.folder, tool), wrapper(made.#state, real), { mode: 0o755 });
    }
    return made;
  }

  /** Steps since the last call, in order. */
  async taken(): Promise<readonly string[]> {
    const text = await readFile(join(this.#state, 'steps'), 'utf8').catch(() => '');
    const steps = text.split('\n').slice(0, -1);
    const before = this.#taken;
    this.#taken = steps.length;
    return steps.slice(before);
  }

  /** From now on, every run that starts with `step` meets the fault; `once`: the first one alone. */
  async meet(step: string, fault: Fault, { once = false } = {}): Promise<void> {
    const guard = once ? `mv ${this.#state}/fault ${this.#state}/fired 2>/dev/null` : 'true';
    const hook = (name: string, text = ''): string =>
      `${name}() {\n case "$step" in '${step}'*) ${text === '' ? ':' : `if ${guard}; then ${text}; fi`} ;; esac\n}\n`;
    await this.heal();
    const path = join(this.#state, 'fault.new');
    await writeFile(path, hook('before', fault.before) + hook('after', fault.after));
    await rename(path, join(this.#state, 'fault'));
  }

  /** Every tool works again. */
  async heal(): Promise<void> {
    await rm(join(this.#state, 'fault'), { force: true });
    await rm(join(this.#state, 'fired'), { force: true });
  }

  /** Whether a fault that acts once has acted. */
  async acted(): Promise<boolean> {
    return this.has('fired');
  }

  /** Makes a file in `$state`, for which a fault waits. */
  async put(name: string): Promise<void> {
    await writeFile(join(this.#state, name), '');
  }

  /** The text of a file that a fault has made in `$state`. */
  async read(name: string): Promise<string> {
    return readFile(join(this.#state, name), 'utf8');
  }

  /** Whether there is a file in `$state`, such as one that a fault has made. */
  async has(name: string): Promise<boolean> {
    return (await readdir(this.#state)).includes(name);
  }
}

/** Starts few processes: an agent runs dozens of tools before its first rule. */
function wrapper(state: string, real: string): string {
  return `#!/bin/sh
tool=\${0##*/} real=${real} agent=$PPID state=${state}
step="$tool: $*"
case "$tool $1" in
  *-restore\\ * | 'ipset restore')
    input="$(cat; echo x)"
    input="\${input%x}"
    case "$tool $input" in
      *PROBE*) step="$tool: probe" ;;
      'ipset destroy'*) step='ipset: destroy sets' ;;
      'ipset '*) step='ipset: make sets' ;;
      *'
-X '*) step="$tool: delete chains" ;;
      *) step="$tool: write rules" ;;
    esac ;;
  *) exec </dev/null ;;
esac
echo "$step" >>$state/steps
before() { :; }
after() { :; }
[ -e $state/fault ] && . $state/fault
before "$@"
if [ -n "$input" ]; then
  printf %s "$input" | "$real" "$@"
else
  "$real" "$@"
fi
status=$?
after "$@"
exit $status
`;
}
