import type { ComparedLine, ComparedPart, ComparedSection } from '../../backends/compared.ts';
import { edits } from './edits.ts';
import type { Edit } from './edits.ts';

/** Something that is not as it is wanted. */
export interface Difference {
  readonly kind: 'missing' | 'unexpected' | 'different';
  /** `nat`, `sets`, `virtual servers`, `addresses` */
  readonly part: string;
  /** `chain KUBE-SERVICES` */
  readonly where: string;
  /** The service port it is for, where that is known. */
  readonly object: string | null;
  readonly wanted: string | null;
  readonly found: string | null;
  /** How many lines go with it, where a whole chain or set is missing or unexpected. */
  readonly lines: number;
}

/** A rule of others that packets may meet before ours, and be taken by. */
export interface RuleInFront {
  /** `nat` */
  readonly part: string;
  readonly rule: string;
}

/** One part with the way from what is there to what is wanted. */
export interface EditedPart {
  readonly name: string;
  readonly sections: readonly {
    readonly section: ComparedSection;
    readonly edits: readonly Edit<ComparedLine>[];
  }[];
}

/** Compares each section of its own. */
export function editedParts(parts: readonly ComparedPart[]): readonly EditedPart[] {
  return parts.map(({ name, sections }) => ({
    name,
    sections: sections.map((section) => ({
      section,
      edits: edits(section.found ?? [], section.wanted ?? []),
    })),
  }));
}

/** All differences, in the order of the parts. */
export function differencesOf(parts: readonly EditedPart[]): readonly Difference[] {
  return parts.flatMap(({ name, sections }) =>
    sections.flatMap(({ section, edits: list }) => sectionDifferences(name, section, list)),
  );
}

/** All rules of others that may decide before ours, in the order of the parts. */
export function rulesInFrontOf(parts: readonly EditedPart[]): readonly RuleInFront[] {
  return parts.flatMap(({ name, sections }) =>
    sections.flatMap(({ section }) =>
      (section.inFront ?? []).map((rule) => ({ part: name, rule })),
    ),
  );
}

function sectionDifferences(
  part: string,
  section: ComparedSection,
  list: readonly Edit<ComparedLine>[],
): readonly Difference[] {
  const { name: where, wanted, found } = section;
  if (wanted === undefined || found === undefined) {
    return [wholeDifference(part, where, wanted ?? found ?? [], found === undefined)];
  }
  return runsOf(list).flatMap(({ missing, unexpected }) =>
    paired(part, where, missing, unexpected),
  );
}

function wholeDifference(
  part: string,
  where: string,
  lines: readonly ComparedLine[],
  isMissing: boolean,
): Difference {
  const objects = new Set(lines.flatMap(({ object }) => object ?? []));
  const text =
    objects.size > 1 ? `${[...objects][0]} and ${objects.size - 1} more` : [...objects][0];
  return {
    kind: isMissing ? 'missing' : 'unexpected',
    part,
    where,
    object: text ?? null,
    wanted: isMissing ? where : null,
    found: isMissing ? null : where,
    lines: lines.length,
  };
}

interface Run {
  readonly missing: ComparedLine[];
  readonly unexpected: ComparedLine[];
}

/** What stands together between lines that are the same. */
function runsOf(list: readonly Edit<ComparedLine>[]): readonly Run[] {
  const runs: Run[] = [];
  let run: Run | undefined;
  for (const { kind, line } of list) {
    if (kind === 'same') {
      run = undefined;
      continue;
    }
    if (run === undefined) runs.push((run = { missing: [], unexpected: [] }));
    run[kind].push(line);
  }
  return runs;
}

/** Where as many lines are missing as there are unexpected ones in their place, each is another in its stead. */
function paired(
  part: string,
  where: string,
  missing: readonly ComparedLine[],
  unexpected: readonly ComparedLine[],
): readonly Difference[] {
  const place = { part, where, lines: 1 };
  if (missing.length === unexpected.length) {
    return missing.map(({ text, object }, i) => {
      const found = unexpected[i];
      const whose = object ?? found?.object ?? null;
      return {
        ...place,
        kind: 'different',
        object: whose,
        wanted: text,
        found: found?.text ?? null,
      };
    });
  }
  return [
    ...missing.map(({ text, object = null }): Difference => ({
      ...place,
      kind: 'missing',
      object,
      wanted: text,
      found: null,
    })),
    ...unexpected.map(({ text, object = null }): Difference => ({
      ...place,
      kind: 'unexpected',
      object,
      wanted: null,
      found: text,
    })),
  ];
}
