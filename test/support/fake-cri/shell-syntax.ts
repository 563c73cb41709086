/** The part of the shell's language that test containers are written in; what it does not know, it refuses by name. */

/** A piece of a word; unquoted and in double quotes, `$` means something. */
export interface WordPart {
  readonly text: string;
  readonly expands: boolean;
  readonly quoted: boolean;
}

export type Word = readonly WordPart[];

export interface Redirect {
  readonly stream: 1 | 2;
  readonly append: boolean;
  /** undefined: the other stream (`2>&1`, `>&2`). */
  readonly to: Word | undefined;
}

export type Command =
  | {
      readonly kind: 'simple';
      readonly assignments: readonly { readonly name: string; readonly value: Word }[];
      readonly words: readonly Word[];
      readonly redirects: readonly Redirect[];
    }
  | { readonly kind: 'while'; readonly until: boolean; readonly test: List; readonly body: List }
  | {
      readonly kind: 'for';
      readonly name: string;
      readonly words: readonly Word[];
      readonly body: List;
    }
  | {
      readonly kind: 'if';
      readonly test: List;
      readonly consequent: List;
      readonly otherwise: List | undefined;
    }
  | { readonly kind: 'group'; readonly body: List };

/** Commands joined by `&&` and `||`; the first has no join. */
export interface AndOr {
  readonly first: Command;
  readonly rest: readonly { readonly join: '&&' | '||'; readonly command: Command }[];
  readonly background: boolean;
}

export type List = readonly AndOr[];

type Token =
  | { readonly kind: 'word'; readonly word: Word }
  | { readonly kind: 'mark'; readonly text: string };

const marks = ['&&', '||', ';', '&', '\n', '(', ')', '2>&1', '>&2', '1>&2', '2>>', '2>', '>>', '>'];

/** Reads a script. */
export function parseScript(text: string): List {
  const parser = new Parser(tokens(text));
  const list = parser.list([]);
  parser.end();
  return list;
}

function tokens(text: string): readonly Token[] {
  const found: Token[] = [];
  let at = 0;
  while (at < text.length) {
    if (text[at] === ' ' || text[at] === '\t') {
      at++;
      continue;
    }
    if (text[at] === '#') {
      while (at < text.length && text[at] !== '\n') at++;
      continue;
    }
    const mark = marks.find((each) => text.startsWith(each, at));
    if (mark !== undefined) {
      found.push({ kind: 'mark', text: mark === '\n' ? ';' : mark });
      at += mark.length;
      continue;
    }
    const [word, end] = readWord(text, at);
    if (end === at) throw new Error(`not understood: ${text.slice(at)}`);
    found.push({ kind: 'word', word });
    at = end;
  }
  return found;
}

function readWord(text: string, start: number): readonly [Word, number] {
  const parts: WordPart[] = [];
  let at = start;
  while (at < text.length && !/[\s;&|()>]/.test(text[at] ?? '')) {
    const quote = text[at];
    if (quote === "'" || quote === '"') {
      const end = closing(text, at + 1, quote);
      const inner = text.slice(at + 1, end);
      const plain = quote === '"' ? inner.replaceAll(/\\(?<kept>["\\])/g, '$<kept>') : inner;
      parts.push({ text: plain, expands: quote === '"', quoted: true });
      at = end + 1;
    } else if (quote === '\\') {
      parts.push({ text: text[at + 1] ?? '', expands: false, quoted: true });
      at += 2;
    } else {
      const end = bareEnd(text, at);
      parts.push({ text: text.slice(at, end), expands: true, quoted: false });
      at = end;
    }
  }
  return [parts, at];
}

function closing(text: string, start: number, quote: string): number {
  for (let at = start; at < text.length; at++) {
    if (quote === '"' && text[at] === '\\') at++;
    else if (text[at] === quote) return at;
  }
  throw new Error(`no closing ${quote} in: ${text}`);
}

/** Up to what ends a word or begins a quote; `$( … )` is one piece. */
function bareEnd(text: string, start: number): number {
  let at = start;
  while (at < text.length && !/[\s;&|()>'"\\]/.test(text[at] ?? '')) {
    if (text.startsWith('$(', at)) at = substitutionEnd(text, at + 2);
    else at++;
  }
  return at;
}

/** Behind the bracket that closes what was opened before `start`. */
export function substitutionEnd(text: string, start: number): number {
  let depth = 1;
  for (let at = start; at < text.length; at++) {
    if (text[at] === '(') depth++;
    if (text[at] === ')' && --depth === 0) return at + 1;
  }
  throw new Error(`no closing ) in: ${text}`);
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(list: readonly Token[]) {
    this.#tokens = list;
  }

  end(): void {
    if (this.#at < this.#tokens.length) throw new Error(`not understood: ${this.#show()}`);
  }

  list(ends: readonly string[]): List {
    const found: AndOr[] = [];
    for (;;) {
      while (this.#mark(';'));
      const word = this.#plain();
      if (this.#at >= this.#tokens.length || this.#isMark(')')) return found;
      if (word !== undefined && ends.includes(word)) return found;
      found.push(this.#andOr());
    }
  }

  #andOr(): AndOr {
    const first = this.#command();
    const rest: { join: '&&' | '||'; command: Command }[] = [];
    for (;;) {
      const join = this.#mark('&&') ? '&&' : this.#mark('||') ? '||' : undefined;
      if (join === undefined) break;
      rest.push({ join, command: this.#command() });
    }
    const background = this.#mark('&');
    if (!background) this.#mark(';');
    return { first, rest, background };
  }

  #command(): Command {
    if (this.#mark('(')) {
      const body = this.list([]);
      this.#needMark(')');
      return { kind: 'group', body };
    }
    const word = this.#plain();
    if (word === 'while' || word === 'until') return this.#loop(word === 'until');
    if (word === 'for') return this.#for();
    if (word === 'if') return this.#if();
    if (word === '{') {
      this.#at++;
      const body = this.list(['}']);
      this.#need('}');
      return { kind: 'group', body };
    }
    return this.#simple();
  }

  #loop(until: boolean): Command {
    this.#at++;
    const test = this.list(['do']);
    this.#need('do');
    const body = this.list(['done']);
    this.#need('done');
    return { kind: 'while', until, test, body };
  }

  #for(): Command {
    this.#at++;
    const name = this.#plain() ?? '';
    this.#at++;
    this.#need('in');
    const words: Word[] = [];
    for (let token = this.#tokens[this.#at]; token?.kind === 'word';) {
      words.push(token.word);
      token = this.#tokens[++this.#at];
    }
    this.#mark(';');
    this.#need('do');
    const body = this.list(['done']);
    this.#need('done');
    return { kind: 'for', name, words, body };
  }

  #if(): Command {
    this.#at++;
    const test = this.list(['then']);
    this.#need('then');
    const consequent = this.list(['else', 'fi']);
    const otherwise = this.#plain() === 'else' ? (this.#at++, this.list(['fi'])) : undefined;
    this.#need('fi');
    return { kind: 'if', test, consequent, otherwise };
  }

  #simple(): Command {
    const words: Word[] = [];
    const redirects: Redirect[] = [];
    const assignments: { name: string; value: Word }[] = [];
    for (;;) {
      const token = this.#tokens[this.#at];
      if (token?.kind === 'word') {
        this.#at++;
        const assignment = words.length === 0 ? asAssignment(token.word) : undefined;
        if (assignment) assignments.push(assignment);
        else words.push(token.word);
      } else if (token?.kind === 'mark' && token.text.includes('>')) {
        this.#at++;
        redirects.push(this.#redirect(token.text));
      } else {
        if (words.length + assignments.length === 0)
          throw new Error(`not understood: ${this.#show()}`);
        return { kind: 'simple', assignments, words, redirects };
      }
    }
  }

  #redirect(mark: string): Redirect {
    if (mark === '2>&1') return { stream: 2, append: false, to: undefined };
    if (mark === '>&2' || mark === '1>&2') return { stream: 1, append: false, to: undefined };
    const target = this.#tokens[this.#at++];
    if (target?.kind !== 'word') throw new Error(`${mark} needs a file`);
    return { stream: mark.startsWith('2') ? 2 : 1, append: mark.endsWith('>>'), to: target.word };
  }

  #plain(): string | undefined {
    const token = this.#tokens[this.#at];
    if (token?.kind !== 'word' || token.word.some(({ quoted }) => quoted)) return undefined;
    return token.word.map(({ text }) => text).join('');
  }

  #isMark(text: string): boolean {
    const token = this.#tokens[this.#at];
    return token?.kind === 'mark' && token.text === text;
  }

  #mark(text: string): boolean {
    if (!this.#isMark(text)) return false;
    this.#at++;
    return true;
  }

  #needMark(text: string): void {
    if (!this.#mark(text)) throw new Error(`${text} expected at: ${this.#show()}`);
  }

  #need(word: string): void {
    if (this.#plain() !== word) throw new Error(`${word} expected at: ${this.#show()}`);
    this.#at++;
  }

  #show(): string {
    return this.#tokens
      .slice(this.#at)
      .map((token) =>
        token.kind === 'mark' ? token.text : token.word.map(({ text }) => text).join(''),
      )
      .join(' ');
  }
}

function asAssignment(word: Word): { name: string; value: Word } | undefined {
  const [head, ...rest] = word;
  const match = /^(?<name>[A-Za-z_]\w*)=(?<value>.*)$/s.exec(head?.text ?? '');
  if (!head || head.quoted || !match?.groups) return undefined;
  const value = { ...head, text: match.groups['value'] ?? '' };
  return { name: match.groups['name'] ?? '', value: [value, ...rest] };
}
