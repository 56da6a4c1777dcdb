import { describe, expect, it } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { heldLocks, isFree } from "../../../src/kernel/host/held-locks.js";
import { hold, holdIfFree } from "../../../src/kernel/host/web-lock.js";
import type { Locks } from "../../../src/ports/locks.js";
import { lockService } from "../../loop/locks-double.js";
import { rounds } from "../rounds.js";

it("does not keep a lock that is granted when no caller waits for it any more", async () => {
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

/** A lock service that fails, at once or a moment later. */
const FAILING = {
  "at once": () => {
    throw new Error("the service is down");
  },
  "a moment later": () => Promise.reject(new Error("the service is down")),
};

function failing(how: keyof typeof FAILING): Locks {
  return { request: FAILING[how], query: FAILING[how] } as unknown as Locks;
}

describe("a lock that is waited for", () => {
  it("is held by one at a time, until it is let go", async () => {
    const service = lockService();
    const clock = manualClock();
    const order: string[] = [];
    const release = await hold(service.client("a"), "n", clock, 1_000);
    const other = hold(service.client("b"), "n", clock, 1_000).then((release) => {
      order.push("b holds it");
      release();
    });
    await rounds();
    order.push("a lets it go");
    release();
    await other;
    expect(order).toEqual(["a lets it go", "b holds it"]);
  });

  it("is waited for as long as it was said, and its request is taken back then", async () => {
    const service = lockService();
    const clock = manualClock();
    const a = service.client("a");
    await hold(a, "n", clock, 1_000);
    let goesOn = false;
    const late = hold(service.client("b"), "n", clock, 1_000).then((release) => {
      goesOn = true;
      return release;
    });
    await clock.advance(999);
    expect(goesOn).toBe(false);
    expect((await a.query()).pending).toHaveLength(1);
    await clock.advance(1);
    expect((await late)()).toBeUndefined();
    expect((await a.query()).pending).toEqual([]);
  });

  it("is kept for longer than a wait for it may take", async () => {
    const a = lockService().client("a");
    const clock = manualClock();
    const release = await hold(a, "n", clock, 1_000);
    await clock.advance(5_000);
    expect(await isFree(a, "n")).toBe(false);
    release();
    await rounds();
    expect(await isFree(a, "n")).toBe(true);
  });

  it.each(["at once", "a moment later"] as const)("is gone without where the service fails %s", async (how) => {
    const release = await hold(failing(how), "n", manualClock(), 1_000);
    expect(release()).toBeUndefined();
  });

  it("is gone without where there is no service", async () => {
    const release = await hold(undefined, "n", manualClock(), 1_000);
    expect(release()).toBeUndefined();
  });

  it("leaves no timer behind, however it ended", async () => {
    for (const locks of [lockService().client("a"), failing("at once"), failing("a moment later"), undefined]) {
      const timers = new Set<() => void>();
      const clock = {
        ...manualClock(),
        setTimer(run: () => void) {
          timers.add(run);
          return () => timers.delete(run);
        },
      };
      (await hold(locks, "n", clock, 1_000))();
      expect(timers.size).toBe(0);
    }
  });
});

describe("a lock that is held only if it is free", () => {
  it("is held until it is let go, and nothing is had meanwhile", async () => {
    const service = lockService();
    const [a, b] = [service.client("a"), service.client("b")];
    const release = await holdIfFree(a, "n");
    expect(await isFree(b, "n")).toBe(false);
    expect(await holdIfFree(b, "n")).toBeUndefined();
    expect(await holdIfFree(a, "n")).toBeUndefined();
    release?.();
    await rounds();
    expect(await isFree(b, "n")).toBe(true);
    expect(await holdIfFree(b, "n")).toBeTypeOf("function");
  });

  it.each(["at once", "a moment later"] as const)("is gone without where the service fails %s", async (how) => {
    const release = await holdIfFree(failing(how), "n");
    expect(release?.()).toBeUndefined();
    expect(release).toBeTypeOf("function");
  });

  it("is gone without where there is no service", async () => {
    const release = await holdIfFree(undefined, "n");
    expect(release).toBeTypeOf("function");
    expect(release?.()).toBeUndefined();
  });
});

describe("what is known of locks", () => {
  const answering = (answer: unknown) => ({ query: async () => answer }) as unknown as Locks;

  it("is the names of those that are held, not of those that are asked for", async () => {
    const service = lockService();
    const clock = manualClock();
    await hold(service.client("a"), "one", clock, 1_000);
    await hold(service.client("b"), "two", clock, 1_000);
    void hold(service.client("b"), "one", clock, 1_000);
    expect(await heldLocks(service.client("c"))).toEqual(new Set(["one", "two"]));
    expect(await heldLocks(answering({ held: [{ name: "one" }, {}], pending: [{ name: "two" }] }))).toEqual(new Set(["one"]));
    expect(await heldLocks(answering({ held: [] }))).toEqual(new Set());
  });

  it("is that one is free where the service says who holds what, and it is not among them", async () => {
    expect(await isFree(answering({ held: [{ name: "other" }] }), "n")).toBe(true);
    expect(await isFree(answering({ held: [{ name: "n" }] }), "n")).toBe(false);
  });

  it.each([
    ["that fails at once", failing("at once")],
    ["that fails a moment later", failing("a moment later")],
    ["that does not say", answering({})],
    ["that says nothing", answering(undefined)],
    ["that is none", undefined],
  ])("is nothing of a service %s, and no lock counts as free", async (_, locks) => {
    expect(await heldLocks(locks)).toBeUndefined();
    expect(await isFree(locks, "n")).toBe(false);
  });
});
