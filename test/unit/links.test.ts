import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
/** Folders that are not part of the source. */
const foreign = new Set(['node_modules', 'dist', '.git']);

const files = readdirSync(root, { withFileTypes: true })
  .filter((entry) => !foreign.has(entry.name))
  .flatMap((entry) =>
    entry.isDirectory()
      ? readdirSync(join(root, entry.name), { recursive: true, encoding: 'utf8' }).map((name) =>
          join(entry.name, name),
        )
      : [entry.name],
  )
  .toSorted();
const pages = files.filter((name) => name.endsWith('.md'));
const texts = files.filter((name) => /\.(?:ts|mjs|py|sh|md|ya?ml|json)$/.test(name));
/** Notes that are not in the repository. */
const absent = /\bspec\/[\w-]+(?:\.md| §? ?\d)|\b(?:DESIGN|STYLE)(?:\.md| section)/;

describe('links and pictures lead to files that are there:', () => {
  it.each(pages)('%s', (page) => {
    const dead = targetsOf(readFileSync(join(root, page), 'utf8')).filter(
      (target) => !leadsSomewhere(page, target),
    );
    expect(dead).toEqual([]);
  });

  it('a link to nowhere is seen', () => {
    const text = '[a](b.md#c) ![d](e.svg "f") <img src="g.png"> [h](https://x/y) `[i](j)`';
    expect(targetsOf(text)).toEqual(['b.md#c', 'e.svg', 'g.png']);
    expect(leadsSomewhere('README.md', 'docs/nowhere.md')).toBe(false);
    expect(leadsSomewhere('docs/adr/0001-rooms-and-arrows.md', '../../README.md')).toBe(true);
    expect(leadsSomewhere('README.md', 'docs/operating.md#no-such-heading')).toBe(false);
    expect(leadsSomewhere('README.md', 'docs/operating.md#watching-it')).toBe(true);
  });
});

describe('a comment or a page', () => {
  it('cites nothing that no reader has', () => {
    const citing = texts.filter((name) => absent.test(readFileSync(join(root, name), 'utf8')));
    expect(citing).toEqual([]);
  });

  it('that does is seen, and a JSON pointer is not taken for one', () => {
    const notes = [['spec', 'kubelet.md 3'].join('/'), ['DESIGN', 'section 7'].join(' ')];
    expect(notes.filter((note) => absent.test(note))).toEqual(notes);
    expect(absent.test('/spec/template/spec/volumes/-')).toBe(false);
  });
});

/** What a page links to, but for other hosts and what stands in code. */
function targetsOf(text: string): readonly string[] {
  const prose = text.replaceAll(/```[^]*?```/g, '').replaceAll(/`[^`\n]*`/g, '');
  const links = [...prose.matchAll(/\]\((?<to>[^)\s]+)[^)]*\)|src="(?<src>[^"]+)"/g)];
  return links
    .map(({ groups }) => groups?.['to'] ?? groups?.['src'] ?? '')
    .filter((target) => !/^[a-z]+:/.test(target));
}

/** Whether the file is there, and the heading in it. */
function leadsSomewhere(page: string, target: string): boolean {
  const [path = '', heading] = target.split('#');
  const file = path === '' ? join(root, page) : join(root, dirname(page), path);
  const name = relative(root, file);
  if (!existsSync(file)) return false;
  if (name.startsWith('..')) return false;
  return heading === undefined || headingsOf(readFileSync(file, 'utf8')).includes(heading);
}

/** Headings as GitHub makes anchors of them. */
function headingsOf(text: string): readonly string[] {
  return [...text.matchAll(/^#+ (?<title>.+)$/gm)].map(({ groups }) =>
    (groups?.['title'] ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
