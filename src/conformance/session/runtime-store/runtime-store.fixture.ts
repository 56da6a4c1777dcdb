import type { RuntimeStore } from "../../../kernel/runtime-store.js";
import { casesOn, type OpenFixture, type Runner } from "../../kit/fixture.js";
import { RUNTIME, readRuntimes, snapshot } from "../runtime.fixture.js";

export const OTHER = "rt:session:other";
export const DELTA = snapshot({ id: "s", messages: [{ role: "user", content: "hello" }] });

export function runtimeCasesOn(open: OpenFixture, runner: Runner) {
  const { promise } = casesOn(open, runner);
  return {
    promise,
    /** Fails when any read shows another value after `work`. */
    async changesNothing(runtime: RuntimeStore, work: () => Promise<void>): Promise<void> {
      const before = await readRuntimes(runtime, [RUNTIME, OTHER]);
      await work();
      runner.expect(await readRuntimes(runtime, [RUNTIME, OTHER])).toEqual(before);
    },
  };
}

export const idsIn = async (runtime: RuntimeStore) => (await runtime.loadInputStates(RUNTIME)).map(({ inputId }) => inputId);
