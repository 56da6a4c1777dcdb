import { expect, it } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { hold } from "../../../src/kernel/host/web-lock.js";
import type { Locks } from "../../../src/ports/locks.js";

it("does not keep a lock that is granted when nobody waits for it any more", async () => {
  const clock = manualClock();
  let grant = (): unknown => undefined;
  const late = {
    request: (_name: string, _options: unknown, granted: () => unknown) => {
      grant = granted;
      return new Promise(() => {});
    },
  } as unknown as Locks;
  const held = hold(late, "n", clock, 100);
  await clock.advance(100);
  (await held)();
  expect(grant()).toBeUndefined();
});

it("keeps a lock until it is let go", async () => {
  let kept: unknown;
  const locks = {
    request: async (_name: string, _options: unknown, granted: () => unknown) => {
      kept = granted();
      await kept;
    },
  } as unknown as Locks;
  const release = await hold(locks, "n", manualClock(), 100);
  let isFree = false;
  void Promise.resolve(kept).then(() => {
    isFree = true;
  });
  await Promise.resolve();
  expect(isFree).toBe(false);
  release();
  await kept;
  expect(isFree).toBe(true);
});
