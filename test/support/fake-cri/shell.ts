import { parseScript, substitutionEnd } from './shell-syntax.ts';
import type { AndOr, Command, List, Redirect, Word } from './shell-syntax.ts';
import { Exit } from './surroundings.ts';
import type { Running, Surroundings, Write } from './surroundings.ts';
import { program, writer } from './programs.ts';

/** One shell, or a program alone: variables, traps, jobs. */
export class Shell implements Running {
  readonly around: Surroundings;
  readonly variables: Map<string, string>;
  readonly #traps = new Map<string, string>();
  readonly #pending: string[] = [];
  readonly #jobs: Promise<void>[] = [];
  #interrupted = new AbortController();
  #write: Write;
  #status = 0;
  #arguments: readonly string[] = [];

  constructor(around: Surroundings, variables: Map<string, string>, write: Write) {
    this.around = around;
    this.variables = variables;
    this.#write = write;
  }

  /** Runs a program by its arguments, as a container's command does; the status it ended with. */
  async main(words: readonly string[]): Promise<number> {
    try {
      return await this.run(words, this.#write);
    } catch (thrown) {
      if (thrown instanceof Exit) return thrown.status;
      if (this.around.life.aborted) return 137;
      this.#write(2, `${String(thrown)}\n`);
      return 2;
    }
  }

  /** Tells whether somebody in here waits for this signal. */
  signal(name: string): boolean {
    if (!this.#traps.has(name)) return false;
    this.#pending.push(name);
    this.#interrupted.abort();
    return true;
  }

  write(stream: 1 | 2, text: string): void {
    this.#write(stream, text);
  }

  /** Runs a program that stands in these words. */
  async run(words: readonly string[], write: Write): Promise<number> {
    const outer = this.#write;
    this.#write = write;
    try {
      return await this.#program(words);
    } finally {
      this.#write = outer;
    }
  }

  async script(text: string, args: readonly string[] = []): Promise<number> {
    const outer = this.#arguments;
    this.#arguments = args;
    await this.#list(parseScript(text));
    this.#arguments = outer;
    return this.#status;
  }

  trap(action: string, signals: readonly string[]): void {
    for (const signal of signals) {
      const name = signal.replace(/^SIG/, '').replace(/^15$/, 'TERM').replace(/^2$/, 'INT');
      if (action === '-') this.#traps.delete(name);
      else this.#traps.set(name, action);
    }
  }

  /** `wait`: until all jobs ended, or a trap is due. */
  async wait(): Promise<void> {
    const interrupted = this.#interrupted.signal;
    const signalled = new Promise<void>((resolve) => {
      if (interrupted.aborted) resolve();
      interrupted.addEventListener('abort', () => {
        resolve();
      });
    });
    await Promise.race([Promise.all(this.#jobs), signalled]);
  }

  async #program(words: readonly string[]): Promise<number> {
    const [name = '', ...args] = words;
    const base = name.slice(name.lastIndexOf('/') + 1);
    if (base === 'exec' && args.length > 0) {
      this.#traps.clear();
      throw new Exit(await this.#program(args));
    }
    const found = program(base);
    if (!found) {
      this.#write(2, `sh: ${name}: not found\n`);
      return 127;
    }
    const status = await found(args, this);
    this.around.life.throwIfAborted();
    return status;
  }

  async #list(list: List): Promise<void> {
    for (const each of list) {
      if (each.background) this.#start(each);
      else await this.#andOr(each);
    }
  }

  #start(what: AndOr): void {
    const child = new Shell(this.around, new Map(this.variables), this.#write);
    const job = child.#andOr({ ...what, background: false });
    this.#jobs.push(job.catch(() => {}));
  }

  async #andOr({ first, rest }: AndOr): Promise<void> {
    await this.#command(first);
    for (const { join, command } of rest) {
      if ((join === '&&') === (this.#status === 0)) await this.#command(command);
    }
  }

  async #command(command: Command): Promise<void> {
    this.around.life.throwIfAborted();
    switch (command.kind) {
      case 'simple':
        await this.#simple(command);
        break;
      case 'group':
        await this.#list(command.body);
        break;
      case 'if':
        await this.#list(command.test);
        if (this.#status === 0) await this.#list(command.consequent);
        else await this.#list(command.otherwise ?? []);
        break;
      case 'for':
        for (const value of await this.#words(command.words)) {
          this.variables.set(command.name, value);
          await this.#list(command.body);
        }
        break;
      case 'while':
        for (;;) {
          await this.#list(command.test);
          if ((this.#status === 0) === command.until) break;
          await this.#list(command.body);
          // A loop that waits for nothing must leave others their turn.
          await new Promise((resolve) => setImmediate(resolve));
        }
        break;
    }
    await this.#runTraps();
  }

  async #runTraps(): Promise<void> {
    for (;;) {
      const name = this.#pending.shift();
      if (name === undefined) return;
      this.#interrupted = new AbortController();
      const status = this.#status;
      await this.script(this.#traps.get(name) ?? '');
      this.#status = status;
    }
  }

  async #simple(command: Extract<Command, { kind: 'simple' }>): Promise<void> {
    const words = await this.#words(command.words);
    const values: [string, string][] = [];
    for (const { name, value } of command.assignments) {
      values.push([name, await this.#oneWord(value)]);
    }
    const before = new Map(this.variables);
    for (const [name, value] of values) this.variables.set(name, value);
    if (words.length === 0) {
      this.#status = 0;
      return;
    }
    const write = await this.#redirected(command.redirects);
    this.#status = await this.run(words, write);
    for (const [name] of values) {
      const old = before.get(name);
      if (old === undefined) this.variables.delete(name);
      else this.variables.set(name, old);
    }
  }

  async #redirected(redirects: readonly Redirect[]): Promise<Write> {
    let targets: Readonly<Record<1 | 2, (text: string) => void>> = {
      1: (text) => {
        outer(1, text);
      },
      2: (text) => {
        outer(2, text);
      },
    };
    const outer = this.#write;
    for (const { stream, append, to } of redirects) {
      if (to === undefined) targets = { ...targets, [stream]: targets[stream === 1 ? 2 : 1] };
      else {
        const path = await this.#oneWord(to);
        targets = { ...targets, [stream]: writer(this, path, append) };
      }
    }
    return (stream, text) => {
      targets[stream](text);
    };
  }

  async #words(words: readonly Word[]): Promise<readonly string[]> {
    const found: string[] = [];
    for (const word of words) {
      const text = await this.#oneWord(word);
      if (word.some(({ quoted }) => quoted)) found.push(text);
      else if (word.some((part) => part.text.includes('$')))
        found.push(...text.split(/\s+/).filter((each) => each !== ''));
      else found.push(text);
    }
    return found;
  }

  async #oneWord(word: Word): Promise<string> {
    let text = '';
    for (const part of word) text += part.expands ? await this.#expand(part.text) : part.text;
    return text;
  }

  async #expand(text: string): Promise<string> {
    let found = '';
    let at = 0;
    while (at < text.length) {
      if (text.startsWith('$((', at)) {
        const end = substitutionEnd(text, at + 2);
        found += String(this.#arithmetic(await this.#expand(text.slice(at + 3, end - 2))));
        at = end;
      } else if (text.startsWith('$(', at)) {
        const end = substitutionEnd(text, at + 2);
        found += await this.#output(text.slice(at + 2, end - 1));
        at = end;
      } else {
        const variable = /^\$(?:\{(?<braced>\w+)\}|(?<bare>\w+|\?|@))/.exec(text.slice(at));
        if (variable) {
          found += this.#variable(variable.groups?.['braced'] ?? variable.groups?.['bare'] ?? '');
          at += variable[0].length;
        } else found += text[at++] ?? '';
      }
    }
    return found;
  }

  #variable(name: string): string {
    if (name === '?') return String(this.#status);
    if (name === '@') return this.#arguments.join(' ');
    if (/^\d$/.test(name)) return this.#arguments[Number(name)] ?? '';
    return this.variables.get(name) ?? '';
  }

  async #output(script: string): Promise<string> {
    let text = '';
    const child = new Shell(this.around, new Map(this.variables), (stream, more) => {
      if (stream === 1) text += more;
      else this.#write(stream, more);
    });
    try {
      this.#status = await child.script(script, this.#arguments);
    } catch (thrown) {
      if (!(thrown instanceof Exit)) throw thrown;
      this.#status = thrown.status;
    }
    return text.replace(/\n+$/, '');
  }

  #arithmetic(text: string): number {
    const match = /^\s*(?<a>\w*)\s*(?:(?<op>[-+*%])\s*(?<b>\w+))?\s*$/.exec(text);
    if (!match?.groups) throw new Error(`arithmetic not understood: ${text}`);
    const value = (word: string | undefined): number =>
      Number(/^\d+$/.test(word ?? '') ? word : this.#variable(word ?? '') || 0);
    const [a, b] = [value(match.groups['a']), value(match.groups['b'])];
    switch (match.groups['op']) {
      case undefined:
        return a;
      case '+':
        return a + b;
      case '-':
        return a - b;
      case '*':
        return a * b;
      case '%':
        return a % b;
      default:
        return a;
    }
  }
}
