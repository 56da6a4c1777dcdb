import type { JsonValue } from "../../domain/json.js";
import { mintLifecycleCommit } from "../../domain/session/lifecycle-commit.js";
import type { PersistedOpsSnapshot } from "../../domain/session/ops.js";
import type { Kernel } from "../../kernel/kernel.js";
import type { KernelSessions } from "../../kernel/session/archive.js";
import { SCHEMA } from "../../stores/schema.js";
import { liftSnapshot } from "../../stores/session/transcript.rules.js";
import { messageWrites } from "../../stores/session/turns.js";
import {
  casesOn,
  count,
  type Ground,
  mismatch,
  type OpenFixture,
  type Runner,
  refused,
  task,
  uniqueName,
} from "../kit/fixture.js";
import { hostileObjects, noCount, noId } from "../kit/hostile.js";
import { onRows, readRows, writeRows } from "../kit/rows.fixture.js";
import {
  bytesOf,
  DECISION,
  fullInput,
  input,
  PROMPT,
  RUNTIME,
  readRuntimes,
  receipt,
  snapshot,
  textOf,
} from "./runtime.fixture.js";

type Line = { [member: string]: JsonValue };

const TRANSCRIPT = snapshot({
  id: "s",
  title: "a title",
  messages: [
    { role: "user", content: "hello" },
    { role: "assistant", content: "ü\u{1f600}", more: [1] },
  ],
});
const IMAGE = { type: "image", mediaType: "image/png", data: new Uint8Array([0, 1, 254, 255]) };

const OPS: PersistedOpsSnapshot = {
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

/** Sessions of the database, seen from outside: listed, read, exported, imported, deleted. */
export function sessionCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  const elsewhere = (ground: Ground) => ground.open({ name: uniqueName() });

  /** A session with something of everything. */
  async function furnish(ground: Ground): Promise<void> {
    const { runtime } = ground.kernel;
    const session = await ground.kernel.session("s");
    await session.submit({ inputType: "prompt", text: "look", inputId: "seen", idempotencyKey: "k", blocks: [IMAGE] });
    await session.submit({ inputType: "continuation", inputId: "steer", handlingMode: "steer" });
    await session.submit({ inputType: "operation", inputId: "first" });
    await session.submit({ inputType: "prompt", text: "here alone", inputId: "short", durability: "ephemeral" });
    await session[Symbol.asyncDispose]();
    await runtime.atomicApply(RUNTIME, undefined, receipt(), [fullInput("done")]);
    await runtime.persistOpsLifecycle(RUNTIME, OPS);
    // As the first turn leaves a snapshot that was handed over whole.
    const { head, messages, digest } = liftSnapshot(TRANSCRIPT.sessionSnapshot);
    const [stored] = await readRows(ground, "runtimes");
    const counted = { v: 1, messageCount: messages.length, updatedAtMs: ground.clock.now() };
    const rows = new Map((await readRows(ground, "inputs")).map((row) => [row.inputId, row]));
    await writeRows(
      ground,
      ...messageWrites(RUNTIME, 0, messages),
      { table: "runtimes", put: { ...stored, ...counted, head, digest } },
      { table: "sessions", put: { ...counted, sessionId: "s", runtimeId: RUNTIME } },
      { table: "inputs", put: { ...rows.get("seen"), v: 1, workId: "work", workSize: 1, crashes: 1, interruptions: 2 } },
      { table: "turnSteps", put: { v: 1, runtimeId: RUNTIME, workId: "work", stepKey: "call", result: { ok: true } } },
      { table: "turnSteps", put: { v: 1, runtimeId: RUNTIME, workId: "nobody's", stepKey: "call", result: 1 } },
      // Of two inputs, the other of which was ephemeral.
      { table: "inputs", put: { ...rows.get("steer"), v: 1, workId: "half", workSize: 2 } },
      { table: "turnSteps", put: { v: 1, runtimeId: RUNTIME, workId: "half", stepKey: "call", result: 1 } },
      {
        table: "quarantine",
        put: { v: 1, runtimeId: RUNTIME, inputId: "bad", reason: "why", atMs: 5, row: { v: 1, record: null } },
      },
    );
  }

  /** Every row of the database that names the session's runtime or the session. */
  async function rowsOf(ground: Ground, runtimeId = RUNTIME, sessionId = "s"): Promise<string[]> {
    const tables = Object.keys(SCHEMA.tables);
    const rows = await onRows(ground, (storage) =>
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

  promise("the list is by session id and tells state and messages, also of what a host stored itself", async (ground) => {
    const { kernel, clock } = ground;
    expect(await kernel.sessions.list()).toEqual([]);
    await kernel.session("b");
    await clock.advance(1_000);
    await kernel.runtime.commitSessionSnapshot(RUNTIME, TRANSCRIPT);
    await kernel.runtime.commitSessionSnapshot("their own", snapshot({ id: "a\uffff" }));
    await kernel.runtime.commitMachineLifecycle("their own", mintLifecycleCommit("retired"), []);
    const now = clock.now();
    expect(await kernel.sessions.list()).toEqual([
      { sessionId: "a\uffff", runtimeId: "their own", state: "retired", messageCount: 0, updatedAtMs: now },
      { sessionId: "b", runtimeId: "rt:session:b", state: "idle", messageCount: 0, updatedAtMs: now - 1_000 },
      { sessionId: "s", runtimeId: RUNTIME, state: "idle", messageCount: 2, updatedAtMs: now },
    ]);
  });

  promise("a session's row that changed later than its list row tells when", async ({ kernel, clock }) => {
    const session = await kernel.session("s");
    await clock.advance(5);
    await session.submit({ inputType: "prompt", text: "hello" });
    expect((await kernel.sessions.list()).map(({ updatedAtMs }) => updatedAtMs)).toEqual([clock.now()]);
  });

  promise("a list row that cannot be read hides no other session", async (ground) => {
    await ground.kernel.session("good");
    await ground.kernel.session("worse");
    await writeRows(
      ground,
      { table: "sessions", put: { v: 1, sessionId: "bad" } },
      { table: "runtimes", put: { v: 1, runtimeId: "rt:session:worse" } },
    );
    expect((await ground.kernel.sessions.list()).map(({ sessionId }) => sessionId)).toEqual(["good"]);
  });

  promise("messages are read without attaching, and nothing is made by it", async (ground) => {
    const { sessions, runtime } = ground.kernel;
    await refused(sessions.messages("s"), "not-found", '"s"');
    expect(await rowsOf(ground)).toEqual([]);
    await runtime.commitSessionSnapshot(RUNTIME, TRANSCRIPT);
    const whole = await sessions.messages("s");
    expect(await rowsOf(ground)).toEqual(["sessions", "snapshots"]);
    await (await ground.kernel.session("s"))[Symbol.asyncDispose]();
    expect(await sessions.messages("s")).toEqual(whole);
    expect(whole.map(({ content }) => content)).toEqual(["hello", "ü\u{1f600}"]);
    for (const after of [0, 1, 2, 3]) expect(await sessions.messages("s", { after })).toEqual(whole.slice(after));
    await refused(sessions.messages("s/"), "not-found");
  });

  promise("an export is lines of JSON, and an import of it exports the same lines again", async (ground) => {
    await furnish(ground);
    const there = await elsewhere(ground);
    const lines = await linesOf(ground.kernel.sessions, "s");
    expect(lines.every((line) => !line.includes("\n"))).toBe(true);
    const kinds = lines.map((line) => (JSON.parse(line) as Line).type ?? "header");
    expect(kinds).toEqual([
      ...["header", "message", "message", "input", "input", "input", "input", "receipt", "step", "ops", "blob"],
      ...["quarantined", "end"],
    ]);
    await ground.clock.advance(7);
    expect(await there.sessions.import(lines)).toEqual({ sessionId: "s" });
    const again = await linesOf(there.sessions, "s");
    const { exportedAtMs, ...header } = JSON.parse(lines[0] as string) as Line;
    expect(JSON.parse(again[0] as string)).toEqual({ ...header, exportedAtMs: Number(exportedAtMs) + 7 });
    expect(again.slice(1)).toEqual(lines.slice(1));
  });

  promise("an imported session is what the exported one was, but for who is at work", async (ground) => {
    await furnish(ground);
    const { kernel } = ground;
    const there = await elsewhere(ground);
    await there.sessions.import(await linesOf(kernel.sessions, "s"));
    const without = (states: { inputId: string }[]) => states.filter(({ inputId }) => inputId !== "short");
    const [was] = (await readRuntimes(kernel.runtime)) as { inputs: { inputId: string }[] }[];
    const [is] = (await readRuntimes(there.runtime)) as { inputs: { inputId: string }[] }[];
    expect(is).toEqual({ ...was, inputs: without(was?.inputs ?? []) });
    expect(await there.sessions.messages("s")).toEqual(await kernel.sessions.messages("s"));
    const session = await there.session("s");
    const stored = (await there.runtime.loadInputState(RUNTIME, "seen"))?.persistedInput?.blocks as
      | { blob: string }[]
      | undefined;
    expect([...((await session.blob(stored?.[0]?.blob ?? "")) ?? [])]).toEqual([...IMAGE.data]);
    expect(textOf(await there.runtime.loadSessionSnapshot(RUNTIME))).toBe(
      textOf(await kernel.runtime.loadSessionSnapshot(RUNTIME)),
    );
  });

  promise("idempotency keys stand for the same inputs after an import; one that was let go of stays so", async (ground) => {
    const { kernel } = ground;
    const session = await kernel.session("s");
    await session.submit({ inputType: "operation", inputId: "1", idempotencyKey: "k" });
    await ground.clock.advance(25 * 60 * 60 * 1_000);
    await session.submit({ inputType: "prompt", text: "new", inputId: "2", idempotencyKey: "k" });
    await ground.clock.advance(25 * 60 * 60 * 1_000);
    await session.submit({ inputType: "operation", inputId: "0", idempotencyKey: "other" });
    const there = await elsewhere(ground);
    const lines = await linesOf(kernel.sessions, "s");
    await there.sessions.import(lines);
    expect((await linesOf(there.sessions, "s")).slice(1)).toEqual(lines.slice(1));
    const other = await there.session("s");
    const again = { inputType: "prompt", text: "again", inputId: "again", idempotencyKey: "k" } as const;
    expect(await other.submit(again)).toEqual({ outcome: "deduplicated", inputId: "again", existingId: "2" });
  });

  promise("inputs that come after an import are admitted behind those that it brought", async (ground) => {
    await furnish(ground);
    const there = await elsewhere(ground);
    await there.sessions.import(await linesOf(ground.kernel.sessions, "s"));
    const session = await there.session("s");
    await session.submit({ inputType: "prompt", text: "later", inputId: "a later one" });
    await session.submit({ inputType: "operation", inputId: "the first of all" });
    const ranks = await onRows({ ...ground, name: there.name }, (rows) =>
      rows.transact(["inputs"], "read", (tx) => tx.range("inputs", {})),
    );
    const ranked = ranks.filter(({ rank }) => rank !== undefined).sort((a, b) => Number(a.rank) - Number(b.rank));
    expect(ranked.map(({ inputId }) => inputId)).toEqual(["the first of all", "first", "seen", "steer", "a later one"]);
  });

  promise("a snapshot that was handed over whole travels as its bytes, whatever they are", async (ground) => {
    const { kernel } = ground;
    const there = await elsewhere(ground);
    const texts = [
      '\ufeff { "id": "s", "messages": 5 }',
      `{"id":"s","messages":[{"content":"-${"\u{1f600}".repeat(200_000)}x"}]}`,
    ];
    for (const text of texts) {
      await kernel.runtime.commitSessionSnapshot(RUNTIME, { sessionSnapshot: bytesOf(text) });
      await there.sessions.import(await linesOf(kernel.sessions, "s"));
      const bytes = await there.runtime.loadSessionSnapshot(RUNTIME);
      expect(bytes?.length).toBe(bytesOf(text).length);
      expect(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) === text).toBe(true);
      expect((await there.sessions.list()).map(({ messageCount }) => messageCount)).toEqual([text === texts[0] ? 0 : 1]);
      await there.sessions.delete("s");
    }
  });

  promise(
    "a session that a host stored under an id of its own is read, exported and deleted by its session's",
    async (ground) => {
      const { kernel } = ground;
      await kernel.runtime.commitSessionSnapshot("their own", TRANSCRIPT);
      await kernel.runtime.persistInputState("their own", fullInput("done"));
      expect((await kernel.sessions.messages("s")).length).toBe(2);
      const there = await elsewhere(ground);
      await there.sessions.import(await linesOf(kernel.sessions, "s"));
      expect((await there.runtime.loadInputStates(RUNTIME)).map(({ inputId }) => inputId)).toEqual(["done"]);
      await kernel.sessions.delete("s");
      expect(await rowsOf(ground, "their own")).toEqual(["runtimes"]);
      expect(await kernel.sessions.list()).toEqual([]);
    },
  );

  promise("a process's lease is its own, also where a session's runtime id is the same", async ({ kernel, processes }) => {
    await processes.registerProcess(task("p"));
    const lease = await processes.claimProcessLease("p", "owner", 1_000);
    await kernel.runtime.commitSessionSnapshot("p", TRANSCRIPT);
    await kernel.runtime.commitMachineLifecycle("p", mintLifecycleCommit("idle"), []);
    await kernel.sessions.delete("s");
    expect((await processes.renewProcessLease(lease, 1_000)).fencingToken).toBe(lease.fencingToken);
  });

  promise("a deletion leaves a runtime id alone that has become another session's", async (ground) => {
    const { kernel } = ground;
    await kernel.runtime.commitSessionSnapshot("shared", snapshot({ id: "s" }));
    await kernel.runtime.commitSessionSnapshot("shared", snapshot({ id: "t" }));
    await kernel.runtime.commitSessionSnapshot("rt:session:t", snapshot({ id: "u" }));
    await kernel.sessions.delete("s");
    await kernel.sessions.delete("u");
    expect(textOf(await kernel.runtime.loadSessionSnapshot("shared"))).toBe('{"id":"t"}');
    expect(textOf(await kernel.runtime.loadSessionSnapshot("rt:session:t"))).toBe('{"id":"u"}');
    expect((await kernel.sessions.list()).map(({ sessionId }) => sessionId)).toEqual(["t"]);
  });

  promise("what is under way is exported as a recovery leaves it, and nothing is changed by that", async (ground) => {
    const { kernel } = ground;
    await kernel.session("s");
    const record = (inputId: string, currentState: "staged" | "applied", lastBoundarySequence?: number) =>
      input(inputId, {
        currentState,
        attemptCount: 1,
        policy: { version: 1, decision: DECISION },
        runtimeSemantics: { boundary: "run_start", executionKind: "content_turn" },
        persistedInput: PROMPT,
        lastRunId: "run",
        ...(lastBoundarySequence !== undefined && { lastBoundarySequence }),
      });
    await kernel.runtime.atomicApply(RUNTIME, undefined, receipt(), [
      record("staged", "staged"),
      record("with", "applied", 0),
      record("without", "applied", 1),
    ]);
    const [runtime] = await readRows(ground, "runtimes");
    const run = { runId: "run", before: "retired", inputIds: ["staged"], workId: "run" };
    await writeRows(ground, { table: "runtimes", put: { ...runtime, v: 1, state: "running", run } });
    const before = await readRuntimes(kernel.runtime);
    const lines = (await linesOf(kernel.sessions, "s")).map((line) => JSON.parse(line) as Line);
    expect(lines[0]?.state).toBe("retired");
    const phases = lines.filter(({ type }) => type === "input").map(({ record }) => (record as Line).currentState as string);
    expect(phases).toEqual(["queued", "consumed", "queued"]);
    expect(await readRuntimes(kernel.runtime)).toEqual(before);
  });

  promise("secrets and logins are in no export, and survive the deletion of every session (R-174, R-5)", async (ground) => {
    const { kernel } = ground;
    await furnish(ground);
    await kernel.secrets.put("key", "hush-secret");
    const target = { realm: "r", binding: "hush-binding" };
    const flow = { target, provider: "p", redirectUri: "https://a.example/cb", pkceVerifier: "hush-verifier" };
    const { state } = await kernel.auth.beginBrowser(flow);
    const text = (await linesOf(kernel.sessions, "s")).join("\n");
    expect(["hush", state].filter((secret) => text.includes(secret))).toEqual([]);
    await kernel.sessions.delete("s");
    expect(await kernel.secrets.get("key")).toBe("hush-secret");
    expect((await kernel.auth.consumeBrowser({ ...flow, state })).pkceVerifier).toBe("hush-verifier");
  });

  promise("an existing session is not imported over, whatever there is of it", async (ground) => {
    const { kernel } = ground;
    await kernel.runtime.commitSessionSnapshot(RUNTIME, TRANSCRIPT);
    const lines = await linesOf(kernel.sessions, "s");
    const makes: Record<string, (there: Kernel) => Promise<unknown>> = {
      "a session": (there) => there.session("s"),
      "a snapshot": (there) => there.runtime.commitSessionSnapshot(RUNTIME, TRANSCRIPT),
      "a snapshot under another id": (there) => there.runtime.commitSessionSnapshot("x", TRANSCRIPT),
      "an input": (there) => there.runtime.persistInputState(RUNTIME, input("a")),
      "a receipt": (there) => there.runtime.atomicApply(RUNTIME, undefined, receipt(), []),
      operations: (there) => there.runtime.persistOpsLifecycle(RUNTIME, OPS),
    };
    for (const make of Object.values(makes)) {
      const there = await elsewhere(ground);
      await make(there);
      const before = await readRuntimes(there.runtime);
      await refused(there.sessions.import(lines), "conflict", '"s"');
      expect(await readRuntimes(there.runtime)).toEqual(before);
    }
  });

  promise("a deleted session may be imported; who held the old one stays refused", async ({ kernel }) => {
    const old = await kernel.session("s");
    await old.submit({ inputType: "prompt", text: "kept", inputId: "a" });
    const lines = await linesOf(kernel.sessions, "s");
    await kernel.sessions.delete("s");
    await kernel.sessions.import(lines);
    await refused(old.submit({ inputType: "prompt", text: "late" }), "not-found");
    await refused(old.messages(), "not-found");
    expect((await kernel.runtime.loadInputStates(RUNTIME)).map(({ inputId }) => inputId)).toEqual(["a"]);
    const { outcome } = await (await kernel.session("s")).submit({ inputType: "prompt", text: "new" });
    expect(outcome).toBe("accepted");
  });

  promise("lines may come in time or at once, with line ends, and with empty ones behind the end", async (ground) => {
    await furnish(ground);
    const lines = await linesOf(ground.kernel.sessions, "s");
    async function* later(): AsyncGenerator<string> {
      for (const line of lines) yield line;
    }
    const forms: (AsyncIterable<string> | Iterable<string>)[] = [
      lines,
      new Set(lines),
      later(),
      lines.map((line) => `${line}\r\n`),
      [...lines, "", "\n"],
      `${lines.join("\n")}\n`.split("\n"),
    ];
    for (const form of forms) {
      const there = await elsewhere(ground);
      await there.sessions.import(form);
      expect((await linesOf(there.sessions, "s")).slice(1)).toEqual(lines.slice(1));
    }
  });

  promise("an import that cannot be read to its end writes nothing, and passes the reader's own error on", async (ground) => {
    await furnish(ground);
    const there = await elsewhere(ground);
    const lines = await linesOf(ground.kernel.sessions, "s");
    const own = new Error("the file is gone");
    async function* broken(): AsyncGenerator<string> {
      yield* lines.slice(0, 3);
      throw own;
    }
    const failed = await there.sessions.import(broken()).catch((error: unknown) => error);
    expect(failed === own).toBe(true);
    expect(await there.sessions.list()).toEqual([]);
  });

  promise("a truncated, mixed up or altered export is refused whole, naming the line", async (ground) => {
    await furnish(ground);
    const there = await elsewhere(ground);
    const lines = await linesOf(ground.kernel.sessions, "s");
    const wrong: string[] = [];
    const check = async (name: string, given: readonly unknown[], ...fragments: string[]) => {
      const why = await mismatch(there.sessions.import(given as string[]), "invalid", ...fragments);
      if (why !== undefined) wrong.push(`${name}: ${why}`);
    };
    for (const length of lines.keys()) await check(`${length} lines`, lines.slice(0, length), `line ${length + 1}`);
    for (const at of lines.keys()) await check(`without line ${at + 1}`, lines.toSpliced(at, 1), "line ");
    for (const at of lines.keys()) {
      await check(`line ${at + 1} twice`, lines.toSpliced(at, 0, lines[at] as string), "line ");
      for (const bad of [
        "",
        "x",
        "{",
        "null",
        "[]",
        "1",
        '"x"',
        '{"type":"end"',
        "{} {}",
        1,
        undefined,
        ...Object.values(hostileObjects()),
      ])
        await check(`${String(typeof bad)} for line ${at + 1}`, lines.toSpliced(at, 1, bad as string), `line ${at + 1}`);
    }
    expect(wrong).toEqual([]);
    expect(await there.sessions.list()).toEqual([]);
    expect(await readRuntimes(there.runtime)).toEqual(await readRuntimes((await elsewhere(ground)).runtime));
  });

  promise("no member of a line may be anything else than it is", async (ground) => {
    await furnish(ground);
    const there = await elsewhere(ground);
    const lines = await linesOf(ground.kernel.sessions, "s");
    const wrong: string[] = [];
    for (const { type, member, field = member, values } of MEMBERS) {
      const at = lines.findIndex((line) => ((JSON.parse(line) as Line).type ?? "header") === type);
      const line = JSON.parse(lines[at] as string) as Line;
      for (const value of values) {
        const bad = JSON.stringify(withMember(line, member.split("."), value));
        const why = await mismatch(there.sessions.import(lines.toSpliced(at, 1, bad)), "invalid", `line ${at + 1}`, field);
        if (why !== undefined) wrong.push(`${type} ${member} ${JSON.stringify(value)?.slice(0, 40)}: ${why}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(await there.sessions.list()).toEqual([]);
  });

  promise("lines that contradict one another are refused", async (ground) => {
    await furnish(ground);
    const lines = (await linesOf(ground.kernel.sessions, "s")).map((line) => JSON.parse(line) as Line);
    const there = await elsewhere(ground);
    const imported = (changed: Line[]) => there.sessions.import(changed.map((line) => JSON.stringify(line)));
    const keyed = lines.map((line) => {
      const record = line.record as Line | undefined;
      return record?.idempotencyKey === undefined ? line : { ...line, record: { ...record, idempotencyKey: "one" } };
    });
    await refused(imported(keyed), "invalid", "line ", "holdsKey");
    const keyless = lines.map((line) => (line.type === "input" ? { ...line, holdsKey: 1 } : line));
    await refused(imported(keyless), "invalid", "line ", "holdsKey");
    const part = { type: "snapshot", part: 0, of: 1, text: '{"id":"s"}' };
    const both = [...lines.slice(0, -1), part, { type: "end", lines: lines.length + 1 }];
    await refused(imported(both), "invalid", "line 1", "snapshot");
    await refused(imported([...lines.slice(0, -1), { ...part, text: "{}" }]), "invalid", `line ${lines.length}: text`);
    expect(await there.sessions.list()).toEqual([]);
  });

  promise("an export of a newer holdfast is refused as such, whatever it looks like", async ({ kernel }) => {
    await refused(kernel.sessions.import(['{"holdfast":"session","version":2,"new":true}', "?"]), "version", "2");
  });

  promise("what was exported is imported whole, however long it is", async (ground) => {
    await furnish(ground);
    const limits = { snapshotBytes: 1_000, payloadBytes: 1_000, idLength: 40, depth: 8 };
    const from = await ground.open({ limits });
    const session = await from.session("s");
    const input = { inputType: "prompt" as const, inputId: "large" };
    const bare = JSON.stringify({ inputType: "prompt", text: "" }).length;
    await session.submit({ ...input, text: "x".repeat(limits.payloadBytes - bare) });
    const rows = count(300).map((at) => ({ role: "assistant" as const, content: `${at} `.padEnd(900, "x") }));
    await writeRows(ground, ...messageWrites(RUNTIME, 2, rows));
    const lines = await linesOf(from.sessions, "s");
    expect(lines.join("").length > 100 * limits.snapshotBytes).toBe(true);
    const there = await ground.open({ name: uniqueName(), limits });
    expect(await there.sessions.import(lines)).toEqual({ sessionId: "s" });
    expect(await linesOf(there.sessions, "s")).toEqual(lines);
    expect(await there.sessions.messages("s")).toEqual(await from.sessions.messages("s"));
    await refused(there.sessions.import(lines), "conflict", '"s"');
  });

  promise("messages that came with a snapshot travel with it, whatever they are", async (ground) => {
    const odd = [
      '{"id":"s","messages":[5,null,{"content":1},{"role":"robot","content":"x"},{"role":"user","content":"x"}]}',
      `{"id":"s","more":1,"messages":[{"role":"user","content":${"[".repeat(90)}${"]".repeat(90)}}]}`,
    ];
    for (const text of odd) {
      const here = { ...ground, name: uniqueName() };
      const from = await ground.open({ name: here.name });
      await from.runtime.commitSessionSnapshot(RUNTIME, { sessionSnapshot: bytesOf(text) });
      await (await from.session("s"))[Symbol.asyncDispose]();
      const whole = await from.runtime.loadSessionSnapshot(RUNTIME);
      // As its first turn leaves it.
      const { head, messages, digest } = liftSnapshot(bytesOf(text));
      const [stored] = await readRows(here, "runtimes");
      await writeRows(here, { table: "snapshots", drop: RUNTIME }, ...messageWrites(RUNTIME, 0, messages), {
        table: "runtimes",
        put: { ...stored, v: 1, head, digest, messageCount: messages.length },
      });
      const there = await elsewhere(ground);
      await there.sessions.import(await linesOf(from.sessions, "s"));
      expect(await there.sessions.messages("s")).toEqual(messages);
      expect(textOf(await there.runtime.loadSessionSnapshot(RUNTIME))).toBe(textOf(whole));
      expect((await there.sessions.list()).map(({ messageCount }) => messageCount)).toEqual([messages.length]);
    }
  });

  promise("no argument may be anything else than it is, and nothing is changed", async (ground) => {
    await furnish(ground);
    const { sessions } = ground.kernel;
    const before = await readRuntimes(ground.kernel.runtime);
    const wrong: string[] = [];
    const check = async (name: string, call: () => Promise<unknown>, field: string) => {
      const why = await mismatch((async () => await call())(), "invalid", field);
      if (why !== undefined) wrong.push(`${name}: ${why}`);
    };
    for (const [name, value] of Object.entries({ ...noId(), "a frame": "s/frame:f" })) {
      const id = value as string;
      await check(`messages of ${name}`, () => sessions.messages(id), "sessionId");
      await check(`export of ${name}`, () => linesOf(sessions, id), "sessionId");
      await check(`delete of ${name}`, () => sessions.delete(id), "sessionId");
    }
    const { undefined: _, ...counts } = noCount();
    for (const [name, after] of Object.entries(counts))
      await check(`after ${name}`, () => sessions.messages("s", { after: after as number }), "after");
    const lists = { undefined: undefined, null: null, "a number": 1, "a text": "{}", "an object": {}, ...hostileObjects() };
    for (const [name, lines] of Object.entries(lists))
      await check(`import of ${name}`, () => sessions.import(lines as string[]), "lines");
    expect(wrong).toEqual([]);
    expect(await readRuntimes(ground.kernel.runtime)).toEqual(before);
  });

  promise("an unknown session is exported by nobody", async ({ kernel }) => {
    await refused(linesOf(kernel.sessions, "nobody"), "not-found", '"nobody"');
  });

  promise("a row that does not decode stops an export, and no deletion", async (ground) => {
    await furnish(ground);
    const { sessions } = ground.kernel;
    await writeRows(ground, { table: "inputs", put: { v: 1, runtimeId: RUNTIME, inputId: "done", record: "broken" } });
    await refused(linesOf(sessions, "s"), "read-failed", '"done"');
    await sessions.delete("s");
    expect(await rowsOf(ground)).toEqual(["runtimes"]);
  });

  promise("a deletion leaves nothing of a session but its incarnation, and every other one whole (R-1)", async (ground) => {
    const { kernel } = ground;
    await furnish(ground);
    await kernel.session("s");
    await kernel.sessions.import(
      (await linesOf(kernel.sessions, "s")).map((line, at) => (at > 0 ? line : line.replace('"s"', '"s2"'))),
    );
    const other = await rowsOf(ground, "rt:session:s2", "s2");
    const lines = await linesOf(kernel.sessions, "s2");
    expect((await rowsOf(ground)).includes("attachments")).toBe(true);
    expect(await kernel.sessions.delete("s")).toEqual({
      sessionId: "s",
      revokedHandleCount: 0,
      deletedWakeCount: 0,
      cancelProcessIds: [],
      preservedProcessIds: [],
    });
    expect(await rowsOf(ground)).toEqual(["runtimes"]);
    const [tombstone] = (await readRows(ground, "runtimes")).filter(({ runtimeId }) => runtimeId === RUNTIME);
    expect(tombstone).toEqual({
      v: 1,
      runtimeId: RUNTIME,
      incarnation: 1,
      nextRank: 0,
      firstRank: 0,
      endedKeys: 0,
      messageCount: 0,
      digest: "",
      updatedAtMs: ground.clock.now(),
    });
    expect(await rowsOf(ground, "rt:session:s2", "s2")).toEqual(other);
    expect(await linesOf(kernel.sessions, "s2")).toEqual(lines);
    expect((await kernel.sessions.list()).map(({ sessionId }) => sessionId)).toEqual(["s2"]);
    await refused(kernel.sessions.messages("s"), "not-found");
    await refused(linesOf(kernel.sessions, "s"), "not-found");
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe(undefined);
    expect(await kernel.runtime.loadSessionSnapshot(RUNTIME)).toBe(undefined);
  });

  promise("a deletion is seen after a restart, and opening the session again begins a new one", async (ground) => {
    await furnish(ground);
    await ground.kernel.sessions.delete("s");
    const kernel = await ground.reopen();
    await refused(kernel.sessions.messages("s"), "not-found");
    const session = await kernel.session("s");
    expect([session.state, await session.messages(), await kernel.runtime.loadInputStates(RUNTIME)]).toEqual(["idle", [], []]);
    expect((await session.submit({ inputType: "prompt", text: "x", idempotencyKey: "k" })).outcome).toBe("accepted");
  });

  promise("whoever has a deleted session open is refused with its next call, whatever it is", async (ground) => {
    const { kernel } = ground;
    const there = await ground.open();
    const handles = [await kernel.session("s"), await there.session("s")];
    for (const handle of handles) await handle.submit({ inputType: "prompt", text: "before" });
    await kernel.sessions.delete("s");
    const again = await there.session("s");
    const wrong: (string | undefined)[] = [];
    for (const handle of handles) {
      const calls: (() => Promise<unknown>)[] = [
        () => handle.submit({ inputType: "prompt", text: "late" }),
        () => handle.messages(),
        () => handle.blob("hash"),
        () => handle.retire(),
        () => handle.reset(),
        () => handle.recycle(),
        () => handle.stop(),
        () => handle.destroy(),
        () => handle.ops.list(),
        () => handle.ops.register({ id: "op", kind: "background_tool_op", displayName: "op" }),
        () => handle.ops.collectCompleted(),
      ];
      for (const call of calls) wrong.push(await mismatch(call(), "not-found"));
      await handle[Symbol.asyncDispose]();
    }
    expect(wrong.filter((why) => why !== undefined)).toEqual([]);
    // What they left does not touch who opened it anew.
    expect((await readRows(ground, "attachments")).length).toBe(1);
    expect((await again.submit({ inputType: "prompt", text: "new" })).outcome).toBe("accepted");
  });

  promise(
    "a deletion takes all grants of the session and asks those to cancel that nobody else was granted (P-33)",
    async (ground) => {
      const { kernel, processes } = ground;
      for (const id of ["alone", "frame", "shared", "ended", "others"]) await processes.registerProcess(task(id));
      const scope = { sessionId: "s" };
      for (const id of ["alone", "shared", "ended"]) await processes.grantHandle(scope, id, {});
      await processes.grantHandle({ sessionId: "s", agentFrameId: "f" }, "frame", {});
      for (const id of ["shared", "others"]) await processes.grantHandle({ sessionId: "t" }, id, {});
      await processes.completeProcess("ended", { type: "success", value: 1 });
      await kernel.session("s");
      expect(await kernel.sessions.delete("s")).toEqual({
        sessionId: "s",
        revokedHandleCount: 4,
        deletedWakeCount: 0,
        cancelProcessIds: ["alone", "frame"],
        preservedProcessIds: ["shared"],
      });
      expect(await rowsOf(ground)).toEqual(["runtimes"]);
      const asked = async (id: string) =>
        (await processes.eventsAfter(id, 0))
          .filter(({ eventType }) => eventType === "process.cancel_requested")
          .map(({ payload }) => payload);
      for (const id of ["alone", "frame"]) expect(await asked(id)).toEqual([{ reason: "session deleted" }]);
      for (const id of ["shared", "ended", "others"]) expect(await asked(id)).toEqual([]);
      expect((await processes.listHandleGrants({ sessionId: "t" })).map(({ record }) => record.id)).toEqual(["others", "shared"]);
      expect(await kernel.sessions.delete("s")).toEqual({
        sessionId: "s",
        revokedHandleCount: 0,
        deletedWakeCount: 0,
        cancelProcessIds: [],
        preservedProcessIds: [],
      });
    },
  );

  promise("of a session that has nothing but grants these are revoked, and of one unknown nothing is made", async (ground) => {
    const { kernel, processes } = ground;
    await processes.registerProcess(task("p"));
    await processes.grantHandle({ sessionId: "s" }, "p", {});
    expect((await kernel.sessions.delete("s")).cancelProcessIds).toEqual(["p"]);
    expect((await kernel.sessions.delete("unknown")).revokedHandleCount).toBe(0);
    expect(await readRows(ground, "runtimes")).toEqual([]);
  });

  promise("what is granted after a deletion has a higher fencing token than all before, whatever it is of", async (ground) => {
    const { kernel, processes } = ground;
    await kernel.session("s");
    const left = { v: 1, claimedAtMs: 0, expiresAtMs: 0, fruitless: 0 };
    await writeRows(ground, { table: "leases", put: { ...left, resource: RUNTIME, fencingToken: 7, attempts: 7 } });
    await kernel.sessions.delete("s");
    expect(await readRows(ground, "leases")).toEqual([]);
    await processes.registerProcess(task("p"));
    expect((await processes.claimProcessLease("p", "a", 1_000)).fencingToken).toBe(8);
    // A second deletion of a lower one lets it not go back.
    await kernel.session("s");
    await writeRows(ground, { table: "leases", put: { ...left, resource: RUNTIME, fencingToken: 2, attempts: 1 } });
    await kernel.sessions.delete("s");
    await processes.registerProcess(task("q"));
    expect((await processes.claimProcessLease("q", "a", 1_000)).fencingToken).toBe(8);
  });

  promise("many sessions deleted at once by two kernels are deleted once each", async (ground) => {
    const there = await ground.open();
    const ids = count(10).map((at) => `s${at}`);
    for (const id of ids) await ground.kernel.session(id);
    await Promise.all(ids.flatMap((id) => [ground.kernel.sessions.delete(id), there.sessions.delete(id)]));
    expect(await ground.kernel.sessions.list()).toEqual([]);
    expect((await readRows(ground, "runtimes")).map(({ incarnation }) => incarnation)).toEqual(ids.map(() => 1));
  });

  promise("a closed kernel refuses all of it", async (ground) => {
    const { kernel } = ground;
    await kernel.runtime.commitSessionSnapshot(RUNTIME, TRANSCRIPT);
    const lines = await linesOf(kernel.sessions, "s");
    await kernel.close();
    const { sessions } = kernel;
    for (const call of [
      () => sessions.list(),
      () => sessions.messages("s"),
      () => linesOf(sessions, "s"),
      () => sessions.import(lines),
      () => sessions.delete("s"),
    ])
      await refused(call(), "closed");
  });
}

async function linesOf(sessions: KernelSessions, sessionId: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of sessions.export(sessionId)) lines.push(line);
  return lines;
}

/** A copy with another value at a path; `undefined` takes the member out. */
function withMember(line: Line, [name = "", ...rest]: string[], value: unknown): Line {
  const inner = rest.length === 0 ? value : withMember((line[name] ?? {}) as Line, rest, value);
  return { ...line, [name]: inner as JsonValue };
}

const NO_TEXT = [null, 1, true, [], {}];
const NO_ID = [undefined, ...NO_TEXT, "", " ", "\ud800", "x".repeat(513)];
const NO_COUNT = [undefined, null, "1", -1, 0.5, 2 ** 53, [], {}];
const NO_MARK = [null, 0, 2, true, "1"];
const NO_OBJECT = [undefined, null, 1, "x", true, []];
const deep = (levels: number): JsonValue => (levels === 0 ? 1 : [deep(levels - 1)]);
const NO_JSON = [undefined, "\ud800", deep(80), JSON.parse('{"__proto__":1}') as JsonValue];

/** What each member of a line may not be; `field` is how the refusal names it, where not by its path. */
const MEMBERS: { type: string; member: string; field?: string; values: unknown[] }[] = [
  { type: "header", member: "holdfast", values: [undefined, null, "process", 1] },
  { type: "header", member: "version", values: [...NO_COUNT, 0] },
  { type: "header", member: "sessionId", values: [...NO_ID, "s/frame:f"] },
  { type: "header", member: "state", values: [undefined, null, 1, "running", "attached", "constructor"] },
  { type: "header", member: "exportedAtMs", values: NO_COUNT },
  { type: "header", member: "head", values: [null, 1, "x", [], {}, { id: "" }, { id: 1 }, { id: "s", messages: [] }] },
  { type: "header", member: "head.more", field: "head/more", values: NO_JSON.slice(1) },
  { type: "header", member: "counts", values: NO_OBJECT },
  ...["messages", "inputs", "receipts", "steps", "blobs", "quarantined"].map((name) => ({
    type: "header",
    member: `counts.${name}`,
    values: [...NO_COUNT, 99],
  })),
  { type: "message", member: "type", values: [undefined, null, 1, "other", "constructor"] },
  { type: "message", member: "message", values: [...NO_JSON, null, 1, "x", [], {}] },
  { type: "message", member: "message.role", values: [undefined, null, 1, "robot", "constructor", ["user"]] },
  { type: "message", member: "message.content", values: [undefined] },
  { type: "message", member: "message.content", field: "message/content", values: NO_JSON.slice(1) },
  { type: "input", member: "record", values: NO_OBJECT },
  { type: "input", member: "record.inputId", values: NO_ID },
  { type: "input", member: "record.currentState", values: [undefined, null, 1, "idle"] },
  { type: "input", member: "record.durability", values: [null, 1, "ephemeral", "other"] },
  { type: "input", member: "record.attemptCount", values: NO_COUNT.slice(1) },
  { type: "input", member: "record.persistedInput.inputType", field: "inputType", values: [undefined, null, 1, "other"] },
  { type: "input", member: "rank", values: [null, "1", 0.5, 2 ** 53, -(2 ** 53), []] },
  { type: "input", member: "starts", values: [null, 2, -1, true, "1"] },
  { type: "input", member: "workSize", values: NO_COUNT.slice(1) },
  { type: "input", member: "cancelRequested", values: NO_MARK },
  { type: "input", member: "holdsKey", values: NO_MARK },
  { type: "input", member: "crashes", values: NO_COUNT.slice(1) },
  { type: "input", member: "interruptions", values: NO_COUNT.slice(1) },
  { type: "input", member: "workId", values: NO_ID.slice(1) },
  { type: "receipt", member: "receipt", values: NO_OBJECT },
  { type: "receipt", member: "receipt.runId", values: NO_ID },
  { type: "receipt", member: "receipt.sequence", values: NO_COUNT },
  { type: "receipt", member: "receipt.contributingInputIds", values: [undefined, null, {}, "x", [1], [""]] },
  { type: "step", member: "workId", values: NO_ID },
  { type: "step", member: "stepKey", values: NO_ID },
  { type: "step", member: "result", values: NO_JSON },
  { type: "ops", member: "snapshot", values: NO_OBJECT },
  { type: "ops", member: "snapshot.epochId", field: "epochId", values: NO_ID },
  { type: "blob", member: "hash", values: [...NO_ID, "00", "A".repeat(64)] },
  { type: "blob", member: "part", values: [...NO_COUNT, 1] },
  { type: "blob", member: "of", values: [...NO_COUNT, 0, 2 ** 40] },
  { type: "blob", member: "base64", values: [...NO_TEXT, undefined, "*", "A".repeat(400_000)] },
  { type: "blob", member: "base64", field: "hash", values: ["", "AAAA"] },
  { type: "quarantined", member: "inputId", values: NO_ID },
  { type: "quarantined", member: "reason", values: NO_TEXT },
  { type: "quarantined", member: "atMs", values: NO_COUNT },
  { type: "quarantined", member: "row", values: NO_JSON },
  { type: "end", member: "lines", values: [...NO_COUNT, 1, 99] },
];
