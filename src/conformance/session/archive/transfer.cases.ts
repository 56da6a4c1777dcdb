import { liftSnapshot } from "../../../stores/session/transcript.rules.js";
import { messageWrites } from "../../../stores/session/turns.js";
import { casesOn, count, type OpenFixture, type Runner, refused, uniqueName } from "../../kit/fixture.js";
import { onRows, readRows, writeRows } from "../../kit/rows.fixture.js";
import { bytesOf, DECISION, fullInput, input, PROMPT, RUNTIME, readRuntimes, receipt, textOf } from "../runtime.fixture.js";
import { elsewhere, furnish, IMAGE, type Line, linesOf, rowsOf, TRANSCRIPT } from "./archive.fixture.js";

/** Sessions exported from one database and imported into another. */
export function transferCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  promise("an export is lines of JSON, and an import of it exports the same lines again", async (setup) => {
    await furnish(setup);
    const there = await elsewhere(setup);
    const lines = await linesOf(setup.kernel.sessions, "s");
    expect(lines.every((line) => !line.includes("\n"))).toBe(true);
    const kinds = lines.map((line) => (JSON.parse(line) as Line).type ?? "header");
    expect(kinds).toEqual([
      ...["header", "message", "message", "input", "input", "input", "input", "receipt", "step", "ops", "blob"],
      ...["quarantined", "end"],
    ]);
    await setup.clock.advance(7);
    expect(await there.sessions.import(lines)).toEqual({ sessionId: "s" });
    const again = await linesOf(there.sessions, "s");
    const { exportedAtMs, ...header } = JSON.parse(lines[0] as string) as Line;
    expect(JSON.parse(again[0] as string)).toEqual({ ...header, exportedAtMs: Number(exportedAtMs) + 7 });
    expect(again.slice(1)).toEqual(lines.slice(1));
  });

  promise("an imported session is what the exported one was, but for who is at work", async (setup) => {
    await furnish(setup);
    const { kernel } = setup;
    const there = await elsewhere(setup);
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

  promise("idempotency keys stand for the same inputs after an import; one that was let go of stays so", async (setup) => {
    const { kernel } = setup;
    const session = await kernel.session("s");
    await session.submit({ inputType: "operation", inputId: "1", idempotencyKey: "k" });
    await setup.clock.advance(25 * 60 * 60 * 1_000);
    await session.submit({ inputType: "prompt", text: "new", inputId: "2", idempotencyKey: "k" });
    await setup.clock.advance(25 * 60 * 60 * 1_000);
    await session.submit({ inputType: "operation", inputId: "0", idempotencyKey: "other" });
    const there = await elsewhere(setup);
    const lines = await linesOf(kernel.sessions, "s");
    await there.sessions.import(lines);
    expect((await linesOf(there.sessions, "s")).slice(1)).toEqual(lines.slice(1));
    const other = await there.session("s");
    const again = { inputType: "prompt", text: "again", inputId: "again", idempotencyKey: "k" } as const;
    expect(await other.submit(again)).toEqual({ outcome: "deduplicated", inputId: "again", existingId: "2" });
  });

  promise("inputs that come after an import are admitted behind those that it brought", async (setup) => {
    await furnish(setup);
    const there = await elsewhere(setup);
    await there.sessions.import(await linesOf(setup.kernel.sessions, "s"));
    const session = await there.session("s");
    await session.submit({ inputType: "prompt", text: "later", inputId: "a later one" });
    await session.submit({ inputType: "operation", inputId: "the first of all" });
    const ranks = await onRows({ ...setup, name: there.name }, (rows) =>
      rows.transact(["inputs"], "read", (tx) => tx.range("inputs", {})),
    );
    const ranked = ranks.filter(({ rank }) => rank !== undefined).sort((a, b) => Number(a.rank) - Number(b.rank));
    expect(ranked.map(({ inputId }) => inputId)).toEqual(["the first of all", "first", "seen", "steer", "a later one"]);
  });

  promise("a snapshot that was handed over whole travels as its bytes, whatever they are", async (setup) => {
    const { kernel } = setup;
    const there = await elsewhere(setup);
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

  promise("a session that a host stored under an id of its own is read, exported and deleted by its session's", async (setup) => {
    const { kernel } = setup;
    await kernel.runtime.commitSessionSnapshot("their own", TRANSCRIPT);
    await kernel.runtime.persistInputState("their own", fullInput("done"));
    expect((await kernel.sessions.messages("s")).length).toBe(2);
    const there = await elsewhere(setup);
    await there.sessions.import(await linesOf(kernel.sessions, "s"));
    expect((await there.runtime.loadInputStates(RUNTIME)).map(({ inputId }) => inputId)).toEqual(["done"]);
    await kernel.sessions.delete("s");
    expect(await rowsOf(setup, "their own")).toEqual(["runtimes"]);
    expect(await kernel.sessions.list()).toEqual([]);
  });

  promise("what is under way is exported as a recovery leaves it, and nothing is changed by that", async (setup) => {
    const { kernel } = setup;
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
    const [runtime] = await readRows(setup, "runtimes");
    const run = { runId: "run", before: "retired", inputIds: ["staged"], workId: "run" };
    await writeRows(setup, { table: "runtimes", put: { ...runtime, v: 1, state: "running", run } });
    const before = await readRuntimes(kernel.runtime);
    const lines = (await linesOf(kernel.sessions, "s")).map((line) => JSON.parse(line) as Line);
    expect(lines[0]?.state).toBe("retired");
    const phases = lines.filter(({ type }) => type === "input").map(({ record }) => (record as Line).currentState as string);
    expect(phases).toEqual(["queued", "consumed", "queued"]);
    expect(await readRuntimes(kernel.runtime)).toEqual(before);
  });

  promise("secrets and logins are in no export, and survive the deletion of every session (R-174, R-5)", async (setup) => {
    const { kernel } = setup;
    await furnish(setup);
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

  promise("lines may come in time or at once, with line ends, and with empty ones behind the end", async (setup) => {
    await furnish(setup);
    const lines = await linesOf(setup.kernel.sessions, "s");
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
      const there = await elsewhere(setup);
      await there.sessions.import(form);
      expect((await linesOf(there.sessions, "s")).slice(1)).toEqual(lines.slice(1));
    }
  });

  promise("what was exported is imported whole, however long it is", async (setup) => {
    await furnish(setup);
    const limits = { snapshotBytes: 1_000, payloadBytes: 1_000, idLength: 40, depth: 8 };
    const from = await setup.open({ limits });
    const session = await from.session("s");
    const input = { inputType: "prompt" as const, inputId: "large" };
    const bare = JSON.stringify({ inputType: "prompt", text: "" }).length;
    await session.submit({ ...input, text: "x".repeat(limits.payloadBytes - bare) });
    const rows = count(300).map((at) => ({ role: "assistant" as const, content: `${at} `.padEnd(900, "x") }));
    await writeRows(setup, ...messageWrites(RUNTIME, 2, rows));
    const lines = await linesOf(from.sessions, "s");
    expect(lines.join("").length > 100 * limits.snapshotBytes).toBe(true);
    const there = await setup.open({ name: uniqueName(), limits });
    expect(await there.sessions.import(lines)).toEqual({ sessionId: "s" });
    expect(await linesOf(there.sessions, "s")).toEqual(lines);
    expect(await there.sessions.messages("s")).toEqual(await from.sessions.messages("s"));
    await refused(there.sessions.import(lines), "conflict", '"s"');
  });

  promise("messages that came with a snapshot travel with it, whatever they are", async (setup) => {
    const odd = [
      '{"id":"s","messages":[5,null,{"content":1},{"role":"robot","content":"x"},{"role":"user","content":"x"}]}',
      `{"id":"s","more":1,"messages":[{"role":"user","content":${"[".repeat(90)}${"]".repeat(90)}}]}`,
    ];
    for (const text of odd) {
      const here = { ...setup, name: uniqueName() };
      const from = await setup.open({ name: here.name });
      await from.runtime.commitSessionSnapshot(RUNTIME, { sessionSnapshot: bytesOf(text) });
      await (await from.session("s"))[Symbol.asyncDispose]();
      const whole = await from.runtime.loadSessionSnapshot(RUNTIME);
      // The rows that the session's first turn makes of the snapshot.
      const { head, messages, digest } = liftSnapshot(bytesOf(text));
      const [stored] = await readRows(here, "runtimes");
      await writeRows(here, { table: "snapshots", drop: RUNTIME }, ...messageWrites(RUNTIME, 0, messages), {
        table: "runtimes",
        put: { ...stored, v: 1, head, digest, messageCount: messages.length },
      });
      const there = await elsewhere(setup);
      await there.sessions.import(await linesOf(from.sessions, "s"));
      expect(await there.sessions.messages("s")).toEqual(messages);
      expect(textOf(await there.runtime.loadSessionSnapshot(RUNTIME))).toBe(textOf(whole));
      expect((await there.sessions.list()).map(({ messageCount }) => messageCount)).toEqual([messages.length]);
    }
  });

  promise("an unknown session is exported by nobody", async ({ kernel }) => {
    await refused(linesOf(kernel.sessions, "nobody"), "not-found", '"nobody"');
  });

  promise("a row that does not decode stops an export, and no deletion", async (setup) => {
    await furnish(setup);
    const { sessions } = setup.kernel;
    await writeRows(setup, { table: "inputs", put: { v: 1, runtimeId: RUNTIME, inputId: "done", record: "broken" } });
    await refused(linesOf(sessions, "s"), "read-failed", '"done"');
    await sessions.delete("s");
    expect(await rowsOf(setup)).toEqual(["runtimes"]);
  });
}
