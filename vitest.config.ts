import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/vm/sequence.ts';

/** One project a test layer (CONTRIBUTING.md): what it needs decides where a file lies. */
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          isolate: false,
          // Properties take ten seconds, and many times that where others have the processors.
          testTimeout: 180_000,
        },
      },
      {
        test: {
          name: 'kernel',
          include: ['test/kernel/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          // In a network namespace of its own: package.json.
          name: 'relay',
          include: ['test/relay/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          // In the guest of test/vm/main.ts: some ten times slower than here. One file at a time: the kernel tells the virtual
          // servers of one network namespace wrong while another has some, too (docs/adr/0008-ipvs-layout.md).
          name: 'vm',
          include: ['test/vm/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          maxWorkers: 1,
          isolate: false,
          // A guest without a processor of its own stands still for seconds now and then.
          retry: 1,
        },
      },
      {
        test: {
          // Outside of a guest that systemd runs in; each file boots one of its own.
          name: 'systemd',
          include: ['test/systemd/**/*.test.ts'],
          testTimeout: 900_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          // In the sandbox of test/kubelet/main.ts; what is there once (bridge, addresses) is one file's at a time.
          name: 'kubelet',
          include: ['test/kubelet/**/*.test.ts'],
          // Scenarios of the contract, which mostly wait.
          maxConcurrency: 12,
          // Nodes, containerd and a control plane share the machine's processors: one of them is late now and then.
          retry: 1,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'upstream',
          include: ['test/upstream/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
