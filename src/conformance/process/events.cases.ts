import type { JsonValue } from "../../domain/json.js";
import type { ProcessEventAppendRequest } from "../../domain/process/event.js";
import type { ProcessEventType } from "../../domain/process/event-type.js";
import type { ProcessRegistry } from "../../kernel/process/registry.js";
import { casesOn, count, type OpenFixture, outcomes, type Runner, refused, success, task } from "../kit/fixture.js";

const NOTE: ProcessEventType = { name: "note" };

/** A type with every rule: a schema, a selector that a valid payload may lack, an end and a wake. */
const STRICT: ProcessEventType = {
  name: "strict",
  payloadSchema: { type: "object", required: ["n"] },
  semantics: {
    terminal: { state: "completed", awaitOutput: { pointer: "/result" } },
    wake: { input: { pointer: "/text" } },
  },
};

/** Events: appending and reading. */
export function eventCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);
  const register = (processes: ProcessRegistry, ...ids: string[]) =>
    Promise.all(ids.map((id) => processes.registerProcess(task(id, { eventTypes: [NOTE, STRICT] }))));
  const note = (payload: JsonValue, replayKey?: string): ProcessEventAppendRequest =>
    replayKey === undefined ? { eventType: "note", payload } : { eventType: "note", payload, replayKey };

  promise("an event says what happened, when, and by which process (P-90)", async ({ processes, clock }) => {
    const provenance = { ownerScope: { sessionId: "one", agentFrameId: "f" }, hostProfileId: "h" };
    await processes.registerProcess(task("p", { eventTypes: [NOTE], provenance }));
    await clock.advance(5);
    const { event, ...rest } = await processes.appendEvent("p", note({ list: [1, null] }, "k"));
    expect(event).toEqual({
      processId: "p",
      sequence: 1,
      eventType: "note",
      payload: { list: [1, null] },
      invocation: {
        scope: { sessionId: "one" },
        subject: { type: "process_event", processId: "p", sequence: 1, eventType: "note" },
        causedBy: { type: "process", processId: "p" },
        replayKey: "k",
      },
      semantics: {},
      occurredAtMs: clock.now(),
    });
    expect(rest).toEqual({});
    expect(await processes.eventsAfter("p", 0)).toEqual([event]);
    const plain = await processes.appendEvent("p", note(null));
    expect("replayKey" in plain.event.invocation).toBe(false);
  });

  promise("sequences start at 1 in each process and have no gaps (P-40)", async ({ processes, open }) => {
    await register(processes, "p", "q");
    const stores = [processes, (await open()).processes, (await open()).processes];
    const appended = await Promise.all(
      count(60).map((n) => (stores[n % 3] ?? processes).appendEvent(n % 2 ? "p" : "q", note(n))),
    );
    for (const id of ["p", "q"]) {
      const mine = appended.map(({ event }) => event).filter(({ processId }) => processId === id);
      expect(mine.map(({ sequence }) => sequence).sort((a, b) => a - b)).toEqual(count(30));
      expect(await processes.eventsAfter(id, 0)).toEqual(mine.sort((a, b) => a.sequence - b.sequence));
    }
  });

  promise("events of one caller are stored in the order of its calls (P-40)", async ({ processes }) => {
    await register(processes, "p");
    await Promise.all(count(40).map((n) => processes.appendEvent("p", note(n))));
    expect((await processes.eventsAfter("p", 0)).map(({ payload }) => payload)).toEqual(count(40));
  });

  promise("a refused or replayed append uses up no sequence and harms none beside it (P-40)", async ({ processes }) => {
    await register(processes, "p");
    const calls = count(30).map((n) => {
      if (n % 3 === 1) return processes.appendEvent("p", note(n));
      return processes.appendEvent("p", n % 3 === 2 ? note("once", "k") : { eventType: "undeclared", payload: n });
    });
    const { values, codes } = await outcomes(calls);
    expect(codes).toEqual(count(10).map(() => "invalid"));
    expect(values.length).toBe(20);
    const events = await processes.eventsAfter("p", 0);
    expect(events.map(({ sequence }) => sequence)).toEqual(count(11));
    expect(events.filter(({ invocation }) => invocation.replayKey === "k").length).toBe(1);
  });

  promise("every append moves updatedAtMs, and nothing else of a running record (P-49)", async ({ processes, clock }) => {
    const [made] = await register(processes, "p");
    for (const request of [note(1), note(2, "k")]) {
      await clock.advance(1);
      await processes.appendEvent("p", request);
      expect(await processes.getProcess("p")).toEqual({ ...made, updatedAtMs: clock.now() });
    }
    await clock.advance(1);
    await processes.appendEvent("p", { eventType: "process.cancel_requested", payload: {}, replayKey: "c" });
    expect(await processes.getProcess("p")).toEqual({ ...made, updatedAtMs: clock.now() });
  });

  const fits = { n: 1, result: 2, text: "wake up" };
  const unfit = { result: 2 };
  const inOrder: [
    rule: string,
    process: string,
    request: ProcessEventAppendRequest,
    code: "invalid" | "not-found" | "conflict" | "terminal",
    fragment: string,
  ][] = [
    ["the process", "nobody", { eventType: "undeclared", payload: unfit, replayKey: "used" }, "not-found", "unknown process"],
    [
      "the replay",
      "ended",
      { eventType: "undeclared", payload: unfit, replayKey: "used" },
      "conflict",
      "conflicts with an existing event",
    ],
    [
      "the replay",
      "ended",
      { eventType: "strict", payload: unfit, replayKey: "used" },
      "conflict",
      "conflicts with an existing event",
    ],
    ["the declared type", "ended", { eventType: "undeclared", payload: unfit }, "invalid", "emitted undeclared event type"],
    ["the replay key", "ended", { eventType: "strict", payload: unfit }, "invalid", "requires a deterministic replay key"],
    [
      "the schema",
      "ended",
      { eventType: "strict", payload: unfit, replayKey: "k" },
      "invalid",
      'invalid for event type "strict"',
    ],
    ["the selectors", "ended", { eventType: "strict", payload: { n: 1, text: "x" }, replayKey: "k" }, "invalid", "did not match"],
    ["the selectors", "ended", { eventType: "strict", payload: { n: 1, result: 2 }, replayKey: "k" }, "invalid", "did not match"],
    ["that it still runs", "ended", { eventType: "strict", payload: fits, replayKey: "k" }, "terminal", "is already terminal"],
    [
      "the wake's target",
      "running",
      { eventType: "strict", payload: fits, replayKey: "k" },
      "invalid",
      "without a wake target scope",
    ],
  ];
  promise(
    "the checks of an append come in their order, the first that fails refuses, nothing is stored (P-41)",
    async ({ processes, clock }) => {
      await register(processes, "running", "ended");
      await processes.appendEvent("ended", note("first", "used"));
      await processes.completeProcess("ended", success("done"));
      await clock.advance(1);
      await changesNothing(processes, async () => {
        for (const [, process, request, code, fragment] of inOrder) {
          await refused(processes.appendEvent(process, request), code, fragment);
        }
      });
      await processes.appendEvent("running", { eventType: "note", payload: "the key is still free", replayKey: "k" });
    },
  );

  promise("a type that is not declared is refused, of another process too (P-42)", async ({ processes }) => {
    await register(processes, "p");
    await processes.registerProcess(task("bare"));
    await changesNothing(processes, async () => {
      for (const [id, eventType] of [
        ["bare", "note"],
        ["p", "Note"],
        ["p", "process.unknown"],
        ["p", "toString"],
        ["p", "__proto__"],
      ] as const) {
        await refused(
          processes.appendEvent(id, { eventType, payload: 1, replayKey: "k" }),
          "invalid",
          "emitted undeclared event type",
        );
      }
    });
  });

  promise("ends and cancel requests need a replay key (P-43)", async ({ processes }) => {
    await register(processes, "p");
    await changesNothing(processes, async () => {
      for (const name of ["completed", "failed", "cancelled", "cancel_requested"]) {
        const request = { eventType: `process.${name}`, payload: { awaitOutput: success(1) } };
        await refused(processes.appendEvent("p", request), "invalid", "requires a deterministic replay key");
        await refused(processes.appendEvent("p", { ...request, replayKey: "" }), "invalid", "replayKey");
      }
    });
    expect((await processes.appendEvent("p", note(1))).event.sequence).toBe(1);
  });

  promise(
    "steps, and what stands under their keys, are holdfast's to write, and no app's, also under a lease",
    async ({ processes }) => {
      await register(processes, "p", "a:b");
      const lease = await processes.claimProcessLease("p", "owner", 60_000);
      await changesNothing(processes, async () => {
        for (const [id, prefix] of [
          ["p", "process:p:"],
          ["a:b", "process:a%3Ab:"],
          ["a:b", "process:a:b:"],
        ] as const) {
          const step = { eventType: "process.step", payload: { key: "x", result: 1 } };
          const leases = id === "p" ? [{}, { lease }] : [{}];
          for (const more of leases) {
            await refused(processes.appendEvent(id, { ...step, ...more }), "invalid", "process.step");
            await refused(processes.appendEvent(id, { ...step, replayKey: "k", ...more }), "invalid", "process.step");
            for (const rest of ["step:x", "sleep:x", "terminal:note", "anything"])
              await refused(processes.appendEvent(id, { ...note(1, `${prefix}${rest}`), ...more }), "invalid", "replayKey", rest);
          }
        }
      });
      await processes.appendEvent("p", note(1, "process:a:b:step:x"));
      const end = { eventType: "strict", payload: { n: 1, result: 2, text: "t" }, wakeTarget: { sessionId: "s" } };
      const { event } = await processes.appendEvent("p", { ...end, replayKey: "process:p:terminal:strict" });
      expect(event.semantics.terminal?.state).toBe("completed");
    },
  );

  promise(
    "an event that holdfast wrote under its key is the answer to the same again, from an app too (P-45, P-46)",
    async ({ processes }) => {
      await register(processes, "a:b");
      const record = await processes.completeProcess("a:b", success(1));
      const [ended] = await processes.eventsAfter("a:b", 0);
      expect(ended?.invocation.replayKey).toBe("process:a%3Ab:terminal:process.completed");
      const payload = { awaitOutput: success(1) } as unknown as JsonValue;
      const again = { eventType: "process.completed", payload, replayKey: "process:a%3Ab:terminal:process.completed" };
      expect((await processes.appendEvent("a:b", again)).event).toEqual(ended);
      expect(await processes.getProcess("a:b")).toEqual(record);
    },
  );

  promise("a replay with the same content returns the stored event and writes nothing (P-45)", async ({ processes, clock }) => {
    await register(processes, "p");
    const first = await processes.appendEvent("p", note({ a: 1, b: [true] }, "k"));
    await processes.appendEvent("p", note("between"));
    await clock.advance(1);
    await changesNothing(processes, async () => {
      expect(await processes.appendEvent("p", note({ a: 1, b: [true] }, "k"))).toEqual(first);
      expect(await processes.appendEvent("p", note({ b: [true], a: 1.0 }, "k"))).toEqual(first);
    });
  });

  promise("a replay with another payload or type is a conflict (P-45)", async ({ processes }) => {
    await processes.registerProcess(task("p", { eventTypes: [NOTE, { name: "other" }] }));
    await processes.appendEvent("p", note({ a: [1, 2] }, "k"));
    await changesNothing(processes, async () => {
      for (const payload of [{ a: [2, 1] } as JsonValue, { a: [1, 2], b: null }, { a: ["1", 2] }, null]) {
        await refused(
          processes.appendEvent("p", note(payload, "k")),
          "conflict",
          'replay key "k" conflicts with an existing event',
        );
      }
      const other = { eventType: "other", payload: { a: [1, 2] }, replayKey: "k" };
      await refused(processes.appendEvent("p", other), "conflict", "conflicts with an existing event");
    });
  });

  promise("racing appends under one key store one event (P-45)", async ({ processes, open }) => {
    await register(processes, "p");
    const stores = [processes, (await open()).processes, (await open()).processes];
    const same = await Promise.all(count(18).map((n) => (stores[n % 3] ?? processes).appendEvent("p", note("same", "k"))));
    expect(same.map(({ event }) => event.sequence)).toEqual(count(18).map(() => 1));
    const { values, codes } = await outcomes(
      count(18).map((n) => (stores[n % 3] ?? processes).appendEvent("p", note(n, "race"))),
    );
    expect([values.length, new Set(codes)]).toEqual([1, new Set(["conflict"])]);
    expect((await processes.eventsAfter("p", 0)).length).toBe(2);
  });

  promise("keys are per process, and events without one are never the same (P-47)", async ({ processes }) => {
    await register(processes, "p", "q");
    await processes.appendEvent("p", note("in p", "k"));
    expect((await processes.appendEvent("q", note("in q", "k"))).event.payload).toBe("in q");
    for (const sequence of [2, 3]) expect((await processes.appendEvent("p", note("again"))).event.sequence).toBe(sequence);
  });

  promise("an empty key is refused on every type (P-47)", async ({ processes }) => {
    await register(processes, "p");
    await changesNothing(processes, async () => {
      for (const key of ["", " "]) await refused(processes.appendEvent("p", note(1, key)), "invalid", "replayKey");
    });
  });

  promise("keys are compared by the letter", async ({ processes }) => {
    await register(processes, "p");
    const keys = ["k", "K", " k", "k ", "__proto__", "e\u0301", "\u00e9", "k\u0000"];
    for (const key of keys) await processes.appendEvent("p", note(key, key));
    expect((await processes.eventsAfter("p", 0)).map(({ payload }) => payload)).toEqual(keys);
  });

  promise("an ended process still takes events that do not end it (P-48)", async ({ processes, clock }) => {
    await register(processes, "p");
    const ended = await processes.completeProcess("p", success(1));
    await clock.advance(1);
    await processes.appendEvent("p", note("late"));
    await processes.appendEvent("p", { eventType: "process.cancel_requested", payload: { reason: "late" }, replayKey: "c" });
    expect((await processes.eventsAfter("p", 0)).map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    expect(await processes.getProcess("p")).toEqual({ ...ended, updatedAtMs: clock.now() });
  });

  promise("events are read behind a sequence, in order (P-50)", async ({ processes }) => {
    await register(processes, "p", "empty");
    await Promise.all(count(10).map((n) => processes.appendEvent("p", note(n))));
    const read = async (...by: [number, { limit?: number }?]) =>
      (await processes.eventsAfter("p", ...by)).map(({ sequence }) => sequence);
    expect(await read(0)).toEqual(count(10));
    expect(await read(7)).toEqual([8, 9, 10]);
    expect(await read(10)).toEqual([]);
    expect(await read(Number.MAX_SAFE_INTEGER)).toEqual([]);
    expect(await read(3, { limit: 2 })).toEqual([4, 5]);
    expect(await read(8, { limit: 100 })).toEqual([9, 10]);
    expect(await read(0, { limit: 0 })).toEqual([]);
    expect(await processes.eventsAfter("empty", 0)).toEqual([]);
    for (const call of [processes.eventsAfter("nobody", 0), processes.wakeEventsAfter("nobody", 0)]) {
      await refused(call, "not-found", "unknown process");
    }
  });

  promise("a process whose id begins like another's has events of its own (P-50)", async ({ processes }) => {
    const ids = ["p", "p,1", "p1", 'p"', "p\u0000", "[p]", "\u{1f600}"];
    await register(processes, ...ids);
    for (const id of ids) await processes.appendEvent(id, note(id, "k"));
    for (const id of ids) expect((await processes.eventsAfter(id, 0)).map(({ payload }) => payload)).toEqual([id]);
  });

  promise("a thousand events come back whole and in order (P-40, P-50)", async ({ processes }) => {
    await register(processes, "p");
    await Promise.all(count(1000).map((n) => processes.appendEvent("p", note(n))));
    const events = await processes.eventsAfter("p", 0);
    expect(events.map(({ sequence }) => sequence)).toEqual(count(1000));
    expect(events.map(({ payload }) => payload)).toEqual(count(1000));
  });

  promise("what a caller does to a payload or a returned event stays with the caller", async ({ processes }) => {
    await register(processes, "p");
    const payload = { list: [1] };
    const appending = processes.appendEvent("p", note(payload, "k"));
    payload.list.push(2);
    const { event } = await appending;
    (event.payload as typeof payload).list.push(3);
    const [read] = (await processes.eventsAfter("p", 0)).map((stored) => stored.payload as typeof payload);
    expect(read).toEqual({ list: [1] });
    read?.list.push(4);
    expect((await processes.appendEvent("p", note({ list: [1] }, "k"))).event.payload).toEqual({ list: [1] });
  });
}
