import { expect, it } from "vitest";
import { manualClock } from "../../../../src/adapters/clock-manual.js";
import { createRunWaits } from "../../../../src/kernel/process/waits/run-waits.js";

it("sets no timer for a wait that is due and looks at what is stored", async () => {
  const manual = manualClock();
  let timers = 0;
  const setTimer: typeof manual.setTimer = (...given) => {
    timers++;
    return manual.setTimer(...given);
  };
  const clock = { ...manual, setTimer };
  const waits = createRunWaits({
    clock,
    waiting: (wait) => wait(),
    stopped: new AbortController().signal,
    cancelled: new AbortController().signal,
    onChange: () => {},
  });
  let end: (answer: { answer: string }) => void = () => {};
  const looks = [async () => undefined, () => new Promise<{ answer: string }>((resolve) => (end = resolve))];
  const wait = waits.until({ kind: "timer", key: "t", dueAtMs: manual.now() + 10 }, () => looks.shift()?.() ?? Promise.reject());
  await manual.advance(10);
  const before = timers;
  for (let n = 0; n < 20; n++) await manual.advance(1);
  expect(timers).toBe(before);
  end({ answer: "over" });
  expect(await wait).toBe("over");
});
