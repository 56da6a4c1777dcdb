import { defineConfig } from "vitest/config";
import type { Reporter, Vitest } from "vitest/node";

const quick = process.env.HOLDFAST_MUTANTS_UNDER;

/** A mutant can keep a test file from loading. The file then has no test that fails: the reporter adds one. */
class Loading implements Reporter {
  #vitest: Vitest | undefined;
  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }
  onTestRunEnd(): void {
    for (const file of this.#vitest?.state.getFiles() ?? []) {
      if (file.result?.state !== "fail" || file.tasks.length > 0) continue;
      const { errors = [] } = file.result;
      const result = { state: "fail" as const, errors };
      const timeout = 0;
      const annotations = { annotations: [], artifacts: [] };
      file.tasks.push({
        ...file,
        ...annotations,
        type: "test",
        name: "loads",
        suite: file,
        file,
        context: {} as never,
        timeout,
        result,
      });
    }
  }
}

/** The tests that mutants run under: those of one file; or, for mutants that they miss, all quick tests and the kit on memory. */
export default defineConfig({
  test: {
    include: quick
      ? [quick]
      : [
          "test/stores/**/*.rules.test.ts",
          "test/corridor/run.test.ts",
          "test/kernel/host/held-lease.test.ts",
          "test/conformance/memory.test.ts",
        ],
    environment: "node",
    // A mutant often makes a test wait forever.
    testTimeout: quick ? 5_000 : 60_000,
    reporters: [new Loading()],
  },
});
