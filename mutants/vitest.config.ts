import { defineConfig } from "vitest/config";

const quick = process.env.HOLDFAST_MUTANTS_UNDER;

/** The tests that mutants are planted under: those of one file alone, or, for what they miss, all that run quickly and the kit on memory. */
export default defineConfig({
  test: {
    include: quick
      ? [quick]
      : ["test/rules/*.test.ts", "test/kernel/run.test.ts", "test/kernel/tenure.test.ts", "test/conformance/memory.test.ts"],
    environment: "node",
    testTimeout: 60_000,
  },
});
