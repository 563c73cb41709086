// `npm run build`: one file that runs on Node 24 without node_modules.
// usage: npm run build [-- FILE]   (dist/switchyard.mjs)
import process from 'node:process';
import * as esbuild from 'esbuild';

await esbuild.build({
  entryPoints: ['src/cli/main.ts'],
  outfile: process.argv[2] ?? 'dist/switchyard.mjs',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  sourcemap: true,
  legalComments: 'none',
  // V8 keeps the source as long as the program runs. Names stay: stack traces are read by people.
  minifyWhitespace: true,
  minifySyntax: true,
  logLevel: 'warning',
  // CommonJS packages call `require`, which a module does not have.
  banner: {
    js: '#!/usr/bin/env node\nimport{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);',
  },
});
