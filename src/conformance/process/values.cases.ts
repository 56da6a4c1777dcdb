import type { JsonValue } from "../../domain/json.js";
import type { ProcessRegistry } from "../../kernel/process/registry.js";
import { casesOn, type OpenFixture, type Runner, refusal, refused, success, task } from "../kit/fixture.js";

/** What becomes of a value between the caller and the store, and what is said of one that cannot be stored. */
export function valueCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);

  const json = (value: unknown) => value as JsonValue;
  const note = (processes: ProcessRegistry, payload: unknown, more: object = {}) =>
    processes.appendEvent("p", { eventType: "note", payload: json(payload), ...more });
  const fill = (processes: ProcessRegistry) => processes.registerProcess(task("p", { eventTypes: [{ name: "note" }] }));

  promise("members that are undefined are left out, at any depth: both are one registration (A-1)", async ({ processes }) => {
    const bare = await processes.registerProcess({
      id: "p",
      input: { type: "task", name: "work", args: { a: 1, list: [{}] } },
      eventTypes: [{ name: "note", payloadSchema: { type: "object" } }],
      provenance: { ownerScope: { sessionId: "s" }, hostProfileId: "h", causedBy: { type: "turn" } },
    });
    await changesNothing(processes, async () => {
      const again = await processes.registerProcess({
        id: "p",
        input: { type: "task", name: "work", args: json({ a: 1, b: undefined, list: [{ c: undefined }] }), sessionId: undefined },
        eventTypes: [
          { name: "note", payloadSchema: { type: "object", title: undefined }, semantics: undefined, more: undefined },
        ],
        provenance: {
          ownerScope: { sessionId: "s", agentFrameId: undefined },
          hostProfileId: "h",
          causedBy: { type: "turn", id: undefined },
        },
      } as never);
      expect(again).toEqual(bare);
      expect(Object.keys((again.input as { args: object }).args)).toEqual(["a", "list"]);
    });
  });

  promise("undefined members are not stored, and are not compared: a replay with them is the same event (A-1)", async (setup) => {
    const { processes } = setup;
    await fill(processes);
    const first = await note(processes, { a: 1, b: undefined, c: { d: undefined } }, { replayKey: "r" });
    expect(Object.keys(first.event.payload as object)).toEqual(["a", "c"]);
    expect((await note(processes, { a: 1, c: {} }, { replayKey: "r" })).event).toEqual(first.event);
    await refused(note(processes, { list: [1, undefined] }), "invalid", "request.payload/list/1 is undefined");
    await refused(note(processes, undefined), "invalid", "request.payload is undefined");
    const restarted = await setup.restart();
    expect((await restarted.eventsAfter("p", 0)).map(({ payload }) => payload)).toEqual([{ a: 1, c: {} }]);
  });

  promise("a lone surrogate in a payload, arguments or a result is stored as U+FFFD (A-2)", async (setup) => {
    const { processes } = setup;
    const broken = { text: "a\ud83db", list: ["\udc00", "\ud83d\ude00"] };
    const mended = { text: "a\ufffdb", list: ["\ufffd", "\ud83d\ude00"] };
    await processes.registerProcess({
      id: "p",
      input: { type: "task", name: "work", args: broken },
      eventTypes: [{ name: "note" }],
    });
    expect((await note(processes, broken, { replayKey: "r" })).event.payload).toEqual(mended);
    expect((await note(processes, mended, { replayKey: "r" })).event.sequence).toBe(1);
    await processes.completeProcess("p", success(broken));
    const restarted = await setup.restart();
    expect((await restarted.getProcess("p"))?.input).toEqual({ type: "task", name: "work", args: mended });
    expect((await restarted.getProcess("p"))?.status).toEqual({ state: "completed", awaitOutput: success(mended) });
  });

  promise("a lone surrogate in an id, a key, a name or a member's name stays invalid (A-2)", async ({ processes }) => {
    await fill(processes);
    await changesNothing(processes, async () => {
      await refused(processes.registerProcess(task("q\ud800")), "invalid", "registration.id", "lone surrogate");
      const named = { id: "q", input: { type: "task" as const, name: "\ud800" } };
      await refused(processes.registerProcess(named), "invalid", "registration.input.name", "lone surrogate");
      await refused(note(processes, 1, { replayKey: "\ud800" }), "invalid", "request.replayKey", "lone surrogate");
      await refused(note(processes, { "\ud800": 1 }), "invalid", "request.payload has a key with a lone surrogate");
      const cause = { ownerScope: { sessionId: "s" }, hostProfileId: "h", causedBy: { type: "process" as const, id: "\ud800" } };
      await refused(processes.registerProcess(task("q", { provenance: cause })), "invalid", "causedBy/id has a lone surrogate");
      const schema = { name: "x", payloadSchema: { required: ["\ud800"] } };
      await refused(processes.registerProcess(task("q", { eventTypes: [schema] })), "invalid", "payloadSchema/required/0");
    });
  });

  class Money {
    amount = 1;
  }
  const cycle = { list: [{}] as unknown[] };
  cycle.list.push({ back: cycle });
  const named = Object.create(
    Object.create(
      {},
      {
        constructor: {
          get() {
            throw new Error("a getter");
          },
        },
      },
    ),
  );
  const kinds: [value: unknown, says: string][] = [
    [{ when: new Date(0) }, "request.payload/when is a Date"],
    [{ list: [new Map()] }, "request.payload/list/0 is a Map"],
    [new Set(), "request.payload is a Set"],
    [{ a: Promise.resolve(1) }, "request.payload/a is a Promise: is an await missing?"],
    [new (class Later extends Promise<void> {})((settle) => settle()), "request.payload is a Later: is an await missing?"],
    [{ a: new Response("") }, "request.payload/a is a Response"],
    [{ a: new Blob([]) }, "request.payload/a is a Blob"],
    [{ a: new Error("x") }, "request.payload/a is an Error"],
    [{ a: new Uint8Array(1) }, "request.payload/a is a Uint8Array"],
    [{ price: new Money() }, "request.payload/price is a Money"],
    [{ price: new (class {})() }, "request.payload/price is an instance of a class"],
    [{ a: named }, "request.payload/a is an instance of a class"],
    [{ a: () => 1 }, "request.payload/a is a function"],
    [{ a: Symbol("x") }, "request.payload/a is a symbol"],
    [{ a: 1n }, "request.payload/a is a bigint"],
    [{ a: Number.NaN }, "request.payload/a is NaN"],
    [{ a: new Array(2) }, "request.payload/a is a sparse array"],
    [cycle, "request.payload/list/1/back closes a cycle"],
  ];
  promise("what cannot be stored is named by its path and by the name of its class (A-3)", async ({ processes }) => {
    await fill(processes);
    await changesNothing(processes, async () => {
      for (const [value, says] of kinds) await refused(note(processes, value), "invalid", says);
    });
    const { details } = (await refusal(note(processes, { when: new Date(0) }))) as { details?: unknown };
    expect(details).toEqual({ path: "request.payload/when" });
  });

  promise("a value that appears in several places is no cycle (A-3)", async ({ processes }) => {
    await fill(processes);
    const shared = { x: [1] };
    const { event } = await note(processes, { a: shared, b: [shared, shared.x] });
    expect(event.payload).toEqual({ a: { x: [1] }, b: [{ x: [1] }, [1]] });
  });

  const base = {
    id: "p",
    input: { type: "task" as const, name: "work", args: { a: ["secret"], b: 1 } },
    eventTypes: [{ name: "note", payloadSchema: { type: "object" as const } }],
    provenance: { ownerScope: { sessionId: "s" }, hostProfileId: "h" },
  };
  const differences: [change: object, path: string][] = [
    [{ input: { ...base.input, args: { a: ["hidden"], b: 1 } } }, "input.args/a/0"],
    [{ input: { ...base.input, args: { a: ["secret"] } } }, "input.args/b"],
    [{ input: { ...base.input, args: { ...base.input.args, c: "hidden" } } }, "input.args/c"],
    [{ input: { type: "task", name: "work" } }, "input.args"],
    [{ input: { ...base.input, name: "other" } }, "input.name"],
    [{ input: { type: "external", metadata: "hidden" } }, "input.type"],
    [{ eventTypes: [] }, "eventTypes/0"],
    [{ eventTypes: [{ name: "note", payloadSchema: { type: "string" } }] }, "eventTypes/0/payloadSchema/type"],
    [{ provenance: { ...base.provenance, hostProfileId: "i" } }, "provenance.hostProfileId"],
    [{ provenance: { ...base.provenance, ownerScope: { sessionId: "t" } } }, "provenance.ownerScope.sessionId"],
    [{ provenance: { ...base.provenance, causedBy: { type: "turn" } } }, "provenance.causedBy"],
  ];
  promise("a conflict of registrations names the first member that differs, and no value (A-3)", async ({ processes }) => {
    await processes.registerProcess(base);
    await changesNothing(processes, async () => {
      for (const [change, path] of differences) {
        const error = await refusal(processes.registerProcess({ ...base, ...change }));
        const { code, message, details } = error as { code: string; message: string; details: unknown };
        expect([code, details]).toEqual(["conflict", { processId: "p", path }]);
        expect(message).toBe(`process "p" is registered otherwise: registration hash conflict, ${path} differs`);
      }
    });
  });
}
