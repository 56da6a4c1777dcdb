import type { JsonValue } from "../../../domain/json.js";
import type { Kernel } from "../../../kernel/kernel.js";
import { casesOn, type OpenFixture, type Runner, refusalMismatch, refused } from "../../kit/fixture.js";
import { hostileObjects } from "../../kit/hostile.js";
import { input, RUNTIME, readRuntimes, receipt } from "../runtime.fixture.js";
import { elsewhere, furnish, type Line, linesOf, OPS, TRANSCRIPT } from "./archive.fixture.js";

/** Lines that an import refuses. */
export function importCheckCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  promise("an existing session is not imported over, whatever there is of it", async (setup) => {
    const { kernel } = setup;
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
      const there = await elsewhere(setup);
      await make(there);
      const before = await readRuntimes(there.runtime);
      await refused(there.sessions.import(lines), "conflict", '"s"');
      expect(await readRuntimes(there.runtime)).toEqual(before);
    }
  });

  promise("an import that cannot be read to its end writes nothing, and passes the reader's own error on", async (setup) => {
    await furnish(setup);
    const there = await elsewhere(setup);
    const lines = await linesOf(setup.kernel.sessions, "s");
    const own = new Error("the file is gone");
    async function* broken(): AsyncGenerator<string> {
      yield* lines.slice(0, 3);
      throw own;
    }
    const failed = await there.sessions.import(broken()).catch((error: unknown) => error);
    expect(failed === own).toBe(true);
    expect(await there.sessions.list()).toEqual([]);
  });

  promise("a truncated, mixed up or altered export is refused whole, naming the line", async (setup) => {
    await furnish(setup);
    const there = await elsewhere(setup);
    const lines = await linesOf(setup.kernel.sessions, "s");
    const wrong: string[] = [];
    const check = async (name: string, given: readonly unknown[], ...fragments: string[]) => {
      const why = await refusalMismatch(there.sessions.import(given as string[]), "invalid", ...fragments);
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
    expect(await readRuntimes(there.runtime)).toEqual(await readRuntimes((await elsewhere(setup)).runtime));
  });

  promise("no member of a line may be anything else than it is", async (setup) => {
    await furnish(setup);
    const there = await elsewhere(setup);
    const lines = await linesOf(setup.kernel.sessions, "s");
    const wrong: string[] = [];
    for (const { type, member, field = member, values } of MEMBERS) {
      const at = lines.findIndex((line) => ((JSON.parse(line) as Line).type ?? "header") === type);
      const line = JSON.parse(lines[at] as string) as Line;
      for (const value of values) {
        const bad = JSON.stringify(withMember(line, member.split("."), value));
        const why = await refusalMismatch(there.sessions.import(lines.toSpliced(at, 1, bad)), "invalid", `line ${at + 1}`, field);
        if (why !== undefined) wrong.push(`${type} ${member} ${JSON.stringify(value)?.slice(0, 40)}: ${why}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(await there.sessions.list()).toEqual([]);
  });

  promise("lines that contradict one another are refused", async (setup) => {
    await furnish(setup);
    const lines = (await linesOf(setup.kernel.sessions, "s")).map((line) => JSON.parse(line) as Line);
    const there = await elsewhere(setup);
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
    await refused(kernel.sessions.import(['{"holdfast":"session","version":3,"new":true}', "?"]), "version", "3");
  });
}

/** A copy with another value at a path; `undefined` removes the member. */
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

/** Wrong values for each member of a line. `field` is the member's name in the error, where that is not its path. */
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
