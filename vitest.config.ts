import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          // Some start processes of their own, on machines that build beside them.
          testTimeout: 20_000,
          include: [
            'libs/**/*.test.ts',
            'services/**/*.test.ts',
            'bench/**/*.test.ts',
            'test/*.test.ts',
            'test/simulation/**/*.test.ts',
            'test/mutations/**/*.test.ts',
            'test/support/**/*.test.ts',
          ],
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'conformance',
          include: ['test/conformance/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'distributed',
          include: ['test/distributed/**/*.test.ts'],
          env: { CONFORMANCE_TARGET: 'cluster' },
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
