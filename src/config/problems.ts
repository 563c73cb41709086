import { SwitchyardError } from '../error.ts';

/** A setting that cannot be used as it was given. */
export interface FieldProblem {
  /** Starts with what the operator wrote: `--mode`, `c.yaml: iptables.masqueradeBit`. */
  readonly message: string;
  readonly hint: string | undefined;
}

/** Throws a usage error with all problems and what to do about each; none, no error. */
export function refuse(problems: readonly FieldProblem[]): void {
  if (problems.length === 0) return;
  const messages = problems.map(({ message }) => message);
  const advice = new Set(problems.map(({ hint }) => hint).filter((each) => each !== undefined));
  const options = advice.size === 0 ? {} : { hint: [...advice].join('; ') };
  throw new SwitchyardError('usage', messages.join('\n'), options);
}
