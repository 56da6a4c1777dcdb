import { afterEach, describe, expect, it } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { broadcastNotices } from "../../../src/corridor/notices.js";
import { createWatch } from "../../../src/corridor/watch.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import { DEFAULT_LIMITS, DEFAULT_TIMINGS } from "../../../src/domain/time.js";
import { createHeldLeases } from "../../../src/kernel/host/leases/held-leases.js";
import { loaded } from "../../../src/kernel/lazy.js";
import type { ProcessContext, ProcessHandler } from "../../../src/kernel/process/context/context.js";
import * as definitions from "../../../src/kernel/process/definition/defined-start.js";
import type { ProcessHandle } from "../../../src/kernel/process/handle.js";
import * as restarts from "../../../src/kernel/process/restart.js";
import { createRunner, type RunnerParts } from "../../../src/kernel/process/runner.js";
import * as signals from "../../../src/kernel/process/waits/send-signal.js";
import { declaredTypes } from "../../../src/stores/process/declared-types.js";
import type { ClaimReply } from "../../../src/stores/process/leases.js";
import { payloadSchemas } from "../../../src/stores/process/payload-schema.js";
import { SCHEMA } from "../../../src/stores/schema.js";
import { probe, type Seen } from "../../stores/probe-storage.js";
import { type Bench, bench, closeBenches, ending, failAppends, isAppend, task } from "../hosts.js";
import { gate, rounds, until } from "../rounds.js";

afterEach(closeBenches);

const never = () => new Promise<never>(() => {});
const untilAborted = ({ signal }: ProcessContext) =>
  new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));

describe("how a handler ends", () => {
  const failure = (code: string, message: string) => ({ type: "failure", class: "execution", code, message });
  const bomb = {
    get code(): string {
      throw new Error("boom");
    },
    get message(): string {
      throw new Error("boom");
    },
  };
  const fail = (thrown: unknown) => () => {
    throw thrown;
  };
  const cases: [string, ProcessHandler, unknown][] = [
    ["a value: success with it", () => ({ answer: [1, null] }), { type: "success", value: { answer: [1, null] } }],
    ["a promise: success with its value", async () => "later", { type: "success", value: "later" }],
    ["undefined: success with null", () => undefined, { type: "success", value: null }],
    ["an error: a failure with its message", fail(new Error("out of oil")), failure("process_failed", "out of oil")],
    [
      "an error with a code: a failure with that code",
      fail(Object.assign(new Error("no"), { code: "E_OIL" })),
      failure("E_OIL", "no"),
    ],
    [
      "an error with an empty code: the default code",
      fail(Object.assign(new Error("no"), { code: "" })),
      failure("process_failed", "no"),
    ],
    [
      "an error with a number for a code: the default code",
      fail(Object.assign(new Error("no"), { code: 7 })),
      failure("process_failed", "no"),
    ],
    [
      "an AbortError without a cancel request: a failure",
      fail(new DOMException("stop", "AbortError")),
      failure("process_failed", "stop"),
    ],
    ["a string: a failure with that message", fail("just text"), failure("process_failed", "just text")],
    ["a number: a failure", fail(42), failure("process_failed", "the handler threw a value without a message")],
    ["undefined thrown: a failure", fail(undefined), failure("process_failed", "the handler threw a value without a message")],
    ["null thrown: a failure", fail(null), failure("process_failed", "the handler threw a value without a message")],
    [
      "an object whose getters throw: a failure",
      fail(bomb),
      failure("process_failed", "the handler threw a value without a message"),
    ],
    [
      "a message with a lone surrogate: a failure that can be stored",
      fail(new Error("a\ud800b")),
      failure("process_failed", "a\ufffdb"),
    ],
    [
      "a code with a lone surrogate: a failure that can be stored",
      fail(Object.assign(new Error("x"), { code: "E\udc00" })),
      failure("E\ufffd", "x"),
    ],
    [
      "a very long message: a failure with its head",
      fail(new Error("x".repeat(100_000))),
      failure("process_failed", "x".repeat(8_192)),
    ],
    [
      "a HoldfastError of a trouble's code that did not come from the context: a failure",
      fail(new HoldfastError("unavailable", "my own storage")),
      failure("unavailable", "my own storage"),
    ],
    [
      "a HoldfastError lease-lost of its own making: a failure",
      fail(new HoldfastError("lease-lost", "mine")),
      failure("lease-lost", "mine"),
    ],
  ];

  it.each(cases)("%s", async (_, handler, expected) => {
    const { kernel } = await bench({ handlers: { job: handler } });
    expect(await ending(await kernel.start(task("job")))).toEqual(expected);
  });

  it.each([
    ["NaN", Number.NaN],
    ["a class instance", new Map()],
    ["a function", () => 1],
    ["a bigint", 1n],
    ["a list with undefined inside", [undefined]],
    ["a lone surrogate in a member's name", { "\ud800": 1 }],
  ])("%s returned is no JSON: a failure that says so", async (_, value) => {
    const { kernel } = await bench({ handlers: { job: () => value as never } });
    expect(await ending(await kernel.start(task("job")))).toMatchObject({ type: "failure", class: "execution", code: "invalid" });
  });

  it("a returned value larger than the limit: a failure that says so", async () => {
    const { kernel } = await bench({ handlers: { job: () => "x".repeat(2_000) }, limits: { payloadBytes: 1_024 } });
    expect(await ending(await kernel.start(task("job")))).toMatchObject({ type: "failure", code: "invalid" });
  });

  it("an error whose message is larger than a payload may be: still a failure", async () => {
    const { kernel } = await bench({ handlers: { job: fail(new Error("x".repeat(5_000))) }, limits: { payloadBytes: 1_024 } });
    expect(await ending(await kernel.start(task("job")))).toMatchObject({ type: "failure", code: "process_failed" });
  });

  it("a Proxy thrown whose every trap throws: still a failure", async () => {
    const trap = () => {
      throw new Error("trapped");
    };
    const { kernel } = await bench({ handlers: { job: fail(new Proxy({}, { get: trap, getPrototypeOf: trap, has: trap })) } });
    expect(await ending(await kernel.start(task("job")))).toMatchObject({ type: "failure", code: "process_failed" });
  });
});

describe("a cancel request", () => {
  const cancelled = async (handler: ProcessHandler, reason?: string) => {
    const started = gate();
    const { kernel } = await bench({
      handlers: {
        job: (context) => {
          started.open();
          return handler(context);
        },
      },
    });
    const handle = await kernel.start(task("job"));
    await started.promise;
    await handle.cancel(reason);
    return await ending(handle);
  };
  const enough = { type: "cancelled", message: "enough" };

  it("aborts the signal with an aborted HoldfastError that holds the reason", async () => {
    let seen: unknown;
    await cancelled(async (context) => {
      await untilAborted(context).catch((reason) => {
        seen = reason;
      });
    }, "enough");
    expect(seen).toMatchObject({ name: "HoldfastError", code: "aborted", message: "enough" });
  });

  it("and the signal's reason thrown: cancelled, with the reason as message", async () => {
    expect(await cancelled(untilAborted, "enough")).toEqual(enough);
  });

  it("and any AbortError thrown: cancelled", async () => {
    const handler = (context: ProcessContext) =>
      untilAborted(context).catch(() => {
        throw new DOMException("fetch was aborted", "AbortError");
      });
    expect(await cancelled(handler, "enough")).toEqual(enough);
  });

  it("and a wait that the signal aborted: cancelled", async () => {
    expect(
      await cancelled(async (context) => void (await context.process("other").outcome({ signal: context.signal })), "enough"),
    ).toMatchObject({
      type: "failure",
      code: "not-found",
    });
    const onOther = async (context: ProcessContext) => {
      const child = await context.start("child", { input: { type: "external", metadata: null } });
      await child.outcome({ signal: context.signal });
    };
    expect(await cancelled(onOther, "enough")).toEqual(enough);
  });

  it("and another error thrown: a failure", async () => {
    const handler = (context: ProcessContext) =>
      untilAborted(context).catch(() => {
        throw new Error("cleanup failed");
      });
    expect(await cancelled(handler, "enough")).toMatchObject({
      type: "failure",
      code: "process_failed",
      message: "cleanup failed",
    });
  });

  it("and a value returned all the same: success", async () => {
    expect(await cancelled((context) => untilAborted(context).catch(() => "finished"), "enough")).toEqual({
      type: "success",
      value: "finished",
    });
  });

  it("lets the handler still write while it cleans up", async () => {
    const handler = (context: ProcessContext) =>
      untilAborted(context).catch(async (reason) => {
        await context.step("undo", () => "undone");
        throw reason;
      });
    expect(await cancelled(handler, "enough")).toEqual(enough);
  });

  it("without a reason says that it was requested", async () => {
    expect(await cancelled(untilAborted)).toEqual({ type: "cancelled", message: "cancel requested" });
  });

  it("of the largest reason that can be stored still ends the process", async () => {
    const started = gate();
    const job = (context: ProcessContext) => {
      started.open();
      return untilAborted(context);
    };
    const { kernel } = await bench({ handlers: { job }, limits: { payloadBytes: 1_024 } });
    const handle = await kernel.start(task("job"));
    await started.promise;
    const payload = { reason: "x".repeat(1_000) };
    await kernel.processes.appendEvent(handle.id, { eventType: "process.cancel_requested", payload, replayKey: "cancel" });
    expect(await ending(handle)).toMatchObject({ type: "cancelled" });
  });

  it("before the first claim: cancelled without running", async () => {
    const probed = probe((await bench()).probed.storage);
    const off = await bench({ loop: "off" }, { probed });
    const handle = await off.kernel.start(task("job"));
    await handle.cancel("never mind");
    let ran = 0;
    const { kernel } = await bench({ handlers: { job: () => void ran++ } }, { probed, clock: off.clock });
    expect(await ending(kernel.process(handle.id))).toEqual({ type: "cancelled", message: "never mind" });
    expect(ran).toBe(0);
  });

  it("that came while no owner was alive aborts the next owner's signal before its handler starts", async () => {
    let failing = true;
    const seen: boolean[] = [];
    const job = async (context: ProcessContext) => {
      seen.push(context.signal.aborted);
      await context.step("a", () => 1);
      context.signal.throwIfAborted();
    };
    const { kernel, probed, clock } = await bench({ handlers: { job } });
    failAppends(probed, () => failing);
    const handle = await kernel.start(task("job"));
    await rounds();
    failing = false;
    await handle.cancel("enough");
    await clock.advance(30_000);
    expect(seen).toEqual([false, true]);
    expect(await ending(handle)).toEqual(enough);
  });

  it("leaves the signal alone when the handler ends by itself", async () => {
    let signal: AbortSignal | undefined;
    const { kernel } = await bench({
      handlers: {
        job: (context) => {
          ({ signal } = context);
        },
      },
    });
    expect(await ending(await kernel.start(task("job")))).toMatchObject({ type: "success" });
    expect(signal?.aborted).toBe(false);
  });
});

describe("steps", () => {
  it("store a result once and give it back to later calls", async () => {
    let runs = 0;
    const job = async ({ step }: ProcessContext) => [
      await step("a", () => ++runs),
      await step("a", () => ++runs),
      await step("b", () => ++runs),
    ];
    const { kernel } = await bench({ handlers: { job } });
    const handle = await kernel.start(task("job"));
    expect(await ending(handle)).toEqual({ type: "success", value: [1, 1, 2] });
    const events = await kernel.processes.eventsAfter(handle.id, 0);
    expect(events.map(({ eventType, payload }) => [eventType, payload]).slice(0, 2)).toEqual([
      ["process.step", { key: "a", result: 1 }],
      ["process.step", { key: "b", result: 2 }],
    ]);
    expect(events[0]?.invocation.replayKey).toBe(`process:${handle.id}:step:a`);
  });

  it("of one key share one run when called at once", async () => {
    let runs = 0;
    const job = async ({ step }: ProcessContext) => {
      const slow = async () => {
        await rounds(2);
        return ++runs;
      };
      return await Promise.all([step("a", slow), step("a", slow), step("a", slow)]);
    };
    const { kernel } = await bench({ handlers: { job } });
    expect(await ending(await kernel.start(task("job")))).toEqual({ type: "success", value: [1, 1, 1] });
  });

  it("that throw store nothing and can be tried again", async () => {
    let runs = 0;
    const job = async ({ step }: ProcessContext) => {
      const flaky = () => {
        if (++runs === 1) throw new Error("once");
        return runs;
      };
      const first = await step("a", flaky).catch((error: Error) => error.message);
      return [first, await step("a", flaky)];
    };
    const { kernel } = await bench({ handlers: { job } });
    const handle = await kernel.start(task("job"));
    expect(await ending(handle)).toEqual({ type: "success", value: ["once", 2] });
    expect(
      (await kernel.processes.eventsAfter(handle.id, 0)).filter(({ eventType }) => eventType === "process.step"),
    ).toHaveLength(1);
  });

  it("that ask for themselves at once are refused, and those that are asked for later share the run", async () => {
    const job = async ({ step }: ProcessContext) => {
      const refused = await step("a", () => step("a", () => 1)).catch((error: HoldfastError) => error.code);
      const others: Promise<number>[] = [];
      const shared = await step("b", async () => {
        others.push(step("c", () => 3));
        await rounds(1);
        others.push(step("b", () => 4));
        return 2;
      });
      return [refused, shared, ...(await Promise.all(others))];
    };
    const { kernel } = await bench({ handlers: { job } });
    expect(await ending(await kernel.start(task("job")))).toEqual({ type: "success", value: ["invalid", 2, 3, 2] });
  });

  it("whose result cannot be stored fail by the step's name, also of fifty megabytes of bytes", async () => {
    const bytes = new Uint8Array(50_000_000);
    const large = await bench({ handlers: { job: async ({ step }) => await step("load", () => bytes as never) } });
    expect(await ending(await large.kernel.start(task("job")))).toMatchObject({
      code: "invalid",
      message: expect.stringContaining('the result of step "load" is a Uint8Array'),
    });
    const { kernel } = await bench({
      handlers: { job: async ({ step }) => await step("load", () => ({ when: new Date() }) as never) },
    });
    const output = await ending(await kernel.start(task("job")));
    const message = expect.stringContaining('the result of step "load": /when is a Date');
    expect(output).toMatchObject({ type: "failure", code: "invalid", message });
  });

  it("store undefined as null", async () => {
    const { kernel } = await bench({ handlers: { job: async ({ step }) => [await step("a", () => undefined as never)] } });
    const handle = await kernel.start(task("job"));
    expect(await ending(handle)).toEqual({ type: "success", value: [null] });
    expect((await kernel.processes.eventsAfter(handle.id, 0))[0]?.payload).toEqual({ key: "a", result: null });
  });

  it("are given what they need to be told apart outside", async () => {
    const seen: unknown[] = [];
    const job = async (context: ProcessContext) =>
      await context.step("a", ({ idempotencyKey, fencingToken, attempt, signal }) => {
        seen.push(idempotencyKey, fencingToken, attempt, signal === context.signal);
        return 0;
      });
    const { kernel } = await bench({ handlers: { job } });
    const handle = await kernel.start(task("job"));
    await ending(handle);
    expect(seen).toEqual([`process:${handle.id}:step:a`, 1, 1, true]);
  });

  it("are not run again by a later owner, whose attempt is one higher", async () => {
    let failing = false;
    const runs: string[] = [];
    const job = async ({ attempt, step }: ProcessContext) => {
      const first = await step("a", ({ fencingToken }) => {
        runs.push(`a by ${attempt} fence ${fencingToken}`);
        return `of attempt ${attempt}`;
      });
      failing = attempt === 1;
      await step("b", ({ fencingToken }) => {
        runs.push(`b by ${attempt} fence ${fencingToken}`);
        return 0;
      });
      return first;
    };
    const { kernel, probed, clock } = await bench({ handlers: { job } });
    failAppends(probed, () => failing);
    const handle = await kernel.start(task("job"));
    expect(await ending(handle)).toBeUndefined();
    failing = false;
    await clock.advance(30_000);
    expect(await ending(handle)).toEqual({ type: "success", value: "of attempt 1" });
    expect(runs).toEqual(["a by 1 fence 1", "b by 1 fence 1", "b by 2 fence 2"]);
  });

  it("are the same outside for every owner, under a higher token each", async () => {
    let failing = true;
    const calls: [key: string, token: number][] = [];
    const job = async ({ step }: ProcessContext) =>
      await step("pay", ({ idempotencyKey, fencingToken }) => {
        calls.push([idempotencyKey, fencingToken]);
        return 0;
      });
    const { kernel, probed, clock } = await bench({ handlers: { job } });
    failAppends(probed, () => failing);
    const handle = await kernel.start(task("job"));
    expect(await ending(handle)).toBeUndefined();
    failing = false;
    await clock.advance(30_000);
    expect(await ending(handle)).toMatchObject({ type: "success" });
    const key = `process:${handle.id}:step:pay`;
    expect(calls).toEqual([
      [key, 1],
      [key, 2],
    ]);
  });

  it.each([
    ["", "key"],
    [7, "key"],
    ["x".repeat(513), "key"],
  ])("refuse the key %j", async (key, field) => {
    const { kernel } = await bench({ handlers: { job: async ({ step }) => await step(key as string, () => 1) } });
    const output = await ending(await kernel.start(task("job")));
    expect(output).toMatchObject({ type: "failure", code: "invalid", message: expect.stringContaining(field) });
  });
});

describe("emit", () => {
  const eventTypes = [{ name: "note" }];

  it("repeats without a replay key when a later owner runs the handler again, and does not with one", async () => {
    let failing = false;
    const job = async ({ attempt, emit, step }: ProcessContext) => {
      await emit("note", "plain");
      await emit("note", "keyed", { replayKey: "k" });
      failing = attempt === 1;
      await step("end", () => 0);
    };
    const { kernel, probed, clock } = await bench({ handlers: { job } });
    failAppends(probed, () => failing);
    const handle = await kernel.start({ ...task("job"), eventTypes });
    await rounds();
    failing = false;
    await clock.advance(30_000);
    const notes = (await kernel.processes.eventsAfter(handle.id, 0)).filter(({ eventType }) => eventType === "note");
    expect(notes.map(({ payload }) => payload)).toEqual(["plain", "keyed", "plain"]);
  });

  it("rejects what breaks a rule, and the handler may go on", async () => {
    const job = async ({ emit }: ProcessContext) => [
      await emit("unknown", 1).catch(({ code }) => code),
      await emit("note", Number.NaN).catch(({ code }) => code),
      await emit("note", 1, { replayKey: "" }).catch(({ code }) => code),
      (await emit("note", 1)).sequence,
    ];
    const { kernel } = await bench({ handlers: { job } });
    expect(await ending(await kernel.start({ ...task("job"), eventTypes }))).toEqual({
      type: "success",
      value: ["invalid", "invalid", "invalid", 1],
    });
  });
});

describe("progress", () => {
  it("writes at once, then once a second, and what is left when the handler ends", async () => {
    const done = gate();
    let context: ProcessContext | undefined;
    const job = async (given: ProcessContext) => {
      context = given;
      await done.promise;
    };
    const { kernel, probed, clock } = await bench({ handlers: { job } });
    const handle = await kernel.start(task("job"));
    await until(() => context !== undefined, "the handler's start");
    const written = () =>
      probed
        .puts("processes")
        .flatMap(({ progress, state }) => (progress && state === "running" ? [(progress as { done: number }).done] : []));
    for (let n = 1; n <= 10; n++) context?.progress(n, 20, `page ${n}`);
    await rounds();
    expect(written()).toEqual([1]);
    await clock.advance(1_000);
    expect(written()).toEqual([1, 10]);
    expect((await handle.record())?.progress).toMatchObject({ done: 10, total: 20, note: "page 10" });
    await clock.advance(5_000);
    expect(written()).toEqual([1, 10]);
    context?.progress(11);
    await rounds();
    context?.progress(12);
    await rounds();
    expect(written()).toEqual([1, 10, 11]);
    done.open();
    await rounds();
    expect(written()).toEqual([1, 10, 11, 12]);
    expect((await handle.record())?.progress).toEqual({ done: 12, atMs: clock.now() });
    expect(await kernel.processes.eventsAfter(handle.id, 0)).toHaveLength(1);
  });

  it("writes no more than once a second when it is called while a write is under way", async () => {
    let context: ProcessContext | undefined;
    const job = async (given: ProcessContext) => {
      context = given;
      await never();
    };
    const { kernel, probed, clock } = await bench({ handlers: { job } });
    await kernel.start(task("job"));
    await until(() => context !== undefined, "the handler's start");
    context?.progress(1);
    await rounds();
    context?.progress(2);
    const isProgress = (put: unknown) => (put as { progress?: unknown }).progress !== undefined;
    const written = () => probed.puts("processes").filter(isProgress).length;
    probed.hooks.begin = ({ mode }) => {
      if (mode === "write") context?.progress(3);
    };
    await clock.advance(1_000);
    expect(written()).toBe(2);
    await clock.advance(10_000);
    expect(written()).toBeLessThanOrEqual(12);
  });

  it.each([[-1], [Number.NaN], [Number.POSITIVE_INFINITY], ["1"], [undefined]])("refuses %s as done", async (value) => {
    const { kernel } = await bench({ handlers: { job: ({ progress }) => progress(value as number) } });
    expect(await ending(await kernel.start(task("job")))).toMatchObject({ type: "failure", code: "invalid" });
  });
});

describe("children", () => {
  it("have an id, an owner scope and a cause that come from the parent", async () => {
    const job = async ({ start }: ProcessContext) =>
      (await start("part one", { ...task("child"), provenance: { ownerScope: { sessionId: "forged" }, hostProfileId: "x" } })).id;
    const { kernel } = await bench({ handlers: { job, child: () => 1 } });
    const provenance = { ownerScope: { sessionId: "s", agentFrameId: "f" }, hostProfileId: "h" };
    const handle = await kernel.start({ ...task("job"), id: "parent", provenance });
    expect(await ending(handle)).toEqual({ type: "success", value: "parent/part one" });
    expect((await kernel.processes.getProcess("parent/part one"))?.provenance).toEqual({
      ...provenance,
      causedBy: { type: "process", processId: "parent" },
    });
  });

  it("are found again by a later owner", async () => {
    let failing = false;
    let runs = 0;
    const job = async ({ attempt, start, step }: ProcessContext) => {
      const child = await start("c", task("child"));
      const output = await child.outcome();
      failing = attempt === 1;
      await step("end", () => 0);
      return output.type === "success" ? output.value : null;
    };
    const { kernel, probed, clock } = await bench({ handlers: { job, child: () => ++runs } });
    failAppends(probed, () => failing);
    const handle = await kernel.start({ ...task("job"), id: "parent" });
    await rounds(40);
    expect(failing).toBe(true);
    failing = false;
    await clock.advance(30_000);
    await rounds(40);
    expect(await ending(handle)).toEqual({ type: "success", value: 1 });
    expect((await kernel.processes.list()).map(({ id }) => id)).toEqual(["parent", "parent/c"]);
  });

  it("are cancelled under the parent's lease, which says nothing of the child's own owner", async () => {
    const { here, kid, go, codes } = await withChild();
    go.open();
    await until(() => codes.length === 2, "the cancels");
    expect(codes).toEqual(["stored", "stored"]);
    const events = await here.kernel.processes.eventsAfter(kid, 0);
    expect(events.map(({ eventType, payload }) => [eventType, payload])).toEqual([
      ["process.cancel_requested", { reason: "by its own handle" }],
      ["process.cancel_requested", { reason: "by another handle" }],
    ]);
    for (const event of events) expect(event).not.toHaveProperty("fencingToken");
    const row = here.probed.puts("processes").findLast(({ processId }) => processId === kid);
    expect(row).toMatchObject({ lastSequence: 2, cancelRequested: "by its own handle" });
    expect(row).not.toHaveProperty("progressFence");
  });

  it("with another content under the same id are a conflict", async () => {
    const job = async ({ start }: ProcessContext) => {
      await start("c", task("child", 1));
      await start("c", task("child", 2));
    };
    const { kernel } = await bench({ handlers: { job } });
    expect(await ending(await kernel.start(task("job")))).toMatchObject({ type: "failure", code: "conflict" });
  });
});

describe("slots", () => {
  it("let parent, child and grandchild finish with a concurrency of 1", async () => {
    const handlers = {
      parent: async ({ start }: ProcessContext) => [1, await (await start("c", task("child"))).outcome()] as never,
      child: async ({ start }: ProcessContext) => [2, await (await start("c", task("grandchild"))).outcome()] as never,
      grandchild: () => 3,
    };
    const { kernel } = await bench({ handlers, concurrency: 1 });
    const output = await (await kernel.start(task("parent"))).outcome();
    expect(output).toEqual({ type: "success", value: [1, { type: "success", value: [2, { type: "success", value: 3 }] }] });
  });

  it("let 20 parents that each wait for 3 children finish with a concurrency of 2, never more than 2 at work", async () => {
    let atWork = 0;
    let most = 0;
    const work = async <T>(part: () => T | Promise<T>): Promise<T> => {
      most = Math.max(most, ++atWork);
      try {
        await rounds(1);
        return await part();
      } finally {
        atWork--;
      }
    };
    const handlers = {
      parent: async ({ start }: ProcessContext) => {
        const children = await work(() => Promise.all(["a", "b", "c"].map((key) => start(key, task("child")))));
        let sum = 0;
        for (const child of children) {
          const output = await child.outcome();
          sum += await work(() => (output.type === "success" ? Number(output.value) : Number.NaN));
        }
        return sum;
      },
      child: () => work(() => 1),
    };
    const { kernel } = await bench({ handlers, concurrency: 2 });
    const handles = await Promise.all(Array.from({ length: 20 }, () => kernel.start(task("parent"))));
    const outputs = await Promise.all(handles.map((handle) => handle.outcome()));
    expect(outputs).toEqual(Array(20).fill({ type: "success", value: 3 }));
    expect(most).toBe(2);
    expect(atWork).toBe(0);
  });

  it("bound how many handlers run at once", async () => {
    const go = gate();
    let running = 0;
    let most = 0;
    const job = async () => {
      most = Math.max(most, ++running);
      await go.promise;
      running--;
    };
    const { kernel } = await bench({ handlers: { job }, concurrency: 3 });
    const handles = await Promise.all(Array.from({ length: 10 }, () => kernel.start(task("job"))));
    await rounds();
    expect(running).toBe(3);
    go.open();
    await Promise.all(handles.map((handle) => handle.outcome()));
    expect(most).toBe(3);
  });

  it("are given back while a handler waits on a handle of its context, and taken again before it goes on", async () => {
    const go = gate();
    const log: string[] = [];
    const handlers = {
      waiter: async ({ process }: ProcessContext) => {
        log.push("waiter waits");
        await process("outside").outcome();
        log.push("waiter goes on");
      },
      other: async () => {
        log.push("other starts");
        await go.promise;
        log.push("other ends");
      },
    };
    const { kernel } = await bench({ handlers, concurrency: 1 });
    await kernel.start({ id: "outside", input: { type: "external", metadata: null } });
    const waiter = await kernel.start(task("waiter"));
    await until(() => log.length === 1, "the waiter");
    const other = await kernel.start(task("other"));
    await until(() => log.length === 2, "the other");
    await kernel.processes.completeProcess("outside", { type: "success", value: 1 });
    await rounds();
    expect(log).toEqual(["waiter waits", "other starts"]);
    go.open();
    await Promise.all([waiter.outcome(), other.outcome()]);
    expect(log).toEqual(["waiter waits", "other starts", "other ends", "waiter goes on"]);
  });

  it("are taken once by a handler, however many of its waits end while it queues", async () => {
    const blocker = gate();
    const between = gate();
    let blocking = false;
    let waits = 0;
    const handlers = {
      twofold: async ({ process }: ProcessContext) => {
        const first = async () => {
          waits++;
          await process("one").outcome();
          await between.promise;
          waits++;
          await process("three").outcome();
        };
        const second = async () => {
          waits++;
          await process("two").outcome();
        };
        await Promise.all([first(), second()]);
      },
      blocker: async () => {
        blocking = true;
        await blocker.promise;
      },
      after: () => "ran",
    };
    const { kernel } = await bench({ handlers, concurrency: 1 });
    for (const id of ["one", "two", "three"]) await kernel.start({ id, input: { type: "external", metadata: null } });
    const finish = (id: string) => kernel.processes.completeProcess(id, { type: "success", value: null });
    const twofold = await kernel.start(task("twofold"));
    await until(() => waits === 2, "both waits");
    await kernel.start(task("blocker"));
    await until(() => blocking, "the blocker");
    await finish("one");
    await rounds();
    await finish("two");
    await rounds();
    between.open();
    await until(() => waits === 3, "the third wait");
    await finish("three");
    await rounds();
    blocker.open();
    expect(await ending(twofold)).toEqual({ type: "success", value: null });
    expect(await ending(await kernel.start(task("after")))).toEqual({ type: "success", value: "ran" });
  });
});

describe("slots and a cancel request", () => {
  it("a cancelled handler that comes back from a wait queues for its slot like any other", async () => {
    const blocker = gate();
    const log: string[] = [];
    const handlers = {
      waiter: async ({ process, signal }: ProcessContext) => {
        log.push("waiter waits");
        await process("outside")
          .outcome({ signal })
          .catch(() => log.push("waiter cleans up"));
      },
      blocker: async () => {
        log.push("blocker starts");
        await blocker.promise;
        log.push("blocker ends");
      },
    };
    const { kernel } = await bench({ handlers, concurrency: 1 });
    await kernel.start({ id: "outside", input: { type: "external", metadata: null } });
    const waiter = await kernel.start(task("waiter"));
    await until(() => log.length === 1, "the waiter");
    await kernel.start(task("blocker"));
    await until(() => log.length === 2, "the blocker");
    await waiter.cancel("enough");
    await rounds();
    expect(log).toEqual(["waiter waits", "blocker starts"]);
    blocker.open();
    await waiter.outcome();
    expect(log).toEqual(["waiter waits", "blocker starts", "blocker ends", "waiter cleans up"]);
  });

  it("a handler may wait for many children under its own signal, and the platform warns of nothing", async () => {
    const warnings: unknown[] = [];
    const hear = (warning: unknown) => warnings.push(warning);
    process.on("warning", hear);
    const handlers = {
      parent: async ({ start, signal }: ProcessContext) => {
        const children = await Promise.all(Array.from({ length: 30 }, (_, n) => start(`c${n}`, task("child"))));
        return (await Promise.all(children.map((child) => child.outcome({ signal })))).length;
      },
      child: () => rounds(1),
    };
    const { kernel } = await bench({ handlers });
    expect(await (await kernel.start(task("parent"))).outcome()).toEqual({ type: "success", value: 30 });
    await rounds();
    process.off("warning", hear);
    expect(warnings).toEqual([]);
  });

  it("a handler that returns while a wait of its own goes on ends, and its slot is free once", async () => {
    let running = 0;
    let most = 0;
    const handlers = {
      hasty: ({ process }: ProcessContext) => {
        process("outside")
          .outcome()
          .catch(() => undefined);
        return "gone";
      },
      after: async () => {
        most = Math.max(most, ++running);
        await rounds(2);
        running--;
      },
    };
    const { kernel } = await bench({ handlers, concurrency: 1 });
    await kernel.start({ id: "outside", input: { type: "external", metadata: null } });
    expect(await ending(await kernel.start(task("hasty")))).toEqual({ type: "success", value: "gone" });
    await kernel.processes.completeProcess("outside", { type: "success", value: 1 });
    await rounds();
    const handles = await Promise.all([1, 2, 3].map(() => kernel.start(task("after"))));
    await Promise.all(handles.map((handle) => handle.outcome()));
    expect(most).toBe(1);
  });
});

describe("close", () => {
  it("aborts handlers with closed and hands their leases back without counting an attempt", async () => {
    const attempts: number[] = [];
    const reasons: unknown[] = [];
    const job = async (context: ProcessContext) => {
      attempts.push(context.attempt);
      if (attempts.length === 4) return "done";
      context.signal.addEventListener("abort", () => reasons.push(context.signal.reason));
      return await never();
    };
    const { probed, clock, kernel } = await bench({ loop: "off" });
    const { id } = await kernel.start(task("job"));
    for (let round = 1; round <= 3; round++) {
      const host = await bench({ handlers: { job }, attemptBudget: 1 }, { probed, clock });
      await until(() => attempts.length === round, `attempt ${round}`);
      await host.kernel.close();
    }
    const last = await bench({ handlers: { job }, attemptBudget: 1 }, { probed, clock });
    expect(await ending(last.kernel.process(id))).toEqual({ type: "success", value: "done" });
    expect(attempts).toEqual([1, 2, 3, 4]);
    expect(reasons).toMatchObject([{ code: "closed" }, { code: "closed" }, { code: "closed" }]);
  });

  it("lets no handler cancel its children on the way out", async () => {
    const { here, there, kid, codes } = await withChild();
    await here.kernel.close();
    await until(() => codes.length === 2, "the cancels");
    expect(codes).toEqual(["closed", "closed"]);
    expect(await there.kernel.processes.eventsAfter(kid, 0)).toEqual([]);
  });

  it("ends every wait of a context with closed, also those with a signal of their own", async () => {
    const { here, codes } = await withWaits();
    await here.kernel.close();
    await until(() => codes.length === 4, "the ends of the waits");
    expect(codes).toEqual(Array(4).fill("closed"));
  });

  it("does not wait for handlers, and what they do afterwards changes nothing", async () => {
    const go = gate();
    const after: unknown[] = [];
    const job = async (context: ProcessContext) => {
      await go.promise;
      const codeOf = async (work: () => unknown) => {
        try {
          return await work();
        } catch (error) {
          return (error as HoldfastError).code;
        }
      };
      after.push(
        await codeOf(() => context.step("a", () => 1)),
        await codeOf(() => context.emit("process.step", 1)),
        await codeOf(() => context.progress(1)),
        await codeOf(() => context.start("c", task("job"))),
        await codeOf(() => context.process("x").outcome()),
      );
      return "too late";
    };
    const host = await bench({ handlers: { job } });
    const handle = await host.kernel.start(task("job"));
    await rounds();
    await host.kernel.close();
    const { kernel } = await bench({ loop: "off" }, { probed: host.probed, clock: host.clock });
    go.open();
    await until(() => after.length === 5, "the late writes");
    await rounds();
    expect(after).toEqual(["closed", "closed", "closed", "closed", "closed"]);
    expect(await kernel.processes.eventsAfter(handle.id, 0)).toEqual([]);
    expect((await kernel.processes.getProcess(handle.id))?.status.state).toBe("running");
    expect(await kernel.processes.list()).toHaveLength(1);
  });
});

/** The unhandled rejections, which would end a program, while `work` goes on. */
async function unhandled(work: () => Promise<void>): Promise<unknown[]> {
  const heard: unknown[] = [];
  const hear = (reason: unknown) => heard.push(reason);
  process.on("unhandledRejection", hear);
  try {
    await work();
    await rounds();
  } finally {
    process.off("unhandledRejection", hear);
  }
  return heard;
}

describe("a handler that ignores its signal", () => {
  /** A handler with the only slot. When the gate opens it makes every call once, and throws. */
  async function deaf() {
    const started = gate();
    const go = gate();
    const codes: unknown[] = [];
    const handlers = {
      deaf: async (context: ProcessContext) => {
        if (context.attempt > 1) return "by the next owner";
        started.open();
        await go.promise;
        const handle = context.process("outside");
        const calls: (() => unknown)[] = [
          () => context.step("a", () => 1),
          () => context.emit("process.step", 1),
          () => context.progress(1),
          () => context.start("kid", task("other")),
          () => handle.outcome(),
          () => handle.events()[Symbol.asyncIterator]().next(),
          () => handle.cancel("late"),
        ];
        for (const call of calls) {
          try {
            codes.push(await call());
          } catch (error) {
            codes.push((error as HoldfastError).code);
          }
        }
        throw new Error("the last word");
      },
      other: () => "ran",
    };
    const here = await bench({ handlers, concurrency: 1 });
    const there = await bench({ loop: "off" }, { probed: probe(here.probed.storage), clock: here.clock });
    await there.kernel.start({ id: "outside", input: { type: "external", metadata: null } });
    await here.kernel.start({ id: "p", ...task("deaf") });
    await started.promise;
    const other = await here.kernel.start(task("other"));
    expect(await ending(other)).toBeUndefined();
    const wakeUp = async () => {
      const heard = await unhandled(async () => {
        go.open();
        await until(() => codes.length === 7, "the late calls");
      });
      expect(heard).toEqual([]);
      expect(await there.kernel.processes.eventsAfter("outside", 0)).toEqual([]);
      return codes;
    };
    return { here, there, other, wakeUp };
  }

  it("is waited for no longer than its process goes on: its slot is free, its lease is handed back, and it changes nothing more", async () => {
    const { here, there, other, wakeUp } = await deaf();
    await there.kernel.processes.completeProcess("p", { type: "success", value: "from outside" });
    await here.clock.advance(5_000);
    expect(await ending(other)).toEqual({ type: "success", value: "ran" });
    expect(await there.kernel.processes.getLease("p")).toBeUndefined();
    expect(await wakeUp()).toEqual(Array(7).fill("terminal"));
    expect((await there.kernel.processes.eventsAfter("p", 0)).map(({ eventType }) => eventType)).toEqual(["process.completed"]);
    expect(here.faults).toEqual([]);
  });

  it("is waited for no longer than its process goes on, also when it was asked to cancel before", async () => {
    const { here, there, other } = await deaf();
    await there.kernel.process("p").cancel("please");
    await here.clock.advance(5_000);
    expect(await ending(other)).toBeUndefined();
    await there.kernel.processes.completeProcess("p", { type: "cancelled", message: "by hand" });
    await here.clock.advance(5_000);
    expect(await ending(other)).toEqual({ type: "success", value: "ran" });
  });

  it("is waited for no longer than its lease is held", async () => {
    const { here, there, other, wakeUp } = await deaf();
    await takeOver(here, there);
    await here.clock.advance(10_000);
    expect(await ending(other)).toEqual({ type: "success", value: "ran" });
    expect(await wakeUp()).toEqual(Array(7).fill("lease-lost"));
    expect(await there.kernel.processes.eventsAfter("p", 0)).toEqual([]);
    expect((await there.kernel.processes.getLease("p"))?.ownerId).toBe("another");
  });

  it("does not keep a slot that is lost while the storage is silent", async () => {
    const { here, other, wakeUp } = await deaf();
    here.probed.hooks.open = () => {
      throw new HoldfastError("unavailable", "cut off");
    };
    await here.clock.advance(30_000);
    here.probed.hooks = {};
    await here.clock.advance(30_000);
    expect(await ending(other)).toEqual({ type: "success", value: "ran" });
    expect(await ending(here.kernel.process("p"))).toEqual({ type: "success", value: "by the next owner" });
    expect(await wakeUp()).toEqual(Array(7).fill("lease-lost"));
  });

  it("is not waited for when the kernel closes", async () => {
    const { here, there, wakeUp } = await deaf();
    await here.kernel.close();
    expect(await wakeUp()).toEqual(Array(7).fill("closed"));
    expect(await there.kernel.processes.eventsAfter("p", 0)).toEqual([]);
  });
});

describe("a call that a handler leaves unawaited", () => {
  /** The unhandled rejections of the program, and the faults. */
  const left = async (
    job: (context: ProcessContext) => void | Promise<unknown>,
    meanwhile?: (bed: Bench) => Promise<unknown>,
  ) => {
    const bed = await bench({ handlers: { job: async (context) => void (await job(context)) } });
    await bed.kernel.start({ id: "outside", input: { type: "external", metadata: null } });
    const heard = await unhandled(async () => {
      await bed.kernel.start({ id: "p", ...task("job") });
      await rounds();
      await meanwhile?.(bed);
    });
    expect(heard).toEqual([]);
    return { ...bed, told: bed.faults.map(({ area, code, message, processId }) => [area, code, message, processId]) };
  };
  const slow = (value: number) => async () => {
    await rounds(3);
    return value;
  };
  const outlived = (what: string) => ["steps", "invalid", `${what} was not awaited: its handler ended first`, "p"];

  it("and that outlives its handler is told, and ends no program: a step (A-25)", async () => {
    const { told, kernel } = await left(({ step }) => void step("pay", slow(1)));
    expect(told).toEqual([outlived('step "pay"')]);
    expect((await kernel.processes.eventsAfter("p", 0)).map(({ eventType }) => eventType)).toEqual(["process.completed"]);
  });

  it("and that outlives its handler is told, and ends no program: a step whose run throws then", async () => {
    const late = async () => {
      await rounds(3);
      throw new Error("late");
    };
    expect((await left(({ step }) => void step("pay", late))).told).toEqual([outlived('step "pay"')]);
  });

  it("and that outlives its handler is told, and ends no program: emit, start, cancel and waits", async () => {
    const { told } = await left((context) => {
      void context.emit("process.step", 1);
      void context.start("kid", task("nobody"));
      const handle = context.process("outside");
      void handle.cancel("stop");
      void handle.outcome();
      void context.process("unknown").record();
    });
    const names = ['emit "process.step"', 'start "kid"', 'cancel "stop"', "outcome", "record"];
    expect(told).toEqual(names.map(outlived));
  });

  it("and that fails before its handler ends is told then, and ends no program (A-25)", async () => {
    const { told } = await left(async ({ step, emit }) => {
      void step("pay", () => {
        throw new Error("no money");
      });
      void emit("unknown", 1);
      await rounds(3);
    });
    expect(told).toEqual([
      ["steps", "invalid", 'step "pay" was not awaited: it failed: no money', "p"],
      ["steps", "invalid", expect.stringContaining('emit "unknown" was not awaited: '), "p"],
    ]);
  });

  it("ends no program when the lease is lost or the kernel closes, and is not told then", async () => {
    const job = async ({ step, process }: ProcessContext) => {
      void step("pay", slow(1));
      void process("outside").outcome();
      await never();
    };
    expect((await left(job, ({ kernel }) => kernel.close())).told).toEqual([]);
    const lost = async ({ probed, clock, kernel }: Bench) => {
      probed.hooks.open = () => {
        throw new HoldfastError("unavailable", "cut off");
      };
      await clock.advance(30_000);
      await kernel.close();
    };
    const { told } = await left(job, lost);
    expect(told.filter(([, , message]) => String(message).includes("awaited"))).toEqual([]);
  });

  it("is not told where it is awaited in a race, or caught", async () => {
    const { told } = await left(async ({ step, process }) => {
      await Promise.race([step("slow", slow(1)), process("outside").outcome(), rounds(1)]);
      await step("throws", () => {
        throw new Error("caught");
      }).catch(() => undefined);
      await process("unknown")
        .outcome()
        .catch(() => undefined);
      const first = async () => {
        for await (const _ of process("unknown").events()) break;
      };
      await first().catch(() => undefined);
    });
    expect(told).toEqual([]);
  });
});

describe("a handler whose run is over before it began", () => {
  /** A host whose handlers begin only when the gate is open: the last read before them waits at it. */
  const gated = async () => {
    const reached = gate();
    const go = gate();
    const attempts: number[] = [];
    const host = await bench({ handlers: { job: ({ attempt }) => void attempts.push(attempt) } });
    const hold = async ({ mode, tables }: Seen) => {
      if (mode !== "read" || tables.join() !== "processes") return;
      reached.open();
      await go.promise;
    };
    host.probed.hooks.open = hold;
    const handle = await host.kernel.start(task("job"));
    await reached.promise;
    return { ...host, hold, go, attempts, handle };
  };

  it("because the kernel closed is not started", async () => {
    const { kernel, go, attempts } = await gated();
    const closing = kernel.close();
    go.open();
    await closing;
    await rounds();
    expect(attempts).toEqual([]);
  });

  it("because the lease was lost is not started", async () => {
    const { clock, probed, hold, go, attempts } = await gated();
    probed.hooks.open = async (seen) => {
      if (seen.mode === "read" && seen.tables.join() === "processes") return await hold(seen);
      throw new HoldfastError("unavailable", "cut off");
    };
    await clock.advance(30_000);
    go.open();
    await rounds();
    expect(attempts).toEqual([]);
  });
});

describe("trouble with the storage", () => {
  const troubled = async (job: (context: ProcessContext, state: { failing: boolean }) => Promise<unknown>, attemptBudget = 5) => {
    const state = { failing: true, ran: 0 };
    const host = await bench({
      attemptBudget,
      handlers: {
        job: async (context) => {
          state.ran++;
          return (await job(context, state)) as never;
        },
      },
    });
    failAppends(host.probed, () => state.failing);
    const handle = await host.kernel.start(task("job"));
    await rounds();
    return { ...host, state, handle };
  };

  it("that the context raises leaves the process claimable, and the next owner finishes it", async () => {
    const { clock, state, handle, faults } = await troubled(({ step }) => step("a", () => 1));
    expect(await ending(handle)).toBeUndefined();
    expect(faults).toMatchObject([{ area: "runner", code: "unavailable", processId: handle.id }]);
    state.failing = false;
    await clock.advance(29_000);
    expect(state.ran).toBe(1);
    await clock.advance(1_000);
    expect(await ending(handle)).toEqual({ type: "success", value: 1 });
    expect(state.ran).toBe(2);
  });

  it("counts against the budget, at whose end the process fails without running", async () => {
    const { clock, state, handle } = await troubled(({ step }) => step("a", () => 1), 3);
    await clock.advance(60_000);
    expect(state.ran).toBe(3);
    expect(await ending(handle)).toBeUndefined();
    state.failing = false;
    await clock.advance(30_000);
    expect(await ending(handle)).toMatchObject({ type: "failure", class: "execution", code: "process_recovery_failed" });
    expect(state.ran).toBe(3);
  });

  it("does not use up the budget of an owner that stored a step", async () => {
    let failing = false;
    let ran = 0;
    const job = async ({ attempt, step }: ProcessContext) => {
      ran++;
      await step(`mark ${attempt}`, () => attempt);
      failing = attempt < 6;
      return await step("end", () => "done");
    };
    const { kernel, probed, clock } = await bench({ attemptBudget: 2, handlers: { job } });
    failAppends(probed, () => failing);
    const handle = await kernel.start(task("job"));
    for (let attempt = 1; attempt < 6; attempt++) {
      await until(() => failing, "the trouble");
      await rounds();
      failing = false;
      await clock.advance(30_000);
    }
    expect(await ending(handle)).toEqual({ type: "success", value: "done" });
    expect(ran).toBe(6);
  });

  it("does not end the run when the handler catches it", async () => {
    const { handle } = await troubled(async ({ step }, state) => {
      const code = await step("a", () => 1).catch((error: HoldfastError) => error.code);
      state.failing = false;
      return code;
    });
    expect(await ending(handle)).toEqual({ type: "success", value: "unavailable" });
  });

  it("that a handle of the context raises leaves the process claimable too", async () => {
    let failing = false;
    const job = async ({ attempt, process }: ProcessContext) => {
      failing = attempt === 1;
      return (await process("outside").record())?.id ?? null;
    };
    const { kernel, probed, clock } = await bench({ handlers: { job } });
    probed.hooks.open = ({ tables }) => {
      if (failing && tables.includes("registrations")) throw new HoldfastError("unavailable", "no storage today");
    };
    await kernel.start({ id: "outside", input: { type: "external", metadata: null } });
    const handle = await kernel.start(task("job"));
    await rounds();
    failing = false;
    expect(await ending(handle)).toBeUndefined();
    await clock.advance(30_000);
    expect(await ending(handle)).toEqual({ type: "success", value: "outside" });
  });

  it("while it listens for a cancel request does not keep a later one from the handler", async () => {
    const { kernel, probed, clock, faults } = await bench({ handlers: { job: untilAborted } });
    const handle = await kernel.start(task("job"));
    await rounds();
    let hiccups = 0;
    probed.hooks.open = ({ mode, tables }) => {
      if (mode === "read" && tables.join() === "processes" && hiccups++ === 0) throw new HoldfastError("unavailable", "hiccup");
    };
    await clock.advance(5_000);
    expect(hiccups).toBe(1);
    await handle.cancel("enough");
    await clock.advance(10_000);
    expect(await ending(handle)).toEqual({ type: "cancelled", message: "enough" });
    expect(faults).toMatchObject([{ area: "runner", code: "unavailable", processId: handle.id }]);
  });

  it("does not lose a finished result when the terminal write fails once", async () => {
    let failures = 0;
    let ran = 0;
    const { kernel, probed, clock, faults } = await bench({ handlers: { job: () => ++ran } });
    probed.hooks.open = (seen) => {
      if (isAppend(seen) && failures++ === 0) throw new HoldfastError("unavailable", "hiccup");
    };
    const handle = await kernel.start(task("job"));
    expect(await ending(handle)).toBeUndefined();
    await clock.advance(2_500);
    expect(await ending(handle)).toEqual({ type: "success", value: 1 });
    expect(ran).toBe(1);
    expect(faults).toHaveLength(1);
  });
});

describe("what is claimed", () => {
  it("is never an external process", async () => {
    const { kernel, clock, sweeps } = await bench({ handlers: { job: () => 1, external: () => 1 } });
    const handle = await kernel.start({ input: { type: "external", metadata: null } });
    await handle.cancel("please");
    await clock.advance(60_000);
    expect(await ending(handle)).toBeUndefined();
    expect(await kernel.processes.getLease(handle.id)).toBeUndefined();
    expect(sweeps.flatMap(({ skipped }) => skipped)).toEqual([]);
  });

  it("is nothing without a handler: it is told as skipped and stays as it is", async () => {
    const { kernel, clock, sweeps } = await bench({ handlers: { job: () => 1 } });
    const handle = await kernel.start(task("unknown"));
    await clock.advance(30_000);
    expect(sweeps.at(-1)).toEqual({ agentsOffline: [], claimed: [], skipped: [handle.id], faulted: [] });
    expect(await ending(handle)).toBeUndefined();
    expect(await kernel.processes.getLease(handle.id)).toBeUndefined();
  });

  it.each(["toString", "constructor", "__proto__", "hasOwnProperty"])(
    "is nothing for a task named %s, which has no handler",
    async (name) => {
      const { kernel, clock, sweeps } = await bench({ handlers: { job: () => 1 } });
      const handle = await kernel.start(task(name));
      await clock.advance(30_000);
      expect(await ending(handle)).toBeUndefined();
      expect(sweeps.at(-1)?.skipped).toEqual([handle.id]);
    },
  );

  it("is a tool call by the handler of its tool", async () => {
    const { kernel } = await bench({
      handlers: { "tool:search": ({ input }) => (input.type === "tool_call" ? input.call.args : null) },
    });
    const handle = await kernel.start({
      input: { type: "tool_call", call: { callId: "1", toolName: "search", args: { q: "otter" } } },
    });
    expect(await ending(handle)).toEqual({ type: "success", value: { q: "otter" } });
  });

  it("is no session turn, which waits for its session", async () => {
    const { kernel, clock } = await bench({ handlers: { job: () => 1 } });
    const handle = await kernel.start({ input: { type: "session_turn", sessionId: "s", input: 1 } });
    await clock.advance(30_000);
    expect(await kernel.processes.getLease(handle.id)).toBeUndefined();
  });
});

describe("an end that the handler did not cause", () => {
  it("aborts the handler with terminal and stays as it is", async () => {
    let reason: unknown;
    const job = (context: ProcessContext) =>
      untilAborted(context).catch((error) => {
        reason = error;
        return "my own result";
      });
    const { kernel } = await bench({ handlers: { job } });
    const handle = await kernel.start(task("job"));
    await rounds();
    await kernel.processes.completeProcess(handle.id, { type: "success", value: "from outside" });
    expect(await ending(handle)).toEqual({ type: "success", value: "from outside" });
    expect(reason).toMatchObject({ code: "terminal" });
    expect(await kernel.processes.getLease(handle.id)).toBeUndefined();
  });
});

describe("an end by the handler's own event", () => {
  it("stays, whatever the handler returns afterwards", async () => {
    const eventTypes = [{ name: "arrived", semantics: { terminal: { state: "completed" as const } } }];
    const job = async ({ emit }: ProcessContext) => {
      await emit("arrived", { at: "noon" }, { replayKey: "arrival" });
      return "ignored";
    };
    const { kernel, faults } = await bench({ handlers: { job } });
    const handle = await kernel.start({ ...task("job"), eventTypes });
    expect(await ending(handle)).toEqual({ type: "success", value: { at: "noon" } });
    await rounds();
    expect(await kernel.processes.getLease(handle.id)).toBeUndefined();
    expect((await kernel.processes.eventsAfter(handle.id, 0)).map(({ eventType }) => eventType)).toEqual(["arrived"]);
    expect(faults).toEqual([]);
  });
});

/** A handler that started a child, and cancels it twice when the gate opens or its signal aborts; and another host of the same database. */
async function withChild() {
  const go = gate();
  const codes: unknown[] = [];
  const cancelBy = async (handle: ProcessHandle, reason: string) =>
    codes.push(
      await handle.cancel(reason).then(
        () => "stored",
        ({ code }) => code,
      ),
    );
  const job = async ({ start, process, signal }: ProcessContext) => {
    const child = await start("kid", { input: { type: "external", metadata: null } });
    signal.addEventListener("abort", () => go.open());
    await go.promise;
    await cancelBy(child, "by its own handle");
    await cancelBy(process(child.id), "by another handle");
    return await never();
  };
  const here = await bench({ handlers: { job } });
  const there = await bench({ loop: "off" }, { probed: probe(here.probed.storage), clock: here.clock });
  await here.kernel.start({ id: "p", ...task("job") });
  await rounds();
  return { here, there, kid: "p/kid", go, codes };
}

/** A handler that waits in every way for something that never ends. */
async function withWaits() {
  const codes: unknown[] = [];
  const job = async ({ process }: ProcessContext) => {
    const handle = process("outside");
    const { signal } = new AbortController();
    const waits = [
      handle.outcome(),
      handle.outcome({ signal }),
      handle.events()[Symbol.asyncIterator]().next(),
      handle.events({ signal })[Symbol.asyncIterator]().next(),
    ];
    await Promise.all(waits.map((wait) => wait.catch(({ code }) => codes.push(code))));
  };
  const here = await bench({ handlers: { job } });
  const there = await bench({ loop: "off" }, { probed: probe(here.probed.storage), clock: here.clock });
  await there.kernel.start({ id: "outside", input: { type: "external", metadata: null } });
  await here.kernel.start({ id: "p", ...task("job") });
  await rounds();
  expect(codes).toEqual([]);
  return { here, there, codes };
}

/** Gives the lease of "p" to another owner, without telling the first one. */
async function takeOver(here: Bench, there: Bench): Promise<void> {
  const row = here.probed.puts("leases").findLast(({ resource }) => resource === "p");
  await there.kernel.processes.completeProcessLease({ processId: "p", leaseToken: row?.leaseToken as string });
  await there.kernel.processes.claimProcessLease("p", "another", 3_600_000);
}

describe("a lease that is lost", () => {
  it("refuses every write of the context, and the end, with lease-lost", async () => {
    const go = gate();
    let after: unknown[] | undefined;
    const codeOf = async (work: () => unknown) => {
      try {
        return await work();
      } catch (error) {
        return (error as HoldfastError).code;
      }
    };
    const job = async (context: ProcessContext) => {
      await go.promise;
      after = [
        await codeOf(() => context.step("a", () => 1)),
        await codeOf(() => context.emit("process.step", 1)),
        await codeOf(() => context.progress(1)),
        await codeOf(() => context.start("c", task("job"))),
      ];
      return "too late";
    };
    const here = await bench({ handlers: { job } });
    const handle = await here.kernel.start(task("job"));
    await rounds();
    const there = await bench({ loop: "off" }, { probed: probe(here.probed.storage), clock: here.clock });
    here.probed.hooks.open = () => {
      throw new HoldfastError("unavailable", "cut off");
    };
    await here.clock.advance(30_000);
    here.probed.hooks = {};
    const lease = await there.kernel.processes.claimProcessLease(handle.id, "another", 3_600_000);
    go.open();
    await until(() => after !== undefined, "the late writes");
    await rounds();
    expect(after).toEqual(Array(4).fill("lease-lost"));
    expect(await there.kernel.processes.eventsAfter(handle.id, 0)).toEqual([]);
    expect(await there.kernel.processes.list()).toHaveLength(1);
    await there.kernel.processes.completeProcess(handle.id, { type: "success", value: "theirs" }, { lease });
    expect(await ending(handle)).toEqual({ type: "success", value: "theirs" });
  });

  it("stores no progress, though its owner has not heard of it", async () => {
    let context: ProcessContext | undefined;
    const job = async (given: ProcessContext) => {
      context = given;
      await never();
    };
    const here = await bench({ handlers: { job } });
    const there = await bench({ loop: "off" }, { probed: probe(here.probed.storage), clock: here.clock });
    const handle = await here.kernel.start({ id: "p", ...task("job") });
    await until(() => context !== undefined, "the handler's start");
    await takeOver(here, there);
    context?.progress(3);
    await rounds();
    expect(context?.signal.reason).toMatchObject({ code: "lease-lost" });
    expect(await handle.record()).not.toHaveProperty("progress");
  });

  it("refuses a cancel of a child, which then stores nothing", async () => {
    const { here, there, kid, go, codes } = await withChild();
    await takeOver(here, there);
    go.open();
    await until(() => codes.length === 2, "the cancels");
    expect(codes).toEqual(["lease-lost", "lease-lost"]);
    expect(await there.kernel.processes.eventsAfter(kid, 0)).toEqual([]);
  });

  it("by the clock refuses a cancel of a child too", async () => {
    const { here, there, kid, codes } = await withChild();
    here.probed.hooks.open = (seen) => {
      if (!isAppend(seen)) throw new HoldfastError("unavailable", "cut off from all but the child");
    };
    await here.clock.advance(30_000);
    here.probed.hooks = {};
    expect(codes).toEqual(["lease-lost", "lease-lost"]);
    expect(await there.kernel.processes.eventsAfter(kid, 0)).toEqual([]);
  });

  it("is told from when its last renewal was sent, however late the storage answered that", async () => {
    let reason: unknown;
    const job = (context: ProcessContext) =>
      untilAborted(context).catch((error) => {
        reason = error;
      });
    const { kernel, probed, clock } = await bench({ handlers: { job } });
    await kernel.start(task("job"));
    await clock.advance(9_999);
    const answer = gate();
    let renewals = 0;
    probed.hooks.done = async ({ mode, tables }) => {
      if (mode === "write" && tables.join() === "leases" && renewals++ === 0) await answer.promise;
    };
    await clock.advance(5_001);
    expect(renewals).toBe(1);
    answer.open();
    await rounds();
    probed.hooks.open = () => {
      throw new HoldfastError("unavailable", "cut off");
    };
    await clock.advance(24_999);
    expect(reason).toBeUndefined();
    await clock.advance(1);
    expect(reason).toMatchObject({ code: "lease-lost" });
  });

  it("ends every wait of the context, also those with a signal of their own", async () => {
    const { here, there, codes } = await withWaits();
    await takeOver(here, there);
    await here.clock.advance(10_000);
    expect(codes).toEqual(Array(4).fill("lease-lost"));
  });

  it("refuses a step that had begun, and what it returned is not stored", async () => {
    const here = await bench({
      handlers: {
        job: async ({ step }) => {
          const there = await bench({ loop: "off" }, { probed: probe(here.probed.storage), clock: here.clock });
          await step("a", async () => {
            await here.clock.advance(29_000);
            return 1;
          });
          const { id } = handle;
          await step("b", async () => {
            const [row] = await rowsOf();
            await there.kernel.processes.completeProcessLease({ processId: id, leaseToken: row?.leaseToken as string });
            await there.kernel.processes.claimProcessLease(id, "another", 3_600_000);
            return 2;
          });
        },
      },
    });
    const rowsOf = async () => {
      const open = await here.probed.storage.open({
        name: "bench",
        schema: SCHEMA,
        durability: "strict",
        newDatabaseId: "x",
        onState: () => {},
      });
      return await open.transact(["leases"], "read", (tx) => tx.range("leases", {}));
    };
    const handle = await here.kernel.start(task("job"));
    await here.kernel.processes.waitEventAfter(handle.id, "process.step", 0);
    await rounds(40);
    expect((await here.kernel.processes.eventsAfter(handle.id, 0)).map(({ payload }) => payload)).toEqual([
      { key: "a", result: 1 },
    ]);
    expect((await here.kernel.processes.getLease(handle.id))?.ownerId).toBe("another");
  });
});

describe("what a runner keeps of its claims", () => {
  const unavailable = (): Promise<never> => Promise.reject(new HoldfastError("unavailable", "cut off"));

  /** A runner without a kernel. `storage` decides what its storage answers. */
  function cutOff() {
    const clock = manualClock();
    const lost: string[] = [];
    const storage = { answer: unavailable };
    const corridor = { run: () => storage.answer(), query: () => storage.answer() };
    const runner = createRunner({
      corridor,
      headStart: () => undefined,
      definitions: loaded(definitions),
      restarts: loaded(restarts),
      signals: loaded(signals),
      declared: declaredTypes(),
      clock,
      limits: DEFAULT_LIMITS,
      timings: DEFAULT_TIMINGS,
      schemas: payloadSchemas(),
      heldLeases: createHeldLeases(),
      watch: createWatch(broadcastNotices("runner", undefined), clock, DEFAULT_TIMINGS.pollMs, () => () => {}),
      stores: {} as RunnerParts["stores"],
      appendEvent: unavailable,
      handlers: new Map(),
      sessionTurn: () => undefined,
      concurrency: 1,
      attemptBudget: 5,
      newNonce: () => "nonce",
      newProcessId: () => "p",
      newSignalId: () => "signal",
      host: () => ({ hostId: "h", bootId: "b", locked: false }),
      onFree: () => {},
      onClaimed: () => {},
      onLost: (processId) => lost.push(processId),
      fault: () => {},
    });
    const claim = (processId: string) =>
      ({ lease: { processId, leaseToken: "t" }, process: { processId }, fruitless: 0 }) as ClaimReply;
    return { clock, runner, lost, claim, storage };
  }

  it("leaves a lease alone for as long as it may live, and lets it go then", async () => {
    const { clock, runner, claim } = cutOff();
    await runner.run([claim("p")], clock.monotonicMs());
    await rounds();
    expect(runner.abandoned).toEqual(["p"]);
    await clock.advance(2 * DEFAULT_TIMINGS.leaseTtlMs - 1);
    expect(runner.abandoned).toEqual(["p"]);
    await clock.advance(1);
    expect(runner.abandoned).toEqual([]);
  });

  it("lets go of a lease that was left alone when the process is claimed again", async () => {
    const { clock, runner, claim } = cutOff();
    await runner.run([claim("p"), claim("q")], clock.monotonicMs());
    await rounds();
    expect(runner.abandoned).toEqual(["p", "q"]);
    const claiming = runner.run([claim("p")], clock.monotonicMs());
    expect(runner.abandoned).toEqual(["q"]);
    await claiming;
  });

  it("counts a claim's deadline from when it was asked for, not from when it came", async () => {
    const { clock, runner, lost, claim, storage } = cutOff();
    await clock.advance(10_000);
    storage.answer = never;
    await runner.run([claim("p")], 0);
    await rounds();
    storage.answer = unavailable;
    await clock.advance(DEFAULT_TIMINGS.leaseTtlMs - 10_000 - 1);
    expect(lost).toEqual([]);
    await clock.advance(1);
    expect(lost).toEqual(["p"]);
  });
});

describe("the record and the input", () => {
  it("are what was registered", async () => {
    let seen: ProcessContext | undefined;
    const { kernel } = await bench({
      handlers: {
        job: (context) => {
          seen = context;
        },
      },
    });
    const handle = await kernel.start(task("job", "fuel"));
    await ending(handle);
    expect(seen?.input).toEqual({ type: "task", name: "job", args: "fuel" });
    expect(seen?.record).toMatchObject({ id: handle.id, status: { state: "running" }, input: seen?.input });
    expect(seen?.attempt).toBe(1);
  });
});
