import { describe, expect, it } from 'vitest';
import { showLive } from '../../../src/cli/live-view.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

async function fail(): Promise<string> {
  throw new Error('no');
}

/** Job: what changes is shown in place, and the terminal is as before afterwards. */
describe('a view that is shown in place', () => {
  it('overwrites lines, cuts what does not fit, and gives the terminal back', async () => {
    const clock = new VirtualClock();
    const stop = new AbortController();
    const written: string[] = [];
    let round = 0;
    const screen = {
      write: (text: string) => void written.push(text),
      size: () => ({ rows: 3, columns: 10 }),
    };
    const render = async (): Promise<string> =>
      round++ === 0 ? 'one\na line that is long\n' : 'a\nb\nc\nd\n';
    const view = showLive({ clock, screen, intervalMs: 1000, render }, stop.signal);
    await clock.advance(1500);
    stop.abort();
    await view;
    expect(written).toEqual([
      '\u001B[?1049h\u001B[?25l',
      '\u001B[Hone\u001B[K\na line th…\u001B[K\u001B[J',
      '\u001B[Ha\u001B[K\nb\u001B[K\n… 2 more …\u001B[K\u001B[J',
      '\u001B[?25h\u001B[?1049l',
    ]);
  });

  it('gives the terminal back where it fails', async () => {
    const written: string[] = [];
    const screen = { write: (text: string) => void written.push(text), size: () => undefined };
    const view = showLive(
      { clock: new VirtualClock(), screen, intervalMs: 1000, render: fail },
      new AbortController().signal,
    );
    await expect(view).rejects.toThrow('no');
    expect(written.at(-1)).toBe('\u001B[?25h\u001B[?1049l');
  });
});
