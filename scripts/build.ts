// `npm run build`: the program, for Node 24 without node_modules: one file, and beside it those that it loads on demand.
// usage: npm run build [-- FILE]   (dist/switchyard.mjs)
import process from 'node:process';
import { bundle } from './bundle.ts';

await bundle('src/cli/main.ts', process.argv[2] ?? 'dist/switchyard.mjs');
