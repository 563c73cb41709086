/** One measured value with its text; `isAtLeast`: the measurement was given up there. */
export interface Figure {
  readonly value: number;
  readonly text: string;
  readonly isAtLeast?: boolean;
}

/** What a figure has to reach: a limit of its own, or a share of upstream's. */
export type Target =
  | { readonly kind: 'limit'; readonly limit: number; readonly text: string }
  | { readonly kind: 'ratio'; readonly ratio: number }
  | { readonly kind: 'none' };

export const none: Target = { kind: 'none' };

/** A measured line of a table; either side may not have been run. */
export interface Row {
  readonly what: string;
  readonly upstream?: Figure | undefined;
  readonly own?: Figure | undefined;
  readonly target: Target;
}

export const head = ['', 'upstream', 'Switchyard', 'ratio', 'must reach', ''] as const;

export function cells({ what, upstream, own, target }: Row): readonly string[] {
  return [
    what,
    upstream?.text ?? 'not run',
    own?.text ?? 'not run',
    ratioText(own, upstream),
    targetText(target),
    verdict(target, own, upstream),
  ];
}

/** Of a table without upstream. */
export const ownHead = ['', 'Switchyard', 'must reach', ''] as const;

export function ownCells({ what, own, target }: Row): readonly string[] {
  return [what, own?.text ?? 'not run', targetText(target), verdict(target, own, undefined)];
}

/** Whether the target is met: told only where it is certain. */
function verdict(target: Target, own: Figure | undefined, upstream: Figure | undefined): string {
  if (target.kind === 'none' || own === undefined) return '';
  const limit = target.kind === 'limit' ? target.limit : target.ratio * (upstream?.value ?? NaN);
  if (Number.isNaN(limit)) return '';
  if (own.value <= limit && own.isAtLeast !== true) return 'met';
  return target.kind === 'ratio' && upstream?.isAtLeast === true ? 'unknown' : 'not met';
}

function targetText(target: Target): string {
  if (target.kind === 'none') return '';
  return `≤ ${target.kind === 'limit' ? target.text : `${target.ratio} ×`}`;
}

/** Ours divided by upstream's; a figure of about nothing has no ratio. */
function ratioText(own: Figure | undefined, upstream: Figure | undefined): string {
  if (own === undefined || upstream === undefined || upstream.value <= 0) return '';
  if (own.isAtLeast === true) return '';
  const share = (own.value / upstream.value).toFixed(2);
  return `${upstream.isAtLeast === true ? '< ' : ''}${share} ×`;
}

/** Seconds, given up after that time. */
export function gaveUp(seconds: number): Figure {
  return { value: seconds, text: `> ${seconds} s`, isAtLeast: true };
}

export function secondsLimit(limit: number): Target {
  return { kind: 'limit', limit, text: `${limit} s` };
}

export function ratio(value: number): Target {
  return { kind: 'ratio', ratio: value };
}
