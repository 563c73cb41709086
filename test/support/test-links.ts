/** A test that a page names. */
export interface TestLink {
  readonly file: string;
  /** Of the test or the group. */
  readonly title: string;
}

/** `[text](file "title"), …`; anything else is kept as a link that no file has. */
export function linksOf(cell: string): readonly TestLink[] {
  return cell.split(/, (?=\[)/).map((text) => {
    const { file = text, title = '' } =
      /^\[[^\]]+\]\((?<file>\S+) "(?<title>[^"]+)"\)$/.exec(text)?.groups ?? {};
    return { file, title };
  });
}

/**
 * The titles given to it(), test(), describe(), their each() and skipIf(), and to a suite's test(): the last text
 * before the function.
 */
export function titlesOf(source: string): readonly string[] {
  const declared =
    /(?:\b(?:it|test|describe)(?:\.\w+)*|\))\(\s*(?:'[\w-]+',\s*)?(?<quote>['`])(?<title>(?:(?!\k<quote>)[^\\\n])+)\k<quote>,\s*(?:\{[^{}]*\},\s*)?(?:async )?\([^()]*\)(?:: [\w<>]+)? =>/g;
  const code = source.replaceAll(/^\s*(?:\/\/|\/?\*).*$/gm, '');
  return Array.from(code.matchAll(declared), ({ groups }) => groups?.['title'] ?? '');
}
