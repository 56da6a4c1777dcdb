import { CORE_EVENT_TYPES } from "../../domain/process/event-type.js";
import type { CausalRef, ProcessInput, ProcessRecord, ProcessRegistration } from "../../domain/process/process.js";
import {
  cancelled,
  casesOn,
  count,
  failure,
  type OpenFixture,
  outcomes,
  type Runner,
  refused,
  success,
  task,
} from "../kit/fixture.js";

const NOTE = { name: "note" };
const OWNED = { ownerScope: { sessionId: "one" }, hostProfileId: "default" };

/** Registration, lookup, lists and external references. */
export function processCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);

  promise("the tier is inline in memory and durable elsewhere (D-1)", async ({ processes, storage }) => {
    expect(processes.durabilityTier()).toBe(storage.kind === "memory" ? "inline" : "durable");
  });

  promise("a new process is running, without events, grants or an external reference (P-6)", async ({ processes, clock }) => {
    const record = await processes.registerProcess(task("p", { eventTypes: [NOTE] }));
    const { registrationHash, eventTypes, ...rest } = record;
    expect(rest).toEqual({
      id: "p",
      input: { type: "task", name: "work" },
      provenance: { ownerScope: { sessionId: "root" }, hostProfileId: "default" },
      createdAtMs: clock.now(),
      updatedAtMs: clock.now(),
      status: { state: "running" },
    });
    expect(/^[0-9a-f]{64}$/.test(registrationHash)).toBe(true);
    expect(await processes.getProcess("p")).toEqual(record);
    expect(await processes.eventsAfter("p", 0)).toEqual([]);
    expect(await processes.handleGrantsForProcess("p")).toEqual([]);
    expect(await processes.getLease("p")).toBe(undefined);
  });

  promise("the core types stand behind the declared ones (P-1)", async ({ processes }) => {
    const { eventTypes } = await processes.registerProcess(task("p", { eventTypes: [{ name: "z" }, { name: "a" }] }));
    expect(eventTypes.slice(0, 2)).toEqual([{ name: "z" }, { name: "a" }]);
    const core = [
      "process.attempt_failed",
      "process.cancel_requested",
      "process.cancelled",
      "process.completed",
      "process.failed",
      "process.restarted",
      "process.signal",
      "process.step",
      "process.step_failed",
      "process.waiting",
    ];
    expect(
      eventTypes
        .slice(2)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(core);
  });

  promise("what a caller does to a returned record stays with the caller", async ({ processes }) => {
    const registering = [1, 2].map(() =>
      processes.registerProcess(task("p", { input: { type: "external", metadata: { list: [1] } } })),
    );
    const [record, twin] = (await Promise.all(registering)) as [ProcessRecord, ProcessRecord];
    const kept = structuredClone(record);
    (record.input as unknown as { metadata: { list: number[] } }).metadata.list.push(2);
    record.eventTypes.length = 0;
    expect(twin).toEqual(kept);
    const read = await processes.getProcess("p");
    expect(read).toEqual(kept);
    read?.eventTypes.splice(0);
    expect(await processes.list()).toEqual([kept]);
  });

  const inputs: ProcessInput[] = [
    { type: "task", name: "work" },
    { type: "task", name: "work", args: null },
    { type: "task", name: "work", args: { deep: [1, "two", { three: null }] } },
    { type: "tool_call", call: { callId: "c", toolName: "t", args: [] } },
    { type: "session_turn", sessionId: "s", input: "go" },
    { type: "external", metadata: { url: "x" } },
  ];
  promise("every kind of input is stored as it was given", async ({ processes }) => {
    for (const [at, input] of inputs.entries()) await processes.registerProcess({ id: `p${at}`, input });
    expect((await processes.list()).map(({ input }) => input)).toEqual(inputs);
  });

  const causes = ["turn", "effect", "tool_call", "process", "process_event", "host_event", "session_node"] as const;
  promise("provenance is stored as it was given, with every kind of cause (P-92)", async ({ processes }) => {
    const given = causes.map((type) => {
      const causedBy: CausalRef = { type, id: "x", at: { sequence: 3 } };
      return { ownerScope: { sessionId: "one", agentFrameId: "f" }, hostProfileId: "h", causedBy };
    });
    for (const [at, provenance] of given.entries()) await processes.registerProcess(task(`p${at}`, { provenance }));
    expect((await processes.list()).map(({ provenance }) => provenance)).toEqual(given);
  });

  promise(
    "the same registration again gives the stored record, unchanged, also after its end (P-4)",
    async ({ processes, clock }) => {
      const first = await processes.registerProcess(task("p", { eventTypes: [NOTE] }));
      await clock.advance(1);
      await changesNothing(processes, async () => {
        expect(await processes.registerProcess(task("p", { eventTypes: [NOTE] }))).toEqual(first);
      });
      const ended = await processes.completeProcess("p", success(1));
      await clock.advance(1);
      await changesNothing(processes, async () => {
        expect(await processes.registerProcess(task("p", { eventTypes: [NOTE] }))).toEqual(ended);
      });
    },
  );

  const base: ProcessRegistration = {
    id: "p",
    input: { type: "task", name: "work", args: { a: 1, b: [1, 2] } },
    eventTypes: [NOTE, { name: "other" }],
    provenance: { ownerScope: { sessionId: "one" }, hostProfileId: "h" },
  };
  const others: [name: string, change: Partial<ProcessRegistration>][] = [
    ["another task", { input: { type: "task", name: "other", args: { a: 1, b: [1, 2] } } }],
    ["other arguments", { input: { type: "task", name: "work", args: { a: 1, b: [2, 1] } } }],
    ["no arguments", { input: { type: "task", name: "work" } }],
    ["another kind of input", { input: { type: "external", metadata: { a: 1, b: [1, 2] } } }],
    ["event types in another order", { eventTypes: [{ name: "other" }, NOTE] }],
    ["one event type less", { eventTypes: [NOTE] }],
    ["no event types", { eventTypes: [] }],
    ["an event type with a schema", { eventTypes: [{ ...NOTE, payloadSchema: true }, { name: "other" }] }],
    ["another session", { provenance: { ownerScope: { sessionId: "two" }, hostProfileId: "h" } }],
    ["a frame", { provenance: { ownerScope: { sessionId: "one", agentFrameId: "f" }, hostProfileId: "h" } }],
    ["another profile", { provenance: { ownerScope: { sessionId: "one" }, hostProfileId: "i" } }],
    ["a cause", { provenance: { ownerScope: { sessionId: "one" }, hostProfileId: "h", causedBy: { type: "turn" } } }],
  ];
  promise("another registration under a stored id is a conflict and changes nothing (P-3, P-5)", async ({ processes, clock }) => {
    await processes.registerProcess(base);
    await clock.advance(1);
    await changesNothing(processes, async () => {
      for (const [, change] of others) {
        await refused(processes.registerProcess({ ...base, ...change }), "conflict", "registration hash conflict");
      }
    });
  });

  promise("every difference gives another hash, another id too (P-3)", async ({ processes }) => {
    const all = [base, ...others.map(([, change]) => ({ ...base, ...change }))];
    const hashes = await Promise.all(
      all.map(async (registration, at) => (await processes.registerProcess({ ...registration, id: `p${at}` })).registrationHash),
    );
    const twins = await processes.registerProcess({ ...base, id: "twin" });
    expect(new Set([...hashes, twins.registrationHash]).size).toBe(all.length + 1);
  });

  promise("neither the order of members nor a default spelled out changes the hash (P-3)", async ({ processes }) => {
    const { registrationHash } = await processes.registerProcess(base);
    const turned = {
      provenance: { hostProfileId: "h", ownerScope: { sessionId: "one" } },
      eventTypes: [NOTE, { name: "other" }],
      input: { args: { b: [1, 2], a: 1.0 }, name: "work", type: "task" as const },
      id: "p",
    };
    expect((await processes.registerProcess(turned)).registrationHash).toBe(registrationHash);
    const framed = { ownerScope: { sessionId: "one", agentFrameId: "" }, hostProfileId: "h" };
    expect((await processes.registerProcess({ ...base, provenance: framed })).registrationHash).toBe(registrationHash);
    const bare = await processes.registerProcess(task("bare"));
    const spelled = { eventTypes: [], provenance: { ownerScope: { sessionId: "root" }, hostProfileId: "default" } };
    expect(await processes.registerProcess(task("bare", spelled))).toEqual(bare);
    const zero = (value: number) => processes.registerProcess(task("zero", { input: { type: "external", metadata: value } }));
    expect(await zero(-0)).toEqual(await zero(0));
  });

  promise("the hash is SHA-256 of the canonical registration without the core types (P-3)", async ({ processes }) => {
    const { registrationHash } = await processes.registerProcess(task("known"));
    expect(registrationHash).toBe("92ce7b2ad05be841f2ea99ae166359d78524a080681cd2a8edffa8dd6bfaa644");
  });

  promise("racing registrations of one id give one row (P-7)", async ({ processes, open }) => {
    const stores = [processes, (await open()).processes, (await open()).processes];
    const same = await Promise.all(count(18).map((n) => stores[n % 3]?.registerProcess(task("same"))));
    expect(new Set(same.map((record) => JSON.stringify(record))).size).toBe(1);
    const different = await outcomes(
      count(18).map((n) =>
        (stores[n % 3] ?? processes).registerProcess(task("different", { input: { type: "external", metadata: n } })),
      ),
    );
    expect(different.values.length).toBe(1);
    expect(new Set(different.codes)).toEqual(new Set(["conflict"]));
    expect(await processes.getProcess("different")).toEqual(different.values[0]);
    expect((await processes.list()).length).toBe(2);
  });

  const bad: [fragment: string, change: object][] = [
    ["must be a non-empty string", { id: "" }],
    ["must be a non-empty string", { id: " \t\n" }],
    ["owner scope must include a session id", { provenance: { ownerScope: { sessionId: "" }, hostProfileId: "h" } }],
    ["owner scope must include a session id", { provenance: { ownerScope: { sessionId: " " }, hostProfileId: "h" } }],
    ["/frame:", { provenance: { ownerScope: { sessionId: "s/frame:f" }, hostProfileId: "h" } }],
    ["host profile id must be non-empty", { provenance: { ...OWNED, hostProfileId: "" } }],
    ["host profile id must be non-empty", { provenance: { ...OWNED, hostProfileId: "  " } }],
    ["causedBy.type", { provenance: { ...OWNED, causedBy: { type: "weather" } } }],
    ["causedBy", { provenance: { ...OWNED, causedBy: "turn" } }],
    ["declares an empty event type", { eventTypes: [{ name: "" }] }],
    ["declares an empty event type", { eventTypes: [NOTE, { name: "  " }] }],
    ["declares duplicate event type", { eventTypes: [NOTE, { name: "other" }, NOTE] }],
    ["must declare await output", { eventTypes: [{ name: "x", semantics: { terminal: { state: "failed" } } }] }],
    ["must declare await output", { eventTypes: [{ name: "x", semantics: { terminal: { state: "cancelled" } } }] }],
    ["terminal.state", { eventTypes: [{ name: "x", semantics: { terminal: { state: "running" } } }] }],
    ["wake.input", { eventTypes: [{ name: "x", semantics: { wake: {} } }] }],
    ["dedupeKey", { eventTypes: [{ name: "x", semantics: { wake: { input: "payload", dedupeKey: "identity" } } }] }],
    [
      "dedupeKey",
      { eventTypes: [{ name: "x", semantics: { wake: { input: "payload", dedupeKey: { selector: "payload", const: "k" } } } }] },
    ],
    ["eventTypes", { eventTypes: count(65).map((n) => ({ name: `type ${n}` })) }],
    ["input.type", { input: { type: "dance" } }],
    ["input.name", { input: { type: "task", name: "" } }],
    ["input.call", { input: { type: "tool_call" } }],
    ["input.call.callId", { input: { type: "tool_call", call: { toolName: "t", args: 1 } } }],
    ["input.call.toolName", { input: { type: "tool_call", call: { callId: "c", args: 1 } } }],
    ["input.call.args", { input: { type: "tool_call", call: { callId: "c", toolName: "t" } } }],
    ["input.sessionId", { input: { type: "session_turn", input: 1 } }],
    ["input.input", { input: { type: "session_turn", sessionId: "s" } }],
    ["input.metadata", { input: { type: "external" } }],
    ...CORE_EVENT_TYPES.map(({ name }): [string, object] => [name, { eventTypes: [{ name }] }]),
    ...["text", {}, null, { pointer: 1 }, { pointer: "/a", const: 1 }, { template: "x" }, { template: "x", fields: [] }].map(
      (input): [string, object] => ["wake.input", { eventTypes: [{ name: "x", semantics: { wake: { input } } }] }],
    ),
  ];
  promise("a registration that breaks a rule is invalid, says which, and stores nothing (P-1, P-2)", async ({ processes }) => {
    for (const [fragment, change] of bad) {
      await refused(processes.registerProcess({ ...task("p"), ...change } as never), "invalid", fragment);
    }
    expect(await processes.list()).toEqual([]);
  });

  promise("the most event types that are allowed are taken", async ({ processes }) => {
    const { eventTypes } = await processes.registerProcess(
      task("p", { eventTypes: count(64).map((n) => ({ name: `type ${n}` })) }),
    );
    expect(eventTypes.length).toBe(64 + CORE_EVENT_TYPES.length);
  });

  promise("an unknown process is undefined, and has no external reference to set (P-10, P-11)", async ({ processes }) => {
    expect(await processes.getProcess("nobody")).toBe(undefined);
    await refused(processes.setExternalRef("nobody", { backend: "b", id: "1" }), "not-found", "unknown process");
    expect(await processes.list()).toEqual([]);
  });

  promise("an external reference replaces the one before, whole, also after the end (P-10)", async ({ processes, clock }) => {
    const made = await processes.registerProcess(task("p"));
    await clock.advance(1);
    const full = { backend: "queue", id: "1", metadata: { a: [null] } };
    const first = await processes.setExternalRef("p", full);
    expect(first).toEqual({ ...made, externalRef: full, updatedAtMs: clock.now() });
    expect(await processes.getProcess("p")).toEqual(first);
    await processes.completeProcess("p", success(1));
    await clock.advance(1);
    const second = await processes.setExternalRef("p", { backend: "other", id: "2" });
    expect(second.externalRef).toEqual({ backend: "other", id: "2" });
    expect([second.createdAtMs, second.updatedAtMs]).toEqual([made.createdAtMs, clock.now()]);
    expect(second.status).toEqual({ state: "completed", awaitOutput: success(1) });
    expect(await processes.getProcess("p")).toEqual(second);
  });

  promise("a list is in the order of ids by UTF-16 unit", async ({ processes }) => {
    const ordered = ["10", "9", "B", "a", "aa", "b", "é", "\u{1f600}", "\uff5e"];
    await Promise.all([...ordered].reverse().map((id) => processes.registerProcess(task(id))));
    expect((await processes.list()).map(({ id }) => id)).toEqual(ordered);
    expect((await processes.listNonTerminal()).map(({ id }) => id)).toEqual(ordered);
  });

  promise("a list is narrowed by state, session, place and number, alone and together (L-16)", async ({ processes }) => {
    const outputs = [undefined, success(1), failure("no"), cancelled("stop")];
    const states = ["running", "completed", "failed", "cancelled"] as const;
    const all = [];
    for (const n of count(16)) {
      const id = `p${String(n).padStart(2, "0")}`;
      const output = outputs[n % 4];
      const sessionId = n % 3 === 0 ? "one" : "root";
      const input: ProcessInput = n % 2 === 0 ? { type: "external", metadata: n } : { type: "task", name: "work" };
      await processes.registerProcess({ id, input, provenance: { ...OWNED, ownerScope: { sessionId } } });
      if (output) await processes.completeProcess(id, output);
      all.push({ id, state: states[n % 4], sessionId });
    }
    for (const state of [undefined, ...states]) {
      for (const sessionId of [undefined, "one", "root", "nobody"]) {
        for (const after of [undefined, "p06", "p06x", "p99"]) {
          for (const limit of [undefined, 0, 2]) {
            const fitting = all.filter(
              (row) =>
                (!state || row.state === state) && (!sessionId || row.sessionId === sessionId) && (!after || row.id > after),
            );
            const filter = JSON.parse(JSON.stringify({ state, sessionId, after, limit }));
            expect([filter, (await processes.list(filter)).map(({ id }) => id)]).toEqual([
              filter,
              fitting.slice(0, limit).map(({ id }) => id),
            ]);
            if (state !== "running" || sessionId !== undefined) continue;
            const page = JSON.parse(JSON.stringify({ after, limit }));
            expect((await processes.listNonTerminal(page)).map(({ id }) => id)).toEqual(
              fitting.slice(0, limit).map(({ id }) => id),
            );
          }
        }
      }
    }
  });

  promise("a long list comes whole, and the same page by page (L-16)", async ({ processes }) => {
    const ids = count(600).map((n) => `p${String(n).padStart(4, "0")}`);
    await Promise.all(ids.map((id, at) => processes.registerProcess(task(id, at % 2 === 0 ? { provenance: OWNED } : {}))));
    expect((await processes.list()).map(({ id }) => id)).toEqual(ids);
    expect((await processes.listNonTerminal()).map(({ id }) => id)).toEqual(ids);
    expect((await processes.list({ limit: 300 })).map(({ id }) => id)).toEqual(ids.slice(0, 300));
    expect((await processes.list({ sessionId: "one" })).map(({ id }) => id)).toEqual(ids.filter((_, at) => at % 2 === 0));
    const paged: string[] = [];
    for (;;) {
      const after = paged.at(-1);
      const page = await processes.listNonTerminal({ limit: 250, ...(after !== undefined && { after }) });
      if (page.length === 0) break;
      paged.push(...page.map(({ id }) => id));
    }
    expect(paged).toEqual(ids);
  });

  promise("kernels of other names never see each other's processes, those of one name do", async ({ processes, name, open }) => {
    const stranger = (await open({ name: `${name}.x` })).processes;
    const sibling = (await open()).processes;
    const record = await processes.registerProcess(task("p"));
    expect(await sibling.getProcess("p")).toEqual(record);
    expect(await stranger.getProcess("p")).toBe(undefined);
    await refused(stranger.eventsAfter("p", 0), "not-found", "unknown process");
    await stranger.registerProcess(task("p", { eventTypes: [NOTE] }));
    expect(await processes.list()).toEqual([record]);
  });
}
