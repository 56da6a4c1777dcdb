import { defineConfig } from "vitest/config";
import type { Reporter, Vitest } from "vitest/node";

const quick = process.env.HOLDFAST_MUTANTS_UNDER;

/** A test file that a mutant keeps from loading has no tests, and so none that fails: it gets one. */
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

/** The tests that mutants are planted under: those of one file alone, or, for what they miss, all that run quickly and the kit on memory. */
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
    // A mutant often leaves a test waiting for ever.
    testTimeout: quick ? 5_000 : 60_000,
    reporters: [new Loading()],
  },
});
