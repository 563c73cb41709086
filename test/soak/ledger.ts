/** Who may answer at a frontend; undefined where nobody can know. */
export type Expected = ReadonlySet<string> | undefined;

/** What is true of a frontend from some moment between the request that made it so and its answer. */
interface State {
  readonly sentMs: number;
  readonly knownMs: number;
  readonly expected: Expected;
}

/** One question with its answer. */
export interface Observation {
  readonly frontend: string;
  /** A pod's name, `refused` or `timeout`. */
  readonly answer: string;
  readonly askedMs: number;
  readonly answeredMs: number;
}

export type Verdict =
  | {
      readonly right: true;
      /** How long the state that explains the answer had been replaced; 0 for the present one. */
      readonly lagMs: number;
    }
  | {
      readonly right: false;
      /** What would have been right. */
      readonly expected: readonly string[];
    };

/**
 * What every frontend answered with since when. An answer is wrong if no state of the time of asking, or of
 * the `allowedLagMs` before it, explains it.
 */
export class Ledger {
  readonly #allowedLagMs: number;
  readonly #timelines = new Map<string, State[]>();

  constructor(allowedLagMs: number) {
    this.#allowedLagMs = allowedLagMs;
  }

  /** A change, told in order: the API server had the request after `sentMs` and had done it at `knownMs`. */
  record(frontend: string, expected: Expected, sentMs: number, knownMs: number): void {
    const timeline = this.#timelines.get(frontend) ?? [];
    this.#timelines.set(frontend, timeline);
    timeline.push({ sentMs, knownMs, expected });
  }

  /** To be called when all changes of the time of asking have been recorded. */
  judge(observation: Observation): Verdict {
    const possible = this.#possible(observation);
    const lags = possible
      .filter(({ expected }) => expected?.has(observation.answer) !== false)
      .map(({ replacedMs }) => Math.max(0, observation.askedMs - replacedMs));
    if (lags.length > 0) return { right: true, lagMs: Math.min(...lags) };
    const expected = new Set(possible.flatMap((state) => [...(state.expected ?? [])]));
    return { right: false, expected: [...expected].toSorted() };
  }

  /** The states that a question may have met. */
  #possible({ frontend, askedMs, answeredMs }: Observation) {
    const timeline = this.#timelines.get(frontend) ?? [];
    return timeline
      .map(({ sentMs, expected }, at) => {
        const replacedMs = timeline[at + 1]?.knownMs ?? Number.POSITIVE_INFINITY;
        return { sentMs, expected, replacedMs };
      })
      .filter(
        ({ sentMs, replacedMs }) =>
          sentMs <= answeredMs && replacedMs + this.#allowedLagMs >= askedMs,
      );
  }

  /** Forgets what no question asked after `beforeMs` can need. */
  prune(beforeMs: number): void {
    const oldestMs = beforeMs - this.#allowedLagMs;
    for (const timeline of this.#timelines.values()) {
      const first = timeline.findIndex(
        (_, at) => (timeline[at + 1]?.knownMs ?? Number.POSITIVE_INFINITY) >= oldestMs,
      );
      if (first > 0) timeline.splice(0, first);
    }
  }
}
