/** Where a worker thread's program is. The build puts the program itself in the place of this file's: scripts/build.ts. */
export const workerSource = new URL('worker-main.ts', import.meta.url);
