// `npm run build`: one file that runs on Node 24 without node_modules.
// usage: npm run build [-- FILE]   (dist/switchyard.mjs)
import { join } from 'node:path';
import process from 'node:process';
import * as esbuild from 'esbuild';

/**
 * Lets the bundler leave out what is not used of the Kubernetes client, whose package.json does not say
 * that its modules only define things. Of it only the loader of kubeconfigs is used: its generated API
 * classes would be 15 of 21 MB, and 40 MB of every agent's memory.
 */
const shakeClient: esbuild.Plugin = {
  name: 'shake-client',
  setup(build) {
    const client = '@kubernetes/client-node';
    const inside = `/node_modules/${client}/`;
    build.onResolve({ filter: /^@kubernetes\// }, async ({ path, pluginData, ...from }) => {
      if (path !== client || pluginData === shakeClient) return undefined;
      const found = await build.resolve(path, { ...from, pluginData: shakeClient });
      return { ...found, sideEffects: false };
    });
    build.onResolve({ filter: /^\..*\.js$/ }, ({ path, importer, resolveDir }) =>
      importer.includes(inside) ? { path: join(resolveDir, path), sideEffects: false } : undefined,
    );
  },
};

await esbuild.build({
  entryPoints: ['src/cli/main.ts'],
  outfile: process.argv[2] ?? 'dist/switchyard.mjs',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  sourcemap: true,
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [shakeClient],
  // CommonJS packages call `require`, which a module does not have.
  banner: {
    js: '#!/usr/bin/env node\nimport{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);',
  },
});
