// When a tab looks for sessions that wait, decided without a clock.
import { describe, expect, it } from "vitest";
import { runtimeIdOf } from "../../../src/domain/runtime-id.js";
import { createLookPlan } from "../../../src/kernel/session/attendance/look-plan.rules.js";
import type { Change } from "../../../src/ports/notices.js";

const [A, B] = ["a", "b"].map((id) => runtimeIdOf(id)) as [string, string];
const input = (id: string, sequence: number): Change => ({ about: "input", id, sequence });
const lease = (id: string, member: string, sequence?: number): Change => ({
  about: "lease",
  id,
  member,
  ...(sequence !== undefined && { sequence }),
});
const nothing = { found: [], held: new Map(), nextMs: undefined };

/** A plan that has looked at everything at 0; the next poll is due at 5,000. */
function plan(seen: Partial<{ waiting: object; running: object; uncounted: object }> = {}) {
  const looks = createLookPlan(5_000, 0);
  looks.begin(0);
  looks.readsAll();
  const found = { waiting: nothing, running: nothing, uncounted: undefined, ...seen };
  looks.sawAll({ ...found, pollAtMs: 5_000, surveyAtMs: 30_000 } as never, 2);
  return looks;
}
const hear = (looks: ReturnType<typeof plan>, changes: Change[], isOpen = (_: string) => false) =>
  looks.hear(changes, isOpen, () => 40);

describe("a look", () => {
  it("covers everything at first, and then at each poll", () => {
    expect(createLookPlan(5_000, 0).begin(0)).toMatchObject({ isWhole: true, isSurvey: true, findsUncounted: true });
    expect(plan().nextMs(1)).toBe(5_000);
    expect(plan().begin(4_999)).toMatchObject({ isWhole: false, isSurvey: false });
    expect(plan().begin(5_000)).toMatchObject({ isWhole: true, isSurvey: false });
    expect(plan().begin(30_000)).toMatchObject({ isWhole: true, isSurvey: true });
  });

  it("covers the sessions that were heard of, each once, at the time of the first", () => {
    const looks = plan();
    hear(looks, [input(A, 1)]);
    looks.hear(
      [input(B, 1), input(A, 2)],
      () => false,
      () => 900,
    );
    expect(looks.nextMs(1)).toBe(40);
    expect(looks.begin(40)).toMatchObject({ isWhole: false, ids: [A, B] });
    expect(looks.nextMs(1)).toBe(5_000);
  });

  it("is left to the poll while there is no free place, and comes at once when a place falls free before a backlog", () => {
    const looks = plan();
    hear(looks, [input(A, 1)]);
    expect(looks.nextMs(0)).toBe(5_000);
    looks.noPlace();
    expect(looks.nextMs(1)).toBe(0);
    expect(looks.begin(10)).toMatchObject({ isWhole: true });
  });

  it("that found as many as it asked for left a backlog, and one that failed left none", () => {
    const looks = plan({ waiting: { ...nothing, found: [{}, {}] } });
    expect(looks.hasBacklog).toBe(true);
    looks.failed(100);
    expect(looks.hasBacklog).toBe(false);
    expect(looks.nextMs(1)).toBe(5_100);
  });

  it("covers everything where notices name too many sessions", () => {
    const looks = plan();
    for (let n = 0; n < 65; n++) hear(looks, [input(runtimeIdOf(`s${n}`), 1)]);
    expect(looks.nextMs(1)).toBe(40);
    expect(looks.begin(40)).toMatchObject({ isWhole: true, ids: [] });
  });

  it("goes on with sessions of older schemas while there are some", () => {
    const looks = plan({ uncounted: { ...nothing, found: [{}] } });
    looks.counted(7);
    expect(looks.nextMs(1)).toBe(7);
    expect(looks.begin(7)).toMatchObject({ findsUncounted: true, isSurvey: false });
  });
});

describe("news", () => {
  it("of a session that this tab has open, or of a process, is no reason to look", () => {
    const looks = plan();
    hear(looks, [input(A, 1)], (id) => id === A);
    hear(looks, [lease("process", "held"), { about: "lease", id: "process" }, { about: "message", id: B } as never]);
    expect(looks.nextMs(1)).toBe(5_000);
  });

  it("of a session that another tab runs is left to that tab", () => {
    const looks = plan({ running: { ...nothing, held: new Map([[A, 9_000]]) } });
    hear(looks, [input(A, 3), lease(B, "held"), input(B, 1)]);
    expect(looks.nextMs(1)).toBe(5_000);
  });

  it("that came after all that the last owner knew of is looked at when that owner leaves", () => {
    const looks = plan();
    hear(looks, [lease(A, "held")]);
    hear(looks, [input(A, 5)]);
    hear(looks, [lease(A, "idle", 5)]);
    expect(looks.nextMs(1)).toBe(5_000);
    hear(looks, [lease(A, "held")]);
    hear(looks, [input(A, 6)]);
    hear(looks, [lease(A, "idle", 5)]);
    expect(looks.begin(40)).toMatchObject({ ids: [A] });
  });
});
