// `npm run build`: one file that runs on Node 24 without node_modules.
// usage: npm run build [-- FILE]   (dist/switchyard.mjs)
import process from 'node:process';
import { bundle } from './bundle.ts';

await bundle('src/cli/main.ts', process.argv[2] ?? 'dist/switchyard.mjs');
