import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import * as esbuild from 'esbuild';

/**
 * Packs Graphviz, half of the bundle, for the few who draw: V8 keeps the source of the whole file as long as
 * the agent runs, though it never draws.
 */
const packGraphviz: esbuild.Plugin = {
  name: 'pack-graphviz',
  setup(build) {
    build.onLoad({ filter: /@viz-js\/viz\/dist\/viz\.js$/ }, async ({ path }) => {
      const packed = brotliCompressSync(await readFile(path)).toString('base64');
      const contents = `
        import { brotliDecompressSync } from 'node:zlib';
        export const instance = async () => {
          const source = brotliDecompressSync(Buffer.from(${JSON.stringify(packed)}, 'base64'));
          const url = 'data:text/javascript;base64,' + source.toString('base64');
          const viz = await import(url);
          return viz.instance();
        };`;
      return { contents, loader: 'js' };
    });
  },
};

/**
 * Takes of undici what is used, and what only a URL source needs when there is one: its index loads all of it, 100 modules and a fetch,
 * caches, sockets and stand-ins for tests among them, and V8 keeps their source.
 */
const leanUndici: esbuild.Plugin = {
  name: 'lean-undici',
  setup(build) {
    build.onLoad({ filter: /\/undici\/index\.js$/ }, ({ path }) => ({
      contents: `
        const Dispatcher = require('./lib/dispatcher/dispatcher');
        const util = require('./lib/core/util');
        const api = require('./lib/api');
        Object.assign(Dispatcher.prototype, api);
        exports.Agent = require('./lib/dispatcher/agent');
        exports.ProxyAgent = require('./lib/dispatcher/proxy-agent');
        exports.buildConnector = require('./lib/core/connect');
        exports.request = (to, { dispatcher, method = 'GET', ...rest }) => {
          const { origin, pathname, search } = util.parseURL(to);
          return api.request.call(dispatcher, { ...rest, method, origin, path: pathname + search });
        };
        const ofFetch = (name, load) => Object.defineProperty(exports, name, { enumerable: true, get: load });
        ofFetch('fetch', () => require('./lib/web/fetch').fetch);
        ofFetch('Headers', () => require('./lib/web/fetch/headers').Headers);`,
      loader: 'js',
      resolveDir: dirname(path),
    }));
  },
};

/**
 * A worker thread's program goes into the bundle as text: threads are started from it, and load nothing else. Notes the files it
 * is made of.
 */
const carryWorker = (inputs: Set<string>): esbuild.Plugin => ({
  name: 'carry-worker',
  setup(build) {
    build.onLoad({ filter: /src\/relay\/worker-source\.ts$/ }, async () => {
      const { outputFiles, metafile } = await esbuild.build({
        entryPoints: ['src/relay/worker-main.ts'],
        write: false,
        bundle: true,
        metafile: true,
        platform: 'node',
        format: 'esm',
        target: 'node24',
        minifyWhitespace: true,
        minifySyntax: true,
      });
      for (const input of Object.keys(metafile.inputs)) inputs.add(input);
      const program = JSON.stringify(outputFiles[0]?.text);
      const contents = `
        export const workerSource = new URL('data:text/javascript,' + encodeURIComponent(${program}));`;
      return { contents, loader: 'js' };
    });
  },
});

const builtin = 'builtin';

/**
 * Takes Node's own modules by `process.getBuiltinModule`. As an imported module, one shows all its names as values, so that each getter
 * behind them is called when it is loaded: those of node:http load Node's own fetch, 12 MiB of resident memory that nothing here uses.
 */
const builtinsAsTheyAre: esbuild.Plugin = {
  name: 'builtins-as-they-are',
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path, kind }) =>
      kind === 'import-statement' ? { path, namespace: builtin } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: builtin }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
      loader: 'js',
    }));
  },
};

/**
 * Makes one file of a program and all it imports, which runs on Node 24 without node_modules. Answers the files it is made of,
 * as paths in the checkout. `interpreter`: for a system without `env`.
 */
export async function bundle(
  entry: string,
  outfile: string,
  interpreter = '/usr/bin/env node',
): Promise<readonly string[]> {
  const inputs = new Set<string>();
  const { metafile } = await esbuild.build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    metafile: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    sourcemap: true,
    legalComments: 'none',
    // V8 keeps the source as long as the program runs. Names stay: stack traces are read by people.
    minifyWhitespace: true,
    minifySyntax: true,
    logLevel: 'warning',
    inject: ['src/kubelet/cri/plain-headers.ts'],
    plugins: [packGraphviz, leanUndici, carryWorker(inputs), builtinsAsTheyAre],
    // CommonJS packages call `require`, which a module does not have.
    banner: {
      js: `#!${interpreter}\nimport{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);`,
    },
  });
  const files = Object.keys(metafile.inputs).filter((input) => !input.startsWith(`${builtin}:`));
  return [...new Set([...inputs, ...files])].toSorted();
}
