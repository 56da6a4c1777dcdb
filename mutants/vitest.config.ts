import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The kit takes longest and finds what is left: it comes last. */
class QuickFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => Number(moduleId.includes("/kernel/")) + 2 * Number(moduleId.includes("/conformance/"));
    return [...files].sort((one, other) => rank(one) - rank(other) || one.moduleId.localeCompare(other.moduleId));
  }
}

/** The tests that mutants are planted under. */
export default defineConfig({
  test: {
    include: ["test/rules/*.test.ts", "test/kernel/run.test.ts", "test/kernel/tenure.test.ts", "test/conformance/memory.test.ts"],
    environment: "node",
    testTimeout: 60_000,
    sequence: { sequencer: QuickFirst },
  },
});
