import type { ServerResponse } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';

/** So much is made in one go; the agent's own work comes in between. */
const pieceCharacters = 64 * 1024;

/** Writes lines as fast as they are read; rejects where the reader goes away. What is not read is not made. */
export async function writeLines(response: ServerResponse, lines: Iterable<string>): Promise<void> {
  let piece = '';
  for (const line of lines) {
    piece += `${line}\n`;
    if (piece.length < pieceCharacters) continue;
    await write(response, piece);
    piece = '';
  }
  response.end(piece);
}

async function write(response: ServerResponse, piece: string): Promise<void> {
  if (response.destroyed) throw new Error('the reader is gone');
  if (response.write(piece)) {
    await turn();
    return;
  }
  await new Promise<void>((resolve, reject) => {
    const settle = (done: () => void) => (): void => {
      response.off('drain', drained);
      response.off('close', closed);
      done();
    };
    const drained = settle(resolve);
    const closed = settle(() => reject(new Error('the reader is gone')));
    response.once('drain', drained);
    response.once('close', closed);
  });
}
