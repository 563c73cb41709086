import { randomBytes } from 'node:crypto';
import { link, mkdir, readdir, readlink, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { systemCode } from '../error.ts';
import { ask, listenAt } from './instance.ts';
import type { Holder, Listening } from './instance.ts';

const attempts = 16;

/**
 * A lock that one process of a network namespace can have: a unix socket in a folder that only its owner may write to, so
 * that no other user can take it. What a killed process has left is found to be nobody's, since nobody listens there.
 */
export class InstanceLock {
  readonly #listening: Listening;
  readonly #path: string;

  private constructor(listening: Listening, path: string) {
    this.#listening = listening;
    this.#path = path;
  }

  /**
   * The lock, or who has it. `says`: what others are told, one line. Rejects where the folder cannot be used, as the system
   * does, or where others may write to it.
   */
  static async take(folder: string, name: string, says: string): Promise<InstanceLock | Holder> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await expectOwnFolder(folder);
    const own = join(folder, `.${randomBytes(4).toString('hex')}.sock`);
    const listening = await listenAt(own, says);
    if (listening === undefined) throw new Error(`${own} is taken`);
    try {
      const line = new Line(folder, `${name}-${await networkNumber()}`);
      const answer = await line.stand(own);
      if (typeof answer === 'string') return new InstanceLock(listening, answer);
      listening.close();
      return answer;
    } catch (error) {
      listening.close();
      throw error;
    } finally {
      await rm(own, { force: true });
    }
  }

  /** Others may have the lock now. */
  async release(): Promise<void> {
    await rm(this.#path, { force: true });
    this.#listening.close();
  }
}

/**
 * The sockets of those who had the lock, numbered: `userspace-4026531840.2.sock`. Whoever finds nobody at the last one takes the
 * next number, which one alone can have, and removes those before it. To remove the last one first would be to remove
 * that of somebody who has just found the same.
 */
class Line {
  readonly #folder: string;
  readonly #name: string;

  constructor(folder: string, name: string) {
    this.#folder = folder;
    this.#name = name;
  }

  /** The path at which the socket stands now, or who has the lock. */
  async stand(socket: string): Promise<string | Holder> {
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const last = (await this.#numbers()).at(-1) ?? 0;
      const holder = last === 0 ? undefined : await ask(this.#pathOf(last));
      if (holder !== undefined) return holder;
      const path = this.#pathOf(last + 1);
      if (!(await isLinked(socket, path))) continue;
      const others = (await this.#numbers()).filter((number) => number !== last + 1);
      // It was long ago that the last one was looked for.
      const isLate = others.some((number) => number > last);
      const gone = isLate ? [path] : others.map((number) => this.#pathOf(number));
      for (const each of gone) await rm(each, { force: true });
      if (!isLate) return path;
    }
    throw new Error(`${this.#pathOf(1)} is neither free nor answers`);
  }

  /** In order. */
  async #numbers(): Promise<readonly number[]> {
    const names = await readdir(this.#folder);
    return names
      .map((each) => each.split('.'))
      .filter(([name, number, end]) => name === this.#name && number && end === 'sock')
      .map(([, number]) => Number(number))
      .toSorted((a, b) => a - b);
  }

  #pathOf(number: number): string {
    return join(this.#folder, `${this.#name}.${number}.sock`);
  }
}

async function isLinked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Rejects where others may write to a folder of theirs or ours. */
export async function expectOwnFolder(folder: string): Promise<void> {
  const { uid, mode } = await stat(folder);
  const own = process.getuid?.() ?? uid;
  if (uid !== own && uid !== 0) throw new Error(`${folder} belongs to user ${uid}`);
  if ((mode & 0o022) !== 0) throw new Error(`others may write to ${folder}`);
}

/** Of the network namespace; 0 where it cannot be told. */
async function networkNumber(): Promise<string> {
  const text = await readlink('/proc/self/ns/net').catch(() => '');
  return /\d+/.exec(text)?.[0] ?? '0';
}
