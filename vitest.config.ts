import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const fromRoot = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Tests run against the sdk's source, so that they need no build; third-party plugins meet it as a package. */
const alias = [
  { find: /^@loxilb\/sdk$/, replacement: fromRoot('sdk/src/index.ts') },
  { find: /^@loxilb\/sdk\/command$/, replacement: fromRoot('sdk/src/command-line.ts') },
  { find: /^@loxilb\/sdk\/testing$/, replacement: fromRoot('sdk/src/testing/index.ts') },
];

const everyProject = {
  setupFiles: [fromRoot('test/setup.ts')],
  pool: 'forks' as const,
  // What is polled for comes at once, or late on a machine that has other things to do.
  expect: { poll: { timeout: 15_000 } },
};

/**
 * Levels that load programs or make namespaces: one file at a time, since 10 tests that share two cores measure each
 * other. `order` keeps vitest from mixing them when several projects run in one go.
 */
function privileged(name: string, include: string[], order: number, testTimeout: number) {
  return {
    resolve: { alias },
    test: {
      ...everyProject,
      name,
      include,
      testTimeout,
      hookTimeout: 120_000,
      maxWorkers: 1,
      fileParallelism: false,
      sequence: { groupOrder: order, concurrent: false },
    },
  };
}

export default defineConfig({
  test: {
    projects: [
      {
        resolve: { alias },
        test: {
          ...everyProject,
          name: 'unit',
          include: ['{core,plugins,cli}/**/*.test.ts', 'sdk/{src,examples}/**/*.test.ts'],
          exclude: ['**/*.kernel.test.ts', '**/node_modules/**', '**/dist/**'],
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        resolve: { alias },
        test: {
          ...everyProject,
          name: 'conformance',
          include: ['test/conformance/**/*.test.ts'],
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      privileged('kernel', ['core/**/*.kernel.test.ts'], 1, 60_000),
      privileged('bpf', ['test/bpf/**/*.test.ts'], 2, 60_000),
      privileged('model', ['test/model/**/*.test.ts'], 3, 60_000),
      privileged('integration', ['test/integration/**/*.test.ts'], 4, 180_000),
      privileged('readme', ['test/readme/**/*.test.ts'], 5, 180_000),
    ],
  },
});
