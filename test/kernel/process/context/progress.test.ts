import { expect, it } from "vitest";
import { manualClock } from "../../../../src/adapters/clock-manual.js";
import { DEFAULT_LIMITS } from "../../../../src/domain/time.js";
import { createProgress } from "../../../../src/kernel/process/context/progress.js";

type Parts = Parameters<typeof createProgress>[0];

it("is stored also after a flush that the run outlived, as before a suspension that was refused", async () => {
  const stored: unknown[] = [];
  const clock = manualClock();
  const corridor = { run: async (_: unknown, { progress }: { progress: unknown }) => stored.push(progress) };
  const heldLease = { write: (write: (lease: unknown) => unknown) => write({}) };
  const progress = createProgress({ clock, corridor, heldLease, limits: DEFAULT_LIMITS } as unknown as Parts);
  progress.report(1, undefined, undefined);
  await progress.flush();
  progress.report(2, undefined, undefined);
  await clock.advance(1_000);
  expect(stored).toEqual([{ done: 1 }, { done: 2 }]);
});
