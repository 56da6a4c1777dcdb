import type { JsonValue } from "../../../domain/json.js";
import type { PersistedOpsSnapshot } from "../../../domain/session/ops.js";
import type { KernelSessions } from "../../../kernel/session/archive.js";
import { SCHEMA } from "../../../stores/schema.js";
import { liftSnapshot } from "../../../stores/session/transcript.rules.js";
import { messageWrites } from "../../../stores/session/turns.js";
import { type Setup, uniqueName } from "../../kit/fixture.js";
import { onRows, readRows, writeRows } from "../../kit/rows.fixture.js";
import { fullInput, RUNTIME, receipt, snapshot } from "../runtime.fixture.js";

export type Line = { [member: string]: JsonValue };

export const TRANSCRIPT = snapshot({
  id: "s",
  title: "a title",
  messages: [
    { role: "user", content: "hello" },
    { role: "assistant", content: "ü\u{1f600}", more: [1] },
  ],
});

export const IMAGE = { type: "image", mediaType: "image/png", data: new Uint8Array([0, 1, 254, 255]) };

export const OPS: PersistedOpsSnapshot = {
  epochId: "epoch",
  authorityState: {
    operations: {},
    completedOrder: [],
    maxCompleted: 256,
    maxConcurrent: null,
    activeCount: 0,
    waitRequestId: null,
    waitOperationIds: [],
    nextCompletionSeq: 2,
  },
  operationSpecs: {},
  completionEntries: [
    {
      seq: 1,
      operationId: "op",
      kind: "background_tool_op",
      displayName: "",
      terminalOutcome: { outcomeType: "retired" },
      completedAtMs: 1,
    },
  ],
  cursors: { agentAppliedCursor: 0, runtimeObservedSeq: 0, runtimeLastInjectedSeq: 0 },
};

export const elsewhere = (setup: Setup) => setup.open({ name: uniqueName() });

/** Fills a session with one of everything that an archive can have. */
export async function furnish(setup: Setup): Promise<void> {
  const { runtime } = setup.kernel;
  const session = await setup.kernel.session("s");
  await session.submit({ inputType: "prompt", text: "look", inputId: "seen", idempotencyKey: "k", blocks: [IMAGE] });
  await session.submit({ inputType: "continuation", inputId: "steer", handlingMode: "steer" });
  await session.submit({ inputType: "operation", inputId: "first" });
  await session.submit({ inputType: "prompt", text: "here alone", inputId: "short", durability: "ephemeral" });
  await session[Symbol.asyncDispose]();
  await runtime.atomicApply(RUNTIME, undefined, receipt(), [fullInput("done")]);
  await runtime.persistOpsLifecycle(RUNTIME, OPS);
  // The rows that the first turn makes of an imported snapshot.
  const { head, messages, digest } = liftSnapshot(TRANSCRIPT.sessionSnapshot);
  const [stored] = await readRows(setup, "runtimes");
  const counted = { v: 1, messageCount: messages.length, updatedAtMs: setup.clock.now() };
  const rows = new Map((await readRows(setup, "inputs")).map((row) => [row.inputId, row]));
  await writeRows(
    setup,
    ...messageWrites(RUNTIME, 0, messages),
    { table: "runtimes", put: { ...stored, ...counted, head, digest } },
    { table: "sessions", put: { ...counted, sessionId: "s", runtimeId: RUNTIME } },
    { table: "inputs", put: { ...rows.get("seen"), v: 1, workId: "work", workSize: 1, crashes: 1, interruptions: 2 } },
    { table: "turnSteps", put: { v: 1, runtimeId: RUNTIME, workId: "work", stepKey: "call", result: { ok: true } } },
    { table: "turnSteps", put: { v: 1, runtimeId: RUNTIME, workId: "nobody's", stepKey: "call", result: 1 } },
    // An input of a batch of two. The other one was ephemeral.
    { table: "inputs", put: { ...rows.get("steer"), v: 1, workId: "half", workSize: 2 } },
    { table: "turnSteps", put: { v: 1, runtimeId: RUNTIME, workId: "half", stepKey: "call", result: 1 } },
    {
      table: "quarantine",
      put: { v: 1, runtimeId: RUNTIME, inputId: "bad", reason: "why", atMs: 5, row: { v: 1, record: null } },
    },
  );
}

/** Every row of the database that names the runtime or the session. */
export async function rowsOf(setup: Setup, runtimeId = RUNTIME, sessionId = "s"): Promise<string[]> {
  const tables = Object.keys(SCHEMA.tables);
  const rows = await onRows(setup, (storage) =>
    storage.transact(tables, "read", async (tx) => {
      const found = await Promise.all(tables.map(async (table) => ({ table, rows: await tx.range(table, {}) })));
      return found.flatMap(({ table, rows }) => rows.map((row) => ({ table, row })));
    }),
  );
  return rows
    .filter(({ row }) => [row.runtimeId, row.resource].includes(runtimeId) || row.sessionId === sessionId)
    .map(({ table }) => table)
    .sort();
}

export async function linesOf(sessions: KernelSessions, sessionId: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of sessions.export(sessionId)) lines.push(line);
  return lines;
}
