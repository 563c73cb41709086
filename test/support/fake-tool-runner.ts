import type { IptablesTools } from '../../src/backends/iptables/variant.ts';
import { SwitchyardError } from '../../src/error.ts';
import type { ToolOptions, ToolResult, ToolRunner } from '../../src/host/run-tool.ts';

/** One run a test looks at. */
export interface RecordedRun {
  readonly tool: string;
  readonly args: readonly string[];
  readonly input: string;
  readonly timeoutMs: number;
}

/** Answers a run; what is left out is success without output. An error rejects, `missing` as a tool that is not there. */
export type Answer =
  | Partial<Omit<ToolResult, 'durationMs'>>
  | 'missing'
  | SwitchyardError
  | undefined;

/** A ToolRunner without a machine: records every run and answers what the test says. */
export class FakeToolRunner implements ToolRunner {
  readonly runs: RecordedRun[] = [];
  readonly #answer: (run: RecordedRun) => Answer;

  constructor(answer: (run: RecordedRun) => Answer = () => undefined) {
    this.#answer = answer;
  }

  run(tool: string, args: readonly string[], options: ToolOptions): Promise<ToolResult> {
    const run = { tool, args: [...args], input: options.input ?? '', timeoutMs: options.timeoutMs };
    this.runs.push(run);
    const answer = this.#answer(run);
    if (answer === 'missing') {
      return Promise.reject(new SwitchyardError('missing', `${tool} is not on this machine`));
    }
    if (answer instanceof SwitchyardError) return Promise.reject(answer);
    return Promise.resolve({ exitCode: 0, stdout: '', stderr: '', durationMs: 1, ...answer });
  }

  /** Inputs of all runs of the tool, in order. */
  inputs(tool: string): string[] {
    return this.runs.filter((run) => run.tool === tool).map((run) => run.input);
  }
}

/** The legacy tools, as a {@link FakeToolRunner} may have them. */
export const legacyTools: IptablesTools = {
  variant: 'legacy',
  family: 'ipv4',
  version: [1, 8, 9],
  iptables: 'iptables-legacy',
  restore: 'iptables-legacy-restore',
  save: 'iptables-legacy-save',
};

/** A lock that nobody holds. */
export const noLock = { lockFile: '/nowhere/lock', proc: '/nowhere' } as const;
