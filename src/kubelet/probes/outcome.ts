/** What one execution of a probe's handler came to. */
export type ProbeOutcome =
  | { readonly kind: 'success'; readonly output: string }
  /** Counts as a success, and an Event tells of it: a redirect to another host. */
  | { readonly kind: 'warning'; readonly output: string }
  | { readonly kind: 'failure'; readonly output: string }
  /** It could not be executed, which says nothing of the container. */
  | { readonly kind: 'error'; readonly output: string };

/** Of what a handler answers, this much is kept. */
export const keptOutputBytes = 10 * 1024;
