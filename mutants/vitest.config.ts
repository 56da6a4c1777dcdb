import { defineConfig } from "vitest/config";
import type { Reporter, Vitest } from "vitest/node";

const quick = process.env.HOLDFAST_MUTANTS_UNDER;

/** A test file that a mutant keeps from loading has no tests, and so none that fails: told as an error, it counts. */
class Loading implements Reporter {
  #vitest: Vitest | undefined;
  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }
  onTestRunStart(): void {
    this.#vitest?.state.errorsSet.clear();
  }
  onTestModuleEnd(module: Parameters<NonNullable<Reporter["onTestModuleEnd"]>>[0]): void {
    for (const error of module.errors()) this.#vitest?.state.catchError(error, "the file does not load");
  }
}

/** The tests that mutants are planted under: those of one file alone, or, for what they miss, all that run quickly and the kit on memory. */
export default defineConfig({
  test: {
    include: quick
      ? [quick]
      : ["test/rules/*.test.ts", "test/kernel/run.test.ts", "test/kernel/tenure.test.ts", "test/conformance/memory.test.ts"],
    environment: "node",
    testTimeout: 60_000,
    reporters: [new Loading()],
  },
});
