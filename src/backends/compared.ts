/** One line of what is wanted, or of what is there, as a tool would take it. */
export interface ComparedLine {
  readonly text: string;
  /** The service port it is for: `default/web:http`; undefined: none, or not known. */
  readonly object: string | undefined;
}

/** Lines that belong together: a chain, a set, a virtual server. undefined: there is no such thing on that side. */
export interface ComparedSection {
  /** `chain KUBE-SERVICES` */
  readonly name: string;
  readonly wanted: readonly ComparedLine[] | undefined;
  readonly found: readonly ComparedLine[] | undefined;
  /** What of others packets may meet before ours, and be taken by: no difference, but worth knowing. */
  readonly inFront?: readonly string[];
}

/** What is compared with one tool's help, in the order in which it is shown. */
export interface ComparedPart {
  /** `nat`, `sets`, `virtual servers`, `addresses` */
  readonly name: string;
  readonly sections: readonly ComparedSection[];
}

/** A line for no service port. */
export function plainLine(text: string): ComparedLine {
  return { text, object: undefined };
}
