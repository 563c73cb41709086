// The metrics server that top.test.ts runs as a pod: built of its Go module into the cache, with the manifests that it comes with. Only
// `npm run test:kubelet:top` builds it.
import { existsSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { buildModule, modulePlace } from '../../support/go-module.ts';
import type { ModulePrograms } from '../../support/go-module.ts';

const made: ModulePrograms = {
  release: {
    module: 'sigs.k8s.io/metrics-server',
    version: 'v0.9.0',
    sum: 'h1:nlqqZ2H0Xfko8eJC/1qaNVVT17hu4rxndkOi22KTZ4w=',
  },
  programs: ['metrics-server'],
  versionIn: 'k8s.io/client-go/pkg/version.gitVersion',
  folders: { manifests: 'manifests/base' },
};

/** Where the program and its manifests are, or will be. */
export const metricsServerFolder = modulePlace('metrics-server', made);

/** Whether they are there. */
export const hasMetricsServer = existsSync(metricsServerFolder);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problem = buildModule(metricsServerFolder, made);
  if (problem !== undefined) {
    process.stderr.write(`kubelet tests: ${problem}\n`);
    process.exit(1);
  }
  process.stdout.write(`metrics server: ${metricsServerFolder}\n`);
}
