import type { JsonValue } from "../../domain/json.js";
import type { ProcessLease } from "../../domain/lease.js";
import type { PersistedOpsSnapshot } from "../../domain/session/ops.js";
import type { Kernel } from "../../kernel/kernel.js";
import { casesOn, type OpenFixture, type Runner, refusalMismatch, refused, task } from "../kit/fixture.js";
import { hostileObjects, noCount, noId, noJson, noObject, noText, type Values } from "../kit/hostile.js";

const RUNTIME = "rt:session:one";
const TTL = 1000;

/** A snapshot with one running operation, and one of every end. */
function snapshot(epochId = "0190a000-0000-7000-8000-000000000001"): PersistedOpsSnapshot {
  const result = { id: "call", content: "text", isError: false, durationMs: 5, tokensUsed: 7 };
  const outcomes: PersistedOpsSnapshot["completionEntries"][number]["terminalOutcome"][] = [
    { outcomeType: "completed", result },
    { outcomeType: "completed", result: null },
    { outcomeType: "completed", ...result },
    { outcomeType: "failed", error: "" },
    { outcomeType: "aborted" },
    { outcomeType: "cancelled", reason: "ü\u{1f600}" },
    { outcomeType: "retired" },
    { outcomeType: "terminated", reason: "the owner is gone" },
  ];
  const ids = outcomes.map((_, at) => `op-${outcomes.length - at}`);
  const stand = {
    kind: "background_tool_op" as const,
    peerReady: false,
    progressCount: 3,
    watcherCount: 1,
    terminalBuffered: true,
  };
  return {
    epochId,
    authorityState: {
      operations: {
        ...Object.fromEntries(
          outcomes.map((terminalOutcome, at) => [ids[at], { ...stand, status: terminalOutcome.outcomeType, terminalOutcome }]),
        ),
        runs: {
          ...stand,
          kind: "mob_member_child",
          status: "running",
          peerReady: true,
          terminalOutcome: null,
          terminalBuffered: false,
        },
      },
      completedOrder: ids,
      maxCompleted: 256,
      maxConcurrent: null,
      activeCount: 1,
      waitRequestId: "wait",
      waitOperationIds: ["runs"],
      nextCompletionSeq: outcomes.length + 5,
    },
    operationSpecs: Object.fromEntries(
      [...ids, "runs"].map((id) => [
        id,
        {
          id,
          kind: id === "runs" ? "mob_member_child" : "background_tool_op",
          ownerSessionId: "one",
          displayName: `the ${id}`,
          sourceLabel: "",
          childSessionId: id === "runs" ? "child" : null,
          expectPeerChannel: id === "runs",
        } as const,
      ]),
    ),
    completionEntries: outcomes.map((terminalOutcome, at) => ({
      seq: at + 5,
      operationId: ids[at] as string,
      kind: "background_tool_op",
      displayName: "",
      terminalOutcome,
      completedAtMs: at === 0 ? null : at,
    })),
    cursors: { agentAppliedCursor: 5, runtimeObservedSeq: 6, runtimeLastInjectedSeq: 7 },
  };
}

/** A snapshot that is right but for the member that `change` sets. */
function damaged(change: (made: PersistedOpsSnapshot) => void): PersistedOpsSnapshot {
  const made = snapshot();
  change(made);
  return made;
}

const put = (within: (made: PersistedOpsSnapshot) => object, name: string) => (value: unknown) =>
  damaged((made) => Object.assign(within(made), { [name]: value }));

const runs = (made: PersistedOpsSnapshot) => made.authorityState.operations.runs ?? {};
const spec = (made: PersistedOpsSnapshot) => made.operationSpecs.runs ?? {};
const entry = (made: PersistedOpsSnapshot) => made.completionEntries[0] ?? {};
const noFlag = (): Values => ({ ...noText(), "a flag": "true", "a text": "true" });
const noName = (): Values => ({ ...noId(), "a text": "something else" });
const present = (values: () => Values) => () =>
  Object.fromEntries(Object.entries(values()).filter(([, value]) => value !== null));

const FIELDS: [field: string, values: () => Values, make: (value: unknown) => unknown][] = [
  ["snapshot", () => ({ undefined: undefined, ...noObject() }), (value) => value],
  ["epochId", noId, put((made) => made, "epochId")],
  ["authorityState", noObject, put((made) => made, "authorityState")],
  ["operations", noObject, put((made) => made.authorityState, "operations")],
  ["status", noName, put(runs, "status")],
  ["kind", noName, put(runs, "kind")],
  ["peerReady", noFlag, put(runs, "peerReady")],
  ["progressCount", noCount, put(runs, "progressCount")],
  ["watcherCount", noCount, put(runs, "watcherCount")],
  ["terminalOutcome", present(noObject), put(runs, "terminalOutcome")],
  ["outcomeType", noName, (outcomeType) => put(runs, "terminalOutcome")({ outcomeType, reason: "r", error: "e", result: 1 })],
  ["terminalOutcome.result", () => ({ nothing: undefined }), () => put(runs, "terminalOutcome")({ outcomeType: "completed" })],
  ["error", noText, (error) => put(runs, "terminalOutcome")({ outcomeType: "failed", error })],
  ["reason", noText, (reason) => put(runs, "terminalOutcome")({ outcomeType: "terminated", reason })],
  ["terminalBuffered", noFlag, put(runs, "terminalBuffered")],
  ["completedOrder", noId, (id) => put((made) => made.authorityState, "completedOrder")([id])],
  ["maxCompleted", noCount, put((made) => made.authorityState, "maxCompleted")],
  ["maxConcurrent", present(noCount), put((made) => made.authorityState, "maxConcurrent")],
  ["activeCount", noCount, put((made) => made.authorityState, "activeCount")],
  ["waitRequestId", present(noId), put((made) => made.authorityState, "waitRequestId")],
  ["waitOperationIds", noId, (id) => put((made) => made.authorityState, "waitOperationIds")([id])],
  ["nextCompletionSeq", noCount, put((made) => made.authorityState, "nextCompletionSeq")],
  ["operationSpecs", noObject, put((made) => made, "operationSpecs")],
  ["displayName", noText, put(spec, "displayName")],
  ["childSessionId", present(noId), put(spec, "childSessionId")],
  ["expectPeerChannel", noFlag, put(spec, "expectPeerChannel")],
  ["completionEntries", noObject, (value) => put((made) => made, "completionEntries")([value])],
  ["seq", () => ({ ...noCount(), none: 0 }), put(entry, "seq")],
  ["operationId", noId, put(entry, "operationId")],
  ["completedAtMs", present(noCount), put(entry, "completedAtMs")],
  ["cursors", noObject, put((made) => made, "cursors")],
  ["agentAppliedCursor", noCount, put((made) => made.cursors, "agentAppliedCursor")],
  ["runtimeObservedSeq", noCount, put((made) => made.cursors, "runtimeObservedSeq")],
  ["runtimeLastInjectedSeq", noCount, put((made) => made.cursors, "runtimeLastInjectedSeq")],
];

/** A session's operations as a value: one snapshot per runtime, written and read whole. */
export function opsCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  promise("nothing is there before the first write (R-2, R-30)", async ({ kernel: { runtime } }) => {
    expect(await runtime.loadOpsLifecycle(RUNTIME)).toBe(undefined);
    await runtime.persistOpsLifecycle(RUNTIME, snapshot());
    expect(await runtime.loadOpsLifecycle("rt:session:two")).toBe(undefined);
  });

  promise("comes back as it was written, every member, operations that go on too (R-30)", async ({ kernel: { runtime } }) => {
    await runtime.persistOpsLifecycle(RUNTIME, snapshot());
    expect(await runtime.loadOpsLifecycle(RUNTIME)).toEqual(snapshot());
  });

  promise("each write replaces the whole, and the last one wins (R-30)", async ({ kernel: { runtime } }) => {
    await runtime.persistOpsLifecycle(RUNTIME, snapshot());
    const empty = damaged((made) => {
      made.epochId = "another";
      made.authorityState.operations = {};
      made.authorityState.completedOrder = [];
      made.operationSpecs = {};
      made.completionEntries = [];
    });
    await runtime.persistOpsLifecycle(RUNTIME, empty);
    expect(await runtime.loadOpsLifecycle(RUNTIME)).toEqual(empty);
    const many = Array.from({ length: 20 }, (_, at) => snapshot(`epoch ${at}`));
    await Promise.all(many.map((made) => runtime.persistOpsLifecycle(RUNTIME, made)));
    expect(await runtime.loadOpsLifecycle(RUNTIME)).toEqual(snapshot("epoch 19"));
  });

  promise("runtimes know nothing of one another (R-1)", async ({ kernel: { runtime } }) => {
    const ids = [RUNTIME, "rt:session:one2", "rt:session:on", "one", "rt:session:One", "runtime", "\u{1f600}"];
    for (const id of ids) await runtime.persistOpsLifecycle(id, snapshot(`of ${id}`));
    for (const id of ids) expect((await runtime.loadOpsLifecycle(id))?.epochId).toBe(`of ${id}`);
  });

  promise("another kernel on the place sees what was written, also a later one (R-3)", async ({ kernel, open }) => {
    const other = await open();
    await kernel.runtime.persistOpsLifecycle(RUNTIME, snapshot("first"));
    expect(await other.runtime.loadOpsLifecycle(RUNTIME)).toEqual(snapshot("first"));
    await other.runtime.persistOpsLifecycle(RUNTIME, snapshot("second"));
    expect(await kernel.runtime.loadOpsLifecycle(RUNTIME)).toEqual(snapshot("second"));
    await Promise.all([kernel.close(), other.close()]);
    expect(await (await open()).runtime.loadOpsLifecycle(RUNTIME)).toEqual(snapshot("second"));
  });

  promise("what was handed over or out can be changed and nothing stored changes (R-4)", async ({ kernel: { runtime } }) => {
    const deface = (made: PersistedOpsSnapshot | undefined) => {
      if (!made) throw new Error("there is no snapshot");
      made.epochId = "defaced";
      made.authorityState.operations = {};
      made.authorityState.completedOrder.length = 0;
      for (const { terminalOutcome } of made.completionEntries) Object.assign(terminalOutcome, { result: "defaced" });
    };
    const given = snapshot();
    const written = runtime.persistOpsLifecycle(RUNTIME, given);
    deface(given);
    await written;
    expect(await runtime.loadOpsLifecycle(RUNTIME)).toEqual(snapshot());
    deface(await runtime.loadOpsLifecycle(RUNTIME));
    expect(await runtime.loadOpsLifecycle(RUNTIME)).toEqual(snapshot());
  });

  promise("operations are a table of their own (R-5)", async ({ kernel: { runtime } }) => {
    await runtime.persistOpsLifecycle(RUNTIME, snapshot());
    expect(await runtime.loadRuntimeState(RUNTIME)).toBe(undefined);
    expect(await runtime.loadSessionSnapshot(RUNTIME)).toBe(undefined);
    expect(await runtime.loadInputStates(RUNTIME)).toEqual([]);
  });

  promise("every storage has both methods: none is unsupported (R-31)", async ({ kernel: { runtime } }) => {
    await runtime.persistOpsLifecycle(RUNTIME, snapshot());
    expect((await runtime.loadOpsLifecycle(RUNTIME)) !== undefined).toBe(true);
  });

  const isFenced = async ({ runtime }: Kernel, lease: ProcessLease) => {
    const before = await runtime.loadOpsLifecycle(RUNTIME);
    await refused(runtime.persistOpsLifecycle(RUNTIME, snapshot("stale"), { lease }), "lease-lost", "missing or expired");
    expect(await runtime.loadOpsLifecycle(RUNTIME)).toEqual(before);
  };

  promise(
    "a write under a live lease is stored, one under any other changes nothing (R-30)",
    async ({ kernel, processes, clock }) => {
      await processes.registerProcess(task("p"));
      const first = await processes.claimProcessLease("p", "a", TTL);
      await kernel.runtime.persistOpsLifecycle(RUNTIME, snapshot("first"), { lease: first });
      expect((await kernel.runtime.loadOpsLifecycle(RUNTIME))?.epochId).toBe("first");
      await isFenced(kernel, { ...first, leaseToken: `${first.leaseToken}0` });
      await isFenced(kernel, { ...first, fencingToken: first.fencingToken + 1 });
      await isFenced(kernel, { ...first, ownerId: "b" });
      await isFenced(kernel, { ...first, processId: "q" });
      await isFenced(kernel, { ...first, processId: RUNTIME });
      const second = await processes.claimProcessLease("p", "a", TTL);
      await isFenced(kernel, first);
      await kernel.runtime.persistOpsLifecycle(RUNTIME, snapshot("second"), { lease: second });
      await clock.advance(TTL);
      await isFenced(kernel, { ...second, expiresAtMs: clock.now() + TTL });
      const third = await processes.claimProcessLease("p", "b", TTL);
      await processes.completeProcessLease(third);
      await isFenced(kernel, third);
      await kernel.runtime.persistOpsLifecycle(RUNTIME, snapshot("unfenced"), {});
      expect((await kernel.runtime.loadOpsLifecycle(RUNTIME))?.epochId).toBe("unfenced");
    },
  );

  promise("a fence that loses its lease in the same moment does not get through (R-30)", async ({ kernel, processes }) => {
    await processes.registerProcess(task("p"));
    const lease = await processes.claimProcessLease("p", "a", TTL);
    const outcomes = await Promise.allSettled([
      processes.completeProcessLease(lease),
      kernel.runtime.persistOpsLifecycle(RUNTIME, snapshot(), { lease }),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(await kernel.runtime.loadOpsLifecycle(RUNTIME)).toBe(undefined);
  });

  for (const [field, values, make] of FIELDS) {
    promise(`refuses what cannot be its ${field}, by that name, and stores nothing`, async ({ kernel: { runtime } }) => {
      const wrong: string[] = [];
      for (const [name, value] of Object.entries(values())) {
        const given = make(value) as PersistedOpsSnapshot;
        // A value that throws at every access is refused as a whole.
        const named = name in hostileObjects() ? "snapshot" : field;
        const problem = await refusalMismatch(runtime.persistOpsLifecycle(RUNTIME, given), "invalid", "snapshot", named);
        if (problem !== undefined) wrong.push(`${name}: ${problem}`);
      }
      expect(wrong).toEqual([]);
      expect(await runtime.loadOpsLifecycle(RUNTIME)).toBe(undefined);
    });
  }

  promise("refuses a result that is no JSON, and stores nothing", async ({ kernel: { runtime } }) => {
    const wrong: string[] = [];
    for (const [name, result] of Object.entries(noJson()) as [string, JsonValue][]) {
      // Large values have another limit, the snapshot's.
      if (name.includes("too large")) continue;
      const given = put(runs, "terminalOutcome")({ outcomeType: "completed", result });
      const problem = await refusalMismatch(runtime.persistOpsLifecycle(RUNTIME, given), "invalid", "snapshot");
      if (problem !== undefined) wrong.push(`${name}: ${problem}`);
    }
    expect(wrong).toEqual([]);
    expect(await runtime.loadOpsLifecycle(RUNTIME)).toBe(undefined);
  });

  promise("refuses what cannot be a runtime's id or a fence, by that name", async ({ kernel: { runtime } }) => {
    const wrong: string[] = [];
    const note = (name: string, problem: string | undefined) => problem !== undefined && wrong.push(`${name}: ${problem}`);
    const ids = { ...noId(), "one too long": "x".repeat(524) };
    for (const [name, id] of Object.entries(ids) as [string, never][]) {
      note(name, await refusalMismatch(runtime.persistOpsLifecycle(id, snapshot()), "invalid", "runtimeId"));
      note(name, await refusalMismatch(runtime.loadOpsLifecycle(id), "invalid", "runtimeId"));
    }
    for (const [name, fence] of Object.entries(noObject()) as [string, never][]) {
      note(name, await refusalMismatch(runtime.persistOpsLifecycle(RUNTIME, snapshot(), fence), "invalid", "fence"));
      note(
        name,
        await refusalMismatch(runtime.persistOpsLifecycle(RUNTIME, snapshot(), { lease: fence }), "invalid", "fence.lease"),
      );
    }
    for (const fence of [hostileObjects, noObject].flatMap((values) => Object.values(values())) as never[])
      note(
        "a lease",
        await refusalMismatch(runtime.persistOpsLifecycle(RUNTIME, snapshot(), { lease: fence }), "invalid", "fence"),
      );
    expect(wrong).toEqual([]);
    expect(await runtime.loadOpsLifecycle(RUNTIME)).toBe(undefined);
  });

  promise("an id may be as long as its limit, and a result as deep as any value", async ({ kernel: { runtime } }) => {
    const id = `rt:session:${"x".repeat(512)}`;
    const nested = (levels: number): JsonValue => (levels === 0 ? "bottom" : [nested(levels - 1)]);
    const deep = (levels: number) => put(runs, "terminalOutcome")({ outcomeType: "completed", result: nested(levels) });
    await runtime.persistOpsLifecycle(id, deep(64));
    expect(await runtime.loadOpsLifecycle(id)).toEqual(deep(64));
    await refused(runtime.persistOpsLifecycle(id, deep(65)), "invalid", "snapshot");
  });

  promise("a snapshot may be as large as its limit and no larger", async ({ open }) => {
    const bytes = new TextEncoder().encode(JSON.stringify(snapshot("e"))).length;
    const { runtime } = await open({ limits: { snapshotBytes: bytes } });
    await runtime.persistOpsLifecycle(RUNTIME, snapshot("e"));
    await refused(runtime.persistOpsLifecycle(RUNTIME, snapshot("ee")), "invalid", "snapshot");
    expect(await runtime.loadOpsLifecycle(RUNTIME)).toEqual(snapshot("e"));
  });
}
