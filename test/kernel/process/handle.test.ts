import { afterEach, describe, expect, it } from "vitest";
import { HoldfastError } from "../../../src/domain/errors.js";
import type { ProcessEvent } from "../../../src/domain/process/event.js";
import type { ProcessContext } from "../../../src/kernel/process/context/context.js";
import { probe, type Seen } from "../../stores/probe-storage.js";
import { bench, closeBenches, task } from "../hosts.js";
import { rounds } from "../rounds.js";

afterEach(closeBenches);

const outside = {
  id: "p",
  input: { type: "external" as const, metadata: null },
  eventTypes: [{ name: "tick" }, { name: "tock" }],
};
const success = (value: number) => ({ type: "success" as const, value });

/** A kernel that waits, and another one over the same storage that writes. No notice of one reaches the other. */
async function pair() {
  const here = await bench({ loop: "off" });
  const there = await bench({ loop: "off" }, { probed: probe(here.probed.storage), clock: here.clock });
  await here.kernel.processes.registerProcess(outside);
  const tick = (payload = 0, eventType = "tick") => there.kernel.processes.appendEvent("p", { eventType, payload });
  const finish = () => there.kernel.processes.completeProcess("p", success(1));
  return { ...here, there, tick, finish, processes: here.kernel.processes };
}

describe("no wake-up is lost", () => {
  const cases = {
    awaitProcess: (bed: Awaited<ReturnType<typeof pair>>) => bed.processes.awaitProcess("p"),
    result: (bed: Awaited<ReturnType<typeof pair>>) => bed.kernel.process("p").outcome(),
    waitEventAfter: (bed: Awaited<ReturnType<typeof pair>>) => bed.processes.waitEventAfter("p", "process.completed", 0),
    events: (bed: Awaited<ReturnType<typeof pair>>) => bed.kernel.process("p").events()[Symbol.asyncIterator]().next(),
  };

  it.each(Object.entries(cases))("when the write lands right after the first read: %s", async (_, wait) => {
    const bed = await pair();
    let written = false;
    bed.probed.hooks.done = async ({ mode }) => {
      if (mode !== "read" || written) return;
      written = true;
      await bed.processes.completeProcess("p", success(1));
    };
    expect(await wait(bed)).toBeDefined();
    expect(written).toBe(true);
  });

  it.each(Object.entries(cases))("when the write lands right before the first read: %s", async (_, wait) => {
    const bed = await pair();
    let written = false;
    bed.probed.hooks.open = async ({ mode }) => {
      if (mode !== "read" || written) return;
      written = true;
      await bed.processes.completeProcess("p", success(1));
    };
    expect(await wait(bed)).toBeDefined();
  });

  it.each(Object.entries(cases))("when the write lands while the first read is open: %s", async (_, wait) => {
    const bed = await pair();
    let written: Promise<unknown> | undefined;
    bed.probed.hooks.read = (__, ___, { mode }) => {
      if (mode === "read") written ??= bed.processes.completeProcess("p", success(1));
    };
    expect(await wait(bed)).toBeDefined();
    await written;
  });

  it.each(Object.entries(cases))("when the notice was lost, after one poll: %s", async (_, wait) => {
    const bed = await pair();
    let ended = false;
    const waiting = wait(bed).then((value) => {
      ended = true;
      return value;
    });
    await rounds();
    await bed.finish();
    await bed.clock.advance(4_999);
    expect(ended).toBe(false);
    await bed.clock.advance(1);
    expect(await waiting).toBeDefined();
  });
});

describe("awaitProcess", () => {
  it("ends for any number of waiters", async () => {
    const { processes } = await pair();
    const waits = Array.from({ length: 200 }, () => processes.awaitProcess("p"));
    await rounds();
    await processes.completeProcess("p", success(7));
    expect(new Set((await Promise.all(waits)).map((output) => JSON.stringify(output)))).toEqual(
      new Set([JSON.stringify(success(7))]),
    );
  });

  it("ends at once where the process has ended, and rejects for an unknown one", async () => {
    const { processes, finish } = await pair();
    await finish();
    expect(await processes.awaitProcess("p")).toEqual(success(1));
    await expect(processes.awaitProcess("q")).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining("unknown process"),
    });
  });

  it("is not ended by events that end nothing", async () => {
    const { processes } = await pair();
    let ended = false;
    const wait = processes.awaitProcess("p").then(() => {
      ended = true;
    });
    await processes.appendEvent("p", { eventType: "tick", payload: 1 });
    await rounds();
    expect(ended).toBe(false);
    await processes.completeProcess("p", success(1));
    await wait;
  });
});

describe("waitEventAfter", () => {
  it("gives the first match behind the sequence, stored or to come", async () => {
    const { processes, tick } = await pair();
    await tick(1);
    await tick(2, "tock");
    await tick(3);
    expect((await processes.waitEventAfter("p", "tick", 0)).sequence).toBe(1);
    expect((await processes.waitEventAfter("p", "tick", 1)).sequence).toBe(3);
    const wait = processes.waitEventAfter("p", "tick", 3);
    await rounds();
    await processes.appendEvent("p", { eventType: "tock", payload: 4 });
    await processes.appendEvent("p", { eventType: "tick", payload: 5 });
    expect(await wait).toMatchObject({ sequence: 5, payload: 5 });
  });

  it("finds a match behind many pages of others", async () => {
    const { processes } = await pair();
    await Promise.all(Array.from({ length: 600 }, (_, n) => processes.appendEvent("p", { eventType: "tick", payload: n })));
    await processes.appendEvent("p", { eventType: "tock", payload: 0 });
    expect((await processes.waitEventAfter("p", "tock", 0)).sequence).toBe(601);
  });

  it("rejects with terminal when the process has ended or ends without a match", async () => {
    const { processes } = await pair();
    const wait = processes.waitEventAfter("p", "tick", 0);
    await rounds();
    await processes.completeProcess("p", success(1));
    await expect(wait).rejects.toMatchObject({ code: "terminal", message: expect.stringContaining("already terminal") });
    await expect(processes.waitEventAfter("p", "tick", 0)).rejects.toMatchObject({ code: "terminal" });
    expect((await processes.waitEventAfter("p", "process.completed", 0)).sequence).toBe(1);
  });

  it("of exactly one page of others on an ended process rejects too", async () => {
    const { processes } = await pair();
    await Promise.all(Array.from({ length: 255 }, (_, n) => processes.appendEvent("p", { eventType: "tick", payload: n })));
    await processes.completeProcess("p", success(1));
    await expect(processes.waitEventAfter("p", "tock", 0)).rejects.toMatchObject({ code: "terminal" });
  });
});

describe("an abort, a close and trouble", () => {
  it("reject every kind of wait", async () => {
    const { kernel, processes } = await pair();
    const reason = new Error("why");
    const waits = (signal: AbortSignal) => [
      processes.awaitProcess("p", { signal }),
      processes.waitEventAfter("p", "tick", 0, { signal }),
      kernel.process("p").outcome({ signal }),
      kernel.process("p").events({ signal })[Symbol.asyncIterator]().next(),
    ];
    const aborted = { status: "rejected", reason: { code: "aborted", cause: reason } };
    expect(await Promise.allSettled(waits(AbortSignal.abort(reason)))).toMatchObject(Array(4).fill(aborted));
    const abort = new AbortController();
    const pending = waits(abort.signal);
    await rounds();
    abort.abort(reason);
    expect(await Promise.allSettled(pending)).toMatchObject(Array(4).fill(aborted));
    const last = waits(new AbortController().signal);
    await rounds();
    await kernel.close();
    const closed = { status: "rejected", reason: { code: "closed" } };
    expect(await Promise.allSettled(last)).toMatchObject(Array(4).fill(closed));
    expect(await Promise.allSettled(waits(new AbortController().signal))).toMatchObject(Array(4).fill(closed));
  });

  it("with the storage is told by the wait itself", async () => {
    const { processes, probed, clock } = await pair();
    const wait = processes.awaitProcess("p");
    await rounds();
    probed.hooks.open = () => {
      throw new HoldfastError("unavailable", "gone");
    };
    await Promise.all([clock.advance(5_000), expect(wait).rejects.toMatchObject({ code: "unavailable" })]);
  });

  it.each([
    ["signal", { signal: {} }],
    ["options", 1],
  ])("of a broken argument is invalid: %s", async (field, options) => {
    const { processes } = await pair();
    await expect(processes.awaitProcess("p", options as never)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining(field),
    });
  });
});

describe("events of a handle", () => {
  const collect = async (events: AsyncIterable<ProcessEvent>, into: number[] = []) => {
    for await (const { sequence } of events) into.push(sequence);
    return into;
  };

  it("are the stored ones, then the live ones, without a gap or a repeat, up to the end", async () => {
    const { kernel, processes } = await pair();
    for (let n = 0; n < 3; n++) await processes.appendEvent("p", { eventType: "tick", payload: n });
    const seen: number[] = [];
    const following = collect(kernel.process("p").events(), seen);
    await rounds();
    expect(seen).toEqual([1, 2, 3]);
    await Promise.all(Array.from({ length: 20 }, (_, n) => processes.appendEvent("p", { eventType: "tick", payload: n })));
    await processes.completeProcess("p", success(1));
    expect(await following).toEqual(Array.from({ length: 24 }, (_, n) => n + 1));
  });

  it("are read a page at a time", async () => {
    const { kernel, processes, probed } = await pair();
    await Promise.all(Array.from({ length: 600 }, (_, n) => processes.appendEvent("p", { eventType: "tick", payload: n })));
    await processes.completeProcess("p", success(1));
    probed.seen.length = 0;
    expect(await collect(kernel.process("p").events())).toHaveLength(601);
    expect(probed.seen).toHaveLength(3);
    expect(probed.seen.flatMap(({ ranges }) => ranges).every((range) => range.includes('"limit":256'))).toBe(true);
  });

  it("start behind a sequence", async () => {
    const { kernel, processes } = await pair();
    for (let n = 0; n < 3; n++) await processes.appendEvent("p", { eventType: "tick", payload: n });
    await processes.completeProcess("p", success(1));
    expect(await collect(kernel.process("p").events({ after: 2 }))).toEqual([3, 4]);
    expect(await collect(kernel.process("p").events({ after: 4 }))).toEqual([]);
    expect(await collect(kernel.process("p").events({ after: 99 }))).toEqual([]);
  });

  it("end after the terminal one, also where others are stored behind it", async () => {
    const { kernel, processes } = await pair();
    await processes.completeProcess("p", success(1));
    await processes.appendEvent("p", { eventType: "tick", payload: 1 });
    expect(await collect(kernel.process("p").events())).toEqual([1]);
  });

  it("end with aborted before the next one of a page is given, once their signal is", async () => {
    const { kernel, processes } = await pair();
    for (let n = 0; n < 5; n++) await processes.appendEvent("p", { eventType: "tick", payload: n });
    const abort = new AbortController();
    const reason = new Error("enough");
    const seen: number[] = [];
    const following = (async () => {
      for await (const { sequence } of kernel.process("p").events({ signal: abort.signal })) {
        seen.push(sequence);
        if (sequence === 2) abort.abort(reason);
      }
    })();
    await expect(following).rejects.toMatchObject({ code: "aborted", cause: reason });
    expect(seen).toEqual([1, 2]);
  });

  it("in a handler end with its run before the next one of a page is given", async () => {
    const seen: number[] = [];
    const ends: unknown[] = [];
    const job = async ({ process }: ProcessContext) => {
      try {
        for await (const { sequence } of process("p").events()) {
          seen.push(sequence);
          if (sequence === 2) await kernel.close();
        }
      } catch (error) {
        ends.push((error as HoldfastError).code);
      }
    };
    const { kernel } = await bench({ handlers: { job } });
    await kernel.processes.registerProcess(outside);
    for (let n = 0; n < 5; n++) await kernel.processes.appendEvent("p", { eventType: "tick", payload: n });
    await kernel.start(task("job"));
    await rounds();
    expect(seen).toEqual([1, 2]);
    expect(ends).toEqual(["closed"]);
  });

  it("can be left early and followed again", async () => {
    const { kernel, processes } = await pair();
    for (let n = 0; n < 3; n++) await processes.appendEvent("p", { eventType: "tick", payload: n });
    const first: number[] = [];
    for await (const { sequence } of kernel.process("p").events()) {
      first.push(sequence);
      if (sequence === 2) break;
    }
    await processes.completeProcess("p", success(1));
    expect([...first, ...(await collect(kernel.process("p").events({ after: 2 })))]).toEqual([1, 2, 3, 4]);
  });

  it.each([{ after: -1 }, { after: 0.5 }, { after: "1" }, { signal: 1 }, null])("refuse %j", async (options) => {
    const { kernel } = await pair();
    await expect(collect(kernel.process("p").events(options as never))).rejects.toMatchObject({ code: "invalid" });
  });

  it("of an unknown process reject", async () => {
    const { kernel } = await pair();
    await expect(collect(kernel.process("q").events())).rejects.toMatchObject({ code: "not-found" });
  });
});

describe("cancel of a handle", () => {
  it("stores one request per reason", async () => {
    const { kernel, processes } = await pair();
    const handle = kernel.process("p");
    for (const reason of ["a", "a", undefined, undefined, "b"]) await handle.cancel(reason);
    expect((await processes.eventsAfter("p", 0)).map(({ payload }) => payload)).toEqual([{ reason: "a" }, {}, { reason: "b" }]);
    await expect(handle.cancel(7 as never)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining("reason"),
    });
    await expect(kernel.process("q").cancel()).rejects.toMatchObject({ code: "not-found" });
  });
});

describe("many waits on one process", () => {
  const reads = (seen: readonly Seen[]) => seen.filter(({ mode }) => mode === "read").length;

  it("are answered by one read of its log and one of its row", async () => {
    const { kernel, processes, probed } = await pair();
    await processes.appendEvent("p", { eventType: "tick", payload: 0 });
    const handle = kernel.process("p");
    const events = Array.from({ length: 1_000 }, () => processes.waitEventAfter("p", "process.completed", 0));
    const followed = Array.from({ length: 100 }, () => handle.events({ after: 1 })[Symbol.asyncIterator]().next());
    const ends = Array.from({ length: 1_000 }, (_, n) => (n % 2 ? handle.outcome() : processes.awaitProcess("p")));
    await rounds();
    probed.seen.length = 0;
    await processes.completeProcess("p", success(1));
    const found = await Promise.all([...events, ...followed]);
    await Promise.all(ends);
    expect(reads(probed.seen)).toBe(2);
    expect(new Set(found).size).toBe(1_100);
  });

  it("share one poll: 500 of them read once in pollMs", async () => {
    const { processes, probed, clock, tick } = await pair();
    const abort = new AbortController();
    const ends = Promise.allSettled(
      Array.from({ length: 500 }, (_, n) => processes.waitEventAfter("p", n % 2 ? "tick" : "tock", 0, { signal: abort.signal })),
    );
    await rounds();
    probed.seen.length = 0;
    await clock.advance(50_000);
    expect(reads(probed.seen)).toBe(10);
    await tick();
    await clock.advance(5_000);
    expect(reads(probed.seen)).toBe(11);
    abort.abort();
    const outcomes = await ends;
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(250);
    probed.seen.length = 0;
    await clock.advance(50_000);
    expect(reads(probed.seen)).toBe(0);
  });

  it("get copies of their own", async () => {
    const { processes } = await pair();
    const waits = [1, 2].map(() => processes.waitEventAfter("p", "tick", 0));
    const ends = [1, 2].map(() => processes.awaitProcess("p"));
    await rounds();
    await processes.appendEvent("p", { eventType: "tick", payload: { a: [1] } });
    const [one, other] = await Promise.all(waits);
    expect(other).toEqual(one);
    expect(other?.payload).not.toBe(one?.payload);
    await processes.completeProcess("p", { type: "success", value: { a: [1] } });
    const [first, second] = await Promise.all(ends);
    expect(second).toEqual(first);
    expect(second).not.toBe(first);
  });

  it("read nothing when another process changes", async () => {
    const { processes, probed } = await pair();
    const ids = Array.from({ length: 50 }, (_, n) => `q${n}`);
    for (const id of ids) await processes.registerProcess({ ...outside, id });
    for (const id of ids) void processes.awaitProcess(id).catch(() => undefined);
    const wait = processes.waitEventAfter("p", "tick", 0);
    await rounds();
    probed.seen.length = 0;
    await processes.appendEvent("p", { eventType: "tick", payload: 1 });
    await wait;
    await rounds();
    expect(reads(probed.seen)).toBe(1);
  });
});
