import { beforeAll, describe, expect, it } from "vitest";
import { isHoldfastError } from "../../../src/domain/errors.js";
import type { JsonValue } from "../../../src/domain/json.js";
import type { ProcessEventType, TerminalSpec, WakeSpec } from "../../../src/domain/process/event-type.js";
import { leaseOf } from "../../../src/stores/host/claims.rules.js";
import type { LeaseRow } from "../../../src/stores/host/tables.js";
import {
  type Appended,
  type AppendInput,
  type AppendState,
  append,
  asOutput,
  isOwn,
  type PayloadVerdict,
} from "../../../src/stores/process/events.rules.js";
import type { SchemaEngine } from "../../../src/stores/process/json-schema.js";
import { payloadSchemas } from "../../../src/stores/process/payload-schema.js";
import { hashOfJson } from "../../../src/stores/process/processes.rules.js";
import type { EventRow, ProcessRow } from "../../../src/stores/process/tables.js";

const T = 1_000_000;
let engine: SchemaEngine;
beforeAll(async () => {
  const schemas = payloadSchemas();
  await schemas.load();
  engine = schemas.engine as SchemaEngine;
});

const process: ProcessRow = {
  v: 1,
  processId: "p",
  registrationHash: "hash",
  provenance: { ownerScope: { sessionId: "s" }, hostProfileId: "default" },
  inputType: "task",
  createdAtMs: 1,
  updatedAtMs: 1,
  state: "running",
  lastSequence: 6,
};
const leaseRow = {
  v: 1,
  resource: "p",
  fencingToken: 3,
  claimedAtMs: 1,
  expiresAtMs: T + 1,
  ownerId: "o",
  leaseToken: "t",
  fruitless: 0,
} satisfies LeaseRow;
const lease = leaseOf(leaseRow);

interface Case {
  state: AppendState;
  request: AppendInput;
}

function make(type: ProcessEventType, payload: JsonValue, more: Partial<AppendInput> = {}): Case {
  return {
    state: {
      process,
      eventTypes: [type],
      lease: leaseRow,
      replayed: undefined,
    },
    request: {
      processId: "p",
      eventType: type.name,
      payload,
      replayKey: "k",
      wakeTarget: { sessionId: "target" },
      ...more,
    },
  };
}

/** The verdict of the schema, made for the very registration that the process has. */
const verdictOf = ({ state, request }: Case): PayloadVerdict => {
  const schema = state.eventTypes?.find(({ name }) => name === request.eventType)?.payloadSchema ?? true;
  return { registrationHash: "hash", misfit: engine.misfit(JSON.stringify(schema), schema, request.payload) };
};
const run = (given: Case, verdict: PayloadVerdict | undefined = verdictOf(given)): Appended => {
  const appended = append(given.state, given.request, verdict, T);
  if ("unjudged" in appended) throw new Error("it asked for a verdict");
  return appended;
};
function refusal(wrong: Case): { code: string; message: string } {
  try {
    run(wrong);
  } catch (error) {
    if (isHoldfastError(error)) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("it was accepted");
}

describe("the order of the checks", () => {
  const type: ProcessEventType = {
    name: "done",
    payloadSchema: { type: "object", required: ["ok"] },
    semantics: { terminal: { state: "completed", awaitOutput: { pointer: "/out" } }, wake: { input: { pointer: "/text" } } },
  };
  const whole = (): Case => make(type, { ok: true, out: 1, text: "t" }, { lease });
  const without = (name: string, { state, request }: Case): Case => {
    const { [name]: _, ...payload } = request.payload as { [name: string]: JsonValue };
    return { state, request: { ...request, payload } };
  };

  const stored: EventRow = {
    v: 1,
    processId: "p",
    sequence: 2,
    eventType: "done",
    payload: 1,
    replayKey: "k",
    occurredAtMs: 1,
    fencingToken: 1,
  };
  const rules: { name: string; breaks(whole: Case): Case; code: string; says: string }[] = [
    {
      name: "a known process",
      breaks: ({ state, request }) => ({ state: { ...state, process: undefined }, request }),
      code: "not-found",
      says: "unknown process",
    },
    {
      name: "a live lease",
      breaks: ({ state, request }) => ({ state: { ...state, lease: { ...leaseRow, expiresAtMs: T } }, request }),
      code: "lease-lost",
      says: "missing or expired",
    },
    {
      name: "no other event under the key",
      breaks: ({ state, request }) => ({
        state: { ...state, replayed: stored },
        request,
      }),
      code: "conflict",
      says: 'replay key "k" conflicts with an existing event',
    },
    {
      name: "a declared type",
      breaks: ({ state, request }) => ({
        state: { ...state, eventTypes: [] },
        request,
      }),
      code: "invalid",
      says: "emitted undeclared event type",
    },
    {
      name: "what is an app's to write",
      breaks: ({ state, request }) => ({ state, request: { ...request, replayKey: "process:p:step:a" } }),
      code: "invalid",
      says: "is holdfast's own",
    },
    {
      name: "a replay key",
      breaks: ({ state, request: { replayKey: _, ...request } }) => ({ state, request }),
      code: "invalid",
      says: "requires a deterministic replay key",
    },
    { name: "the schema", breaks: (given) => without("ok", given), code: "invalid", says: 'invalid for event type "done"' },
    { name: "the selectors", breaks: (given) => without("out", given), code: "invalid", says: "did not match" },
    {
      name: "a process that runs",
      breaks: ({ state, request }) => ({
        state: { ...state, process: state.process && { ...state.process, state: "failed" } },
        request,
      }),
      code: "terminal",
      says: "already terminal",
    },
    {
      name: "a wake target",
      breaks: ({ state, request: { wakeTarget: _, ...request } }) => ({ state, request }),
      code: "invalid",
      says: "without a wake target scope",
    },
  ];

  it("accepts what breaks none", () => {
    expect(run(whole()).result.event.sequence).toBe(7);
  });

  it.each(rules)("asks for $name", ({ breaks, code, says }) => {
    expect(refusal(breaks(whole()))).toEqual({ code, message: expect.stringContaining(says) });
  });

  const pairs = rules.flatMap((first, at) =>
    rules.slice(at + 1).map((second) => ({ first, second, title: `${first.name} before ${second.name}` })),
  );
  // A missing key conflicts with nothing.
  const possible = pairs.filter(({ title }) => title !== "no other event under the key before a replay key");

  it.each(possible)("asks for $title", ({ first, second }) => {
    expect(refusal(first.breaks(second.breaks(whole())))).toEqual({
      code: first.code,
      message: expect.stringContaining(first.says),
    });
  });

  it("asks for the selectors of the wake before a process that runs", () => {
    const broken = without("text", whole());
    broken.state.process = { ...process, state: "completed" };
    expect(refusal(broken)).toMatchObject({ code: "invalid", message: expect.stringContaining("/text") });
  });

  it("asks for what the schema says only when all before the schema holds", () => {
    expect(append(whole().state, whole().request, undefined, T)).toEqual({ unjudged: { registrationHash: "hash", type } });
    for (const { breaks } of rules.slice(0, 6)) {
      const { state, request } = breaks(whole());
      expect(() => append(state, request, undefined, T)).toThrow();
    }
  });

  it("asks for nothing of a type without a schema", () => {
    const { state, request } = make({ name: "note" }, 1);
    expect(append(state, request, undefined, T)).toHaveProperty("writes");
  });

  it("asks anew when what the schema said was said of another registration of that id", () => {
    const before = { registrationHash: "the one before", misfit: undefined };
    expect(append(whole().state, whole().request, before, T)).toEqual({ unjudged: { registrationHash: "hash", type } });
  });
});

describe("what is stored", () => {
  it("is the event and the process's row", () => {
    const appended = run(make({ name: "note" }, { a: 1 }, { lease }));
    expect(appended.writes).toStrictEqual([
      { table: "processes", put: { ...process, lastSequence: 7, updatedAtMs: T, progressFence: 3 } },
      {
        table: "events",
        put: {
          v: 1,
          processId: "p",
          sequence: 7,
          eventType: "note",
          payload: { a: 1 },
          replayKey: "k",
          occurredAtMs: T,
          fencingToken: 3,
        },
      },
    ]);
  });

  it("is of the type that is declared by its name, among others, and of no other", () => {
    const given = make({ name: "note" }, 1);
    given.state.eventTypes = [{ name: "end", semantics: { terminal: { state: "failed" } } }, { name: "note" }];
    expect(run(given).process.state).toBe("running");
    for (const eventTypes of [[{ name: "end" }], undefined])
      expect(refusal({ ...given, state: { ...given.state, eventTypes } })).toMatchObject({
        message: expect.stringContaining("undeclared"),
      });
  });

  it("has no replay key without one, and no fence without a lease", () => {
    const { state, request } = make({ name: "note" }, 1);
    const { replayKey: _, ...keyless } = request;
    const appended = run({ state, request: keyless });
    expect(appended.writes.filter((write) => "put" in write && "replayKey" in write.put)).toEqual([]);
    expect(appended.process).not.toHaveProperty("progressFence");
    expect(appended.result.event.invocation).not.toHaveProperty("replayKey");
  });

  it("is, where the process ends, its state, its output and when, and it waits to run no more", () => {
    const type: ProcessEventType = { name: "end", semantics: { terminal: { state: "completed" } } };
    const given = make(type, 5);
    given.state.process = { ...process, runnable: "task" };
    const awaitOutput = { type: "success", value: 5 };
    const appended = run(given);
    expect(appended.process).toEqual({
      ...process,
      state: "completed",
      awaitOutput,
      endedAtMs: T,
      lastSequence: 7,
      updatedAtMs: T,
    });
    expect(appended.result.event.semantics).toEqual({ terminal: { state: "completed", awaitOutput } });
    expect(appended.writes[1]).toMatchObject({ put: { semantics: { terminal: { state: "completed", awaitOutput } } } });
  });

  it("leaves what waits to run as it is where nothing ends, and asks for no cancel", () => {
    const given = make({ name: "note" }, { reason: "why" });
    given.state.process = { ...process, runnable: "task" };
    expect(run(given).process).toEqual({ ...process, runnable: "task", lastSequence: 7, updatedAtMs: T });
  });

  it("has no fence of another process's lease, and is no progress of it", () => {
    const given = make({ name: "note" }, 1, { lease: { ...lease, processId: "q" } });
    given.state.lease = { ...leaseRow, resource: "q" };
    const appended = run(given);
    expect(appended.writes[1]).not.toHaveProperty("put.fencingToken");
    expect(appended.process).not.toHaveProperty("progressFence");
  });

  it("is told with what caused it", () => {
    expect(run(make({ name: "note" }, { a: 1 })).result).toEqual({
      event: {
        processId: "p",
        sequence: 7,
        eventType: "note",
        payload: { a: 1 },
        invocation: {
          scope: { sessionId: "s" },
          subject: { type: "process_event", processId: "p", sequence: 7, eventType: "note" },
          causedBy: { type: "process", processId: "p" },
          replayKey: "k",
        },
        semantics: {},
        occurredAtMs: T,
      },
    });
  });

  it("is not ended again by an event that ends nothing, also when the process has ended", () => {
    const given = make({ name: "note" }, 1);
    given.state.process = { ...process, state: "completed", awaitOutput: { type: "success", value: 1 } };
    expect(run(given).process).toMatchObject({
      state: "completed",
      awaitOutput: { type: "success", value: 1 },
      lastSequence: 7,
    });
  });
});

describe("a replay", () => {
  const stored: EventRow = {
    v: 1,
    processId: "p",
    sequence: 2,
    eventType: "note",
    payload: 1,
    replayKey: "k",
    occurredAtMs: 5,
    fencingToken: 3,
  };
  const again = (more: Partial<AppendState> = {}, request: Partial<AppendInput> = {}): Case => {
    const given = make({ name: "note" }, 1, request);
    return { state: { ...given.state, replayed: stored, ...more }, request: given.request };
  };

  it("gives the stored event and writes nothing", () => {
    expect(run(again())).toMatchObject({ writes: [], process, result: { event: { sequence: 2, occurredAtMs: 5 } } });
  });

  it("holds on an ended process, for a type that is not declared any more, and without a wake target", () => {
    const { wakeTarget: _, ...request } = again().request;
    const state = again({ process: { ...process, state: "completed" }, eventTypes: undefined }).state;
    expect(run({ state, request }, undefined).writes).toEqual([]);
  });

  it("gives the stored delivery, whatever scope is named now", () => {
    const woken: EventRow = {
      ...stored,
      semantics: { wake: { input: "in", dedupeKey: "d" } },
      wake: { wakeId: "wake:1", target: { sessionId: "first" } },
      pendingWake: 2,
    };
    const appended = run(again({ replayed: woken }, { wakeTarget: { sessionId: "second" } }));
    expect(appended.result.wakeDelivery).toMatchObject({
      wakeId: "wake:1",
      targetSessionId: "first",
      targetScopeId: "session:first",
      input: "in",
      dedupeKey: "d",
    });
  });

  it("of another content is refused with the key and the event that has it", () => {
    for (const request of [{ payload: 2 }, { eventType: "other" }])
      expect(() => run(again({}, request))).toThrow(
        expect.objectContaining({ code: "conflict", details: { replayKey: "k", sequence: 2 } }),
      );
    const { replayKey: _, ...keyless } = stored;
    expect(() => run(again({ replayed: keyless }, { payload: 2 }))).toThrow(
      expect.objectContaining({ details: { replayKey: "", sequence: 2 } }),
    );
  });

  const free = { v: 1, resource: "p", fencingToken: 3, claimedAtMs: 0, expiresAtMs: 0, fruitless: 0 } satisfies LeaseRow;
  it.each<[string, Partial<AppendState>, boolean]>([
    ["of the very event that its released lease stored", { lease: free }, true],
    [
      "when another has claimed since",
      { lease: { ...free, fencingToken: 4, leaseToken: "u", ownerId: "x", expiresAtMs: T + 9 } },
      false,
    ],
    ["when another has claimed and released since", { lease: { ...free, fencingToken: 4 } }, false],
    ["of an event that another owner stored", { lease: free, replayed: { ...stored, fencingToken: 2 } }, false],
    ["of an event that no lease fenced", { lease: free, replayed: { ...stored, fencingToken: undefined as never } }, false],
    ["when no lease is stored any more", { lease: undefined }, false],
    ["when its lease only ran out", { lease: { ...leaseRow, expiresAtMs: T } }, false],
  ])("under a lease that is gone: %s", (_, state, holds) => {
    const given = again(state, { lease });
    if (holds) expect(run(given).result.event.sequence).toBe(2);
    else expect(refusal(given)).toMatchObject({ code: "lease-lost" });
  });

  it("under a lease that is gone never hides that the content is another", () => {
    const given = again({ lease: free }, { lease });
    given.request.payload = "another";
    expect(refusal(given)).toMatchObject({ code: "lease-lost" });
  });
});

describe("what is holdfast's own", () => {
  const types: [eventType: string, semantics: ProcessEventType["semantics"]][] = [
    ["note", {}],
    ["done", { terminal: { state: "completed", awaitOutput: "payload" } }],
    ["process.step", {}],
    ["process.cancel_requested", {}],
    ["process.completed", {}],
  ];
  const payload = { awaitOutput: { type: "success", value: 1 } };
  const append = (
    eventType: string,
    semantics: ProcessEventType["semantics"],
    replayKey: string,
    more: Partial<AppendInput> = {},
  ) => make({ name: eventType, ...(semantics && { semantics }) }, payload, { replayKey, ...more });

  it("is an app's to write only where it ends the process or asks it to cancel, under the key made for that", () => {
    const taken = types.flatMap(([eventType, semantics]) =>
      ["step:a", "sleep:a", "", "terminal:note", "terminal:done", "terminal:process.completed", "cancel_requested:1"]
        .filter((rest) => {
          try {
            return run(append(eventType, semantics, `process:p:${rest}`)).writes.length > 0;
          } catch {
            return false;
          }
        })
        .map((rest) => `${eventType} ${rest}`),
    );
    expect(taken).toEqual([
      "done terminal:done",
      "process.cancel_requested cancel_requested:1",
      "process.completed terminal:process.completed",
    ]);
  });

  it("is no step of an app's, whatever its key, with a lease or without", () => {
    for (const key of ["k", "process:p:step:a", "process:q:step:a"])
      for (const more of [{}, { lease }])
        expect(refusal(append("process.step", {}, key, more))).toMatchObject({
          code: "invalid",
          message: expect.stringContaining("process.step"),
        });
  });

  it("is told by the process's own id, encoded or as an older database has it, and leaves other keys alone", () => {
    const given = (replayKey: string): Case => {
      const { state, request } = append("note", {}, replayKey);
      return { state: { ...state, process: { ...process, processId: "a:1%" } }, request: { ...request, processId: "a:1%" } };
    };
    for (const key of ["process:a%3A1%25:step:x", "process:a:1%:step:x"]) expect(refusal(given(key)).code).toBe("invalid");
    for (const key of ["process:a:step:x", "process:a%3A1:step:x", "process", "step:x"])
      expect(run(given(key)).writes).toHaveLength(2);
  });

  it("is written by holdfast itself", () => {
    expect(run(append("process.step", {}, "process:p:step:a", { own: true })).writes).toHaveLength(2);
  });

  it.each<[string, string, JsonValue, boolean]>([
    ["the step of that key", "process.step", { key: "a", result: 1 }, true],
    ["the step of another key", "process.step", { key: "b", result: 1 }, false],
    ["a step without a key", "process.step", 1, false],
    ["a step that is nothing", "process.step", null, false],
    ["a step that is a list", "process.step", Object.assign([1], { key: "a" }), false],
    ["an app's event", "note", { key: "a", result: 1 }, false],
  ])("is not whatever stands under its key: %s", (_, eventType, stored, is) => {
    const row: EventRow = { v: 1, processId: "p", sequence: 1, eventType, payload: stored, replayKey: "k", occurredAtMs: 1 };
    expect(isOwn(row, { eventType: "process.step", payload: { key: "a", result: null } })).toBe(is);
  });
});

describe("an event of holdfast's that is no step", () => {
  it("is told by its type alone", () => {
    const row: EventRow = { v: 1, processId: "p", sequence: 1, eventType: "done", payload: { key: "a" }, occurredAtMs: 1 };
    expect(isOwn(row, { eventType: "done", payload: { key: "b" } })).toBe(true);
    expect(isOwn(row, { eventType: "other", payload: { key: "a" } })).toBe(false);
  });
});

describe("what ends an ended process", () => {
  it("is refused with the state in which it ended", () => {
    const given = make({ name: "end", semantics: { terminal: { state: "completed" } } }, 5);
    given.state.process = { ...process, state: "failed" };
    expect(() => run(given)).toThrow(expect.objectContaining({ code: "terminal", details: { state: "failed" } }));
  });
});

describe("a cancel request", () => {
  const request = (payload: JsonValue, key?: string): Case => {
    const given = make({ name: "process.cancel_requested" }, payload);
    if (key === "") delete given.request.replayKey;
    return given;
  };

  it("needs a replay key", () => {
    expect(refusal(request({}, ""))).toMatchObject({
      code: "invalid",
      message: expect.stringContaining("requires a deterministic replay key"),
    });
  });

  it.each([
    [{ reason: "enough" }, "enough"],
    [{}, "cancel requested"],
    [{ reason: "" }, "cancel requested"],
    [{ reason: 7 }, "cancel requested"],
    [null, "cancel requested"],
    [["reason"], "cancel requested"],
    [Object.assign([1], { reason: "of a list" }), "cancel requested"],
    ["reason", "cancel requested"],
  ])("of %j has the reason %j", (payload, reason) => {
    expect(run(request(payload)).process).toMatchObject({ state: "running", cancelRequested: reason });
  });

  it("does not replace the reason of the first", () => {
    const given = request({ reason: "second" });
    given.state.process = { ...process, cancelRequested: "first" };
    expect(run(given).process.cancelRequested).toBe("first");
  });
});

describe("how a terminal event ends the process", () => {
  const ends = (terminal: TerminalSpec, payload: JsonValue) =>
    run(make({ name: "end", semantics: { terminal } }, payload)).process.awaitOutput;
  const failure = { type: "failure", class: "c", code: "x", message: "m" };

  it.each<[string, TerminalSpec, JsonValue, unknown]>([
    [
      "no selector: the whole payload is the value",
      { state: "completed" },
      { type: "success", value: 1 },
      { type: "success", value: { type: "success", value: 1 } },
    ],
    [
      "a selected output is that output",
      { state: "completed", awaitOutput: { pointer: "/o" } },
      { o: { type: "success", value: 1 } },
      { type: "success", value: 1 },
    ],
    ["a selected failure is that failure", { state: "failed", awaitOutput: "payload" }, failure, failure],
    [
      "another selected value completes with it",
      { state: "completed", awaitOutput: { pointer: "/o" } },
      { o: [1] },
      { type: "success", value: [1] },
    ],
    [
      "another selected value fails with its text",
      { state: "failed", awaitOutput: { pointer: "/o" } },
      { o: "why" },
      { type: "failure", class: "execution", code: "process_failed", message: "why", raw: "why" },
    ],
    [
      "another selected value cancels with its text",
      { state: "cancelled", awaitOutput: "payload" },
      { a: 1 },
      { type: "cancelled", message: '{"a":1}', raw: { a: 1 } },
    ],
    [
      "a broken failure is wrapped, not believed",
      { state: "failed", awaitOutput: "payload" },
      { type: "failure", class: "c" },
      expect.objectContaining({ code: "process_failed", raw: { type: "failure", class: "c" } }),
    ],
  ])("%s", (_, terminal, payload, expected) => {
    expect(ends(terminal, payload)).toEqual(expected);
  });

  it.each<[TerminalSpec["state"], JsonValue]>([
    ["failed", { type: "success", value: 1 }],
    ["cancelled", { type: "success", value: 1 }],
    ["completed", failure],
    ["completed", { type: "cancelled", message: "m" }],
    ["failed", { type: "cancelled", message: "m" }],
  ])("refuses as %s an output of another state: %j", (state, payload) => {
    const given = make({ name: "end", semantics: { terminal: { state, awaitOutput: "payload" } } }, payload);
    expect(refusal(given).code).toBe("invalid");
  });

  it("takes the core types' output from /awaitOutput", () => {
    const given = make({ name: "process.failed" }, { awaitOutput: failure });
    given.state.eventTypes = undefined;
    expect(run(given).process).toMatchObject({ state: "failed", awaitOutput: failure });
    given.request.payload = failure;
    expect(refusal(given)).toMatchObject({ code: "invalid", message: expect.stringContaining("did not match") });
  });
});

describe("what is an output", () => {
  it.each<[JsonValue, boolean]>([
    [{ type: "success", value: null }, true],
    [{ type: "success", value: 1, control: 2 }, true],
    [{ type: "success" }, false],
    [{ type: "failure", class: "c", code: "x", message: "" }, true],
    [{ type: "failure", class: "c", code: 1, message: "m" }, false],
    [{ type: "failure", class: "c", message: "m" }, false],
    [{ type: "cancelled", message: "m", raw: null }, true],
    [{ type: "cancelled" }, false],
    [{ type: "toString" }, false],
    [{ type: ["success"], value: 1 }, false],
    [{ type: "other", value: 1 }, false],
    [[], false],
    [null, false],
    ["success", false],
    [Object.assign([1], { type: "success", value: 1 }), false],
  ])("%j: %s", (value, is) => {
    expect(asOutput(value) !== undefined).toBe(is);
  });

  it.each<JsonValue>([
    { type: "success", value: 1, control: 2 },
    { type: "failure", class: "c", code: "x", message: "m", raw: 1, control: 2 },
    { type: "cancelled", message: "m", raw: 1, control: 2 },
    { type: "cancelled", message: "m" },
  ])("keeps all that it knows: %j", (value) => {
    expect(asOutput(value)).toEqual(value);
  });

  it("keeps of each kind only what that kind has", () => {
    const all = { value: 1, class: "c", code: "x", message: "m", raw: 2, control: 3 };
    const kept = (type: string) => Object.keys(asOutput({ type, ...all }) ?? {});
    expect(kept("success")).toEqual(["type", "value", "control"]);
    expect(kept("failure")).toEqual(["type", "class", "code", "message", "raw", "control"]);
    expect(kept("cancelled")).toEqual(["type", "message", "raw", "control"]);
  });

  it("leaves members behind that it does not know", () => {
    expect(asOutput({ type: "success", value: 1, extra: 2, message: "m" })).toEqual({ type: "success", value: 1 });
  });
});

describe("a wake", () => {
  const wakes = (wake: WakeSpec, payload: JsonValue) => run(make({ name: "w", semantics: { wake } }, payload));

  it("takes its input as text, and by default the event for its dedupe key", () => {
    const appended = wakes({ input: { pointer: "/n" } }, { n: [1, 2] });
    expect(appended.result.event.semantics).toEqual({ wake: { input: "[1,2]", dedupeKey: "p:7" } });
    expect(appended.writes[1]).toMatchObject({ put: { pendingWake: 7, wake: { target: { sessionId: "target" } } } });
  });

  it.each<[WakeSpec["dedupeKey"], string]>([
    ["event_identity", "p:7"],
    [{ const: "c" }, "c"],
    [{ selector: { pointer: "/n" } }, "5"],
  ])("dedupes by %j", (dedupeKey, expected) => {
    expect(wakes({ input: "payload", ...(dedupeKey && { dedupeKey }) }, { n: 5 }).result.wakeDelivery?.dedupeKey).toBe(expected);
  });

  it("has an id of target scope and dedupe key alone", () => {
    let payload = 0;
    const idOf = (sessionId: string, frame?: string) => {
      const given = make({ name: "w", semantics: { wake: { input: "payload", dedupeKey: { const: "d" } } } }, payload++);
      given.request.wakeTarget = { sessionId, ...(frame !== undefined && { agentFrameId: frame }) };
      return run(given).result.wakeDelivery?.wakeId;
    };
    expect(idOf("s")).toBe(`wake:${hashOfJson(["session:s", "d"])}`);
    expect(idOf("s")).toBe(idOf("s"));
    expect(idOf("s", "f")).toBe(`wake:${hashOfJson(["session:s/frame:f", "d"])}`);
    expect(idOf("t")).not.toBe(idOf("s"));
  });

  it("tells its receiver where it came from and what caused that", () => {
    const given = make({ name: "w", semantics: { wake: { input: "payload" } } }, "text");
    const causedBy = { type: "process" as const, processId: "parent" };
    given.state.process = { ...process, provenance: { ...process.provenance, causedBy } };
    given.request.wakeTarget = { sessionId: "target", agentFrameId: "f" };
    expect(run(given).result.wakeDelivery).toEqual({
      wakeId: `wake:${hashOfJson(["session:target/frame:f", "p:7"])}`,
      targetSessionId: "target",
      targetScopeId: "session:target/frame:f",
      processId: "p",
      sequence: 7,
      eventType: "w",
      eventInvocation: {
        scope: { sessionId: "s" },
        subject: { type: "process_event", processId: "p", sequence: 7, eventType: "w" },
        causedBy: { type: "process", processId: "p" },
        replayKey: "k",
      },
      processCausedBy: causedBy,
      dedupeKey: "p:7",
      input: "text",
      createdAtMs: T,
    });
    given.state.process = process;
    expect(run(given).result.wakeDelivery).not.toHaveProperty("processCausedBy");
  });

  it("comes when its condition is true", () => {
    const wake: WakeSpec = { when: { pointer: "/on" }, input: { const: "in" } };
    expect(wakes(wake, { on: true }).result.wakeDelivery?.input).toBe("in");
  });

  it("stays away when its condition is false, and then needs no target", () => {
    const given = make(
      { name: "w", semantics: { wake: { when: { pointer: "/on" }, input: { pointer: "/missing" } } } },
      { on: false },
    );
    delete given.request.wakeTarget;
    const appended = run(given);
    expect(appended.result.wakeDelivery).toBeUndefined();
    expect(appended.result.event.semantics).toEqual({});
    expect(appended.writes[1]).not.toHaveProperty("put.pendingWake");
  });

  it("refuses the append when its condition leads nowhere", () => {
    expect(refusal(make({ name: "w", semantics: { wake: { when: { pointer: "/on" }, input: "payload" } } }, {}))).toMatchObject({
      code: "invalid",
    });
  });
});
