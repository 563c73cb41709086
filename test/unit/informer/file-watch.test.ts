// One file is followed by looks at it: time and the file system are the test's own.
import { describe, expect, it } from 'vitest';

import { FileWatch } from '../../../src/informer/file-watch.ts';
import type { FileContent } from '../../../src/informer/file-watch.ts';
import type { LinkedFile } from '../../../src/informer/linked-file.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { VirtualClock, settle } from '../proxy/virtual-clock.ts';

const path = '/etc/switchyard/config.conf';

/** A file that a test writes, and a watch on it that hears what the test says. */
class Stage {
  readonly clock = new VirtualClock();
  readonly told: string[] = [];
  readonly #stop = new AbortController();
  readonly #watch: FileWatch;
  readonly #running: Promise<void>;
  #text: string | undefined = 'one';
  #version = 0;
  #realPath = path;
  /** Called while the file is read: somebody may write meanwhile. */
  whileReading: () => void = () => {};

  constructor() {
    this.clock.setDate(1_000_000);
    this.#watch = new FileWatch({
      path,
      known: 'one',
      clock: this.clock,
      log: silentLog,
      onContent: (content) => void this.told.push(textOf(content)),
      files: {
        find: async () => this.#look(),
        read: async () => {
          const text = this.#text ?? '';
          this.whileReading();
          return text;
        },
      },
    });
    this.#running = this.#watch.run(this.#stop.signal);
  }

  #look(): LinkedFile {
    const directories = new Map<string, string>();
    if (this.#text === undefined) return { file: { missing: 'no such file' }, directories };
    const file = {
      path,
      fingerprint: String(this.#version),
      modifiedAtMs: 0,
      realPath: this.#realPath,
      regular: true,
    };
    return { file, directories };
  }

  write(text: string | undefined, heard: readonly string[] = []): void {
    this.#text = text;
    this.#version++;
    for (const event of heard) this.#watch.heard(event, path);
  }

  swap(text: string): void {
    this.#realPath = `/etc/switchyard/..${this.#version}/config.conf`;
    this.write(text);
    this.#watch.heard('rename', '/etc/switchyard/..data');
  }

  ask(): void {
    this.#watch.ask();
  }

  /** What was told by the time that so much of it has gone by. */
  async after(ms: number): Promise<readonly string[]> {
    await settle();
    await this.clock.advance(ms);
    return this.told.splice(0);
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

function textOf(content: FileContent): string {
  return content.kind === 'text' ? content.text : `missing: ${content.reason}`;
}

/** Whatever happens, nothing is told twice: what is told a minute later is given back. */
async function onStage(act: (stage: Stage) => Promise<void>): Promise<readonly string[]> {
  const stage = new Stage();
  await act(stage);
  const late = await stage.after(60_000);
  await stage.end();
  return late;
}

describe('a watched file', () => {
  it('is not told as it was known', async () => {
    expect(await onStage(async () => {})).toEqual([]);
  });

  it('is told at once when a link of its path is swapped, and once', async () => {
    const late = await onStage(async (stage) => {
      await stage.after(1000);
      stage.swap('two');
      expect(await stage.after(50)).toEqual(['two']);
      stage.swap('three');
      stage.swap('four');
      expect(await stage.after(500)).toEqual(['four']);
    });
    expect(late).toEqual([]);
  });

  it('is told at once when it is renamed over', async () => {
    const late = await onStage(async (stage) => {
      await stage.after(1000);
      stage.write('two', ['rename', 'rename']);
      expect(await stage.after(50)).toEqual(['two']);
    });
    expect(late).toEqual([]);
  });

  it('that is written in place is told when it has been still for two seconds', async () => {
    const late = await onStage(async (stage) => {
      await stage.after(1000);
      stage.write('', ['change']);
      expect(await stage.after(1000)).toEqual([]);
      stage.write('two: half', ['change']);
      expect(await stage.after(1500)).toEqual([]);
      stage.write('two: whole', ['change']);
      expect(await stage.after(1900)).toEqual([]);
      expect(await stage.after(200)).toEqual(['two: whole']);
    });
    expect(late).toEqual([]);
  });

  it('is seen without a word of the file system, too', async () => {
    const late = await onStage(async (stage) => {
      stage.write('two');
      expect(await stage.after(7100)).toEqual(['two']);
    });
    expect(late).toEqual([]);
  });

  it('that is deleted and written again meanwhile is not told as missing', async () => {
    const late = await onStage(async (stage) => {
      await stage.after(1000);
      stage.write(undefined, ['rename']);
      expect(await stage.after(1900)).toEqual([]);
      stage.write('two', ['rename']);
      expect(await stage.after(50)).toEqual(['two']);
    });
    expect(late).toEqual([]);
  });

  it('that is gone is told as missing once, and told again when it is back as it was', async () => {
    const late = await onStage(async (stage) => {
      await stage.after(1000);
      stage.write(undefined, ['rename']);
      expect(await stage.after(60_000)).toEqual(['missing: no such file']);
      stage.write('one', ['rename']);
      expect(await stage.after(50)).toEqual(['one']);
    });
    expect(late).toEqual([]);
  });

  it('is not believed where somebody writes while it is read', async () => {
    const late = await onStage(async (stage) => {
      await stage.after(1000);
      stage.whileReading = () => {
        stage.whileReading = () => {};
        stage.write('three', ['change']);
      };
      stage.swap('two');
      expect(await stage.after(1900)).toEqual([]);
      expect(await stage.after(500)).toEqual(['three']);
    });
    expect(late).toEqual([]);
  });

  it('that is touched or rewritten as it was is not told', async () => {
    const late = await onStage(async (stage) => {
      await stage.after(1000);
      stage.write('one', ['change']);
      stage.swap('one');
    });
    expect(late).toEqual([]);
  });

  it('is told to whoever asks, whatever it holds', async () => {
    const late = await onStage(async (stage) => {
      await stage.after(1000);
      stage.ask();
      expect(await stage.after(50)).toEqual(['one']);
      stage.write('two', ['change']);
      await stage.after(100);
      stage.ask();
      expect(await stage.after(50)).toEqual(['two']);
      stage.write(undefined, ['rename']);
      stage.ask();
      expect(await stage.after(50)).toEqual(['missing: no such file']);
    });
    expect(late).toEqual([]);
  });
});
