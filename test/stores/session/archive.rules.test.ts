import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { HoldfastError } from "../../../src/domain/errors.js";
import type { RunBoundaryReceipt } from "../../../src/domain/session/session.js";
import { DEFAULT_LIMITS, type Limits } from "../../../src/domain/time.js";
import { archiveLines, portable, readArchive, type SessionArchive } from "../../../src/stores/session/archive.rules.js";
import { freshOps } from "../../../src/stores/session/ops.rules.js";
import { row } from "./input-row.js";

const T = 1_000;
/** The largest part on one line, in characters and in bytes. */
const PART_CHARACTERS = 262_144;
const PART_BYTES = 196_608;

const bytesOf = (text: string) => new TextEncoder().encode(text);
const shaOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
/** Compares large byte arrays at once: a comparison member by member takes seconds. */
const isSame = (a: Uint8Array | undefined, b: Uint8Array) => a !== undefined && Buffer.compare(a, b) === 0;
const blobOf = (bytes: Uint8Array) => ({ hash: shaOf(bytes), bytes });

const EMPTY: SessionArchive = {
  sessionId: "s",
  state: "idle",
  messages: [],
  inputs: [],
  receipts: [],
  steps: [],
  appendKeys: [],
  blobs: [],
  quarantined: [],
};
const input = { record: { ...row("a").record, idempotencyKey: "k" } };
const receipt: RunBoundaryReceipt = {
  runId: "run",
  boundary: "run_start",
  contributingInputIds: ["a"],
  messageCount: 1,
  sequence: 0,
};
/** An archive with one thing of each kind. */
const FULL: SessionArchive = {
  ...EMPTY,
  state: "retired",
  head: { id: "s", title: "t" },
  messages: [{ role: "user", content: "hello" }],
  inputs: [
    { ...input, rank: -3, starts: 1, crashes: 2, interruptions: 0, workId: "w", workSize: 1, cancelRequested: 1, holdsKey: 1 },
  ],
  receipts: [receipt],
  steps: [{ workId: "w", stepKey: "k", result: [1] }],
  ops: freshOps("epoch", { maxCompleted: 1, maxConcurrent: null }),
  blobs: [blobOf(Uint8Array.of(1, 2, 255))],
  quarantined: [{ inputId: "q", reason: "", atMs: 0, row: null }],
};

const linesOf = (archive: SessionArchive) => [...archiveLines(archive, T)];
const parsed = (lines: readonly string[]) => lines.map((line) => JSON.parse(line));
function read(lines: readonly unknown[], limits: Limits = DEFAULT_LIMITS): SessionArchive {
  const reader = readArchive(limits);
  for (const line of lines) reader.line(line);
  return reader.done();
}

/** The error with which the lines are refused. */
function refusal(lines: readonly unknown[], limits?: Limits): HoldfastError {
  try {
    read(lines, limits);
  } catch (thrown) {
    return thrown as HoldfastError;
  }
  throw new Error("they were taken");
}

type Json = Record<string, unknown>;
/** Lists nested to that depth. */
const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
/** The parsed lines of an archive, for tests to change. */
function changed(archive: SessionArchive, change: (lines: Json[]) => void): string[] {
  const lines: Json[] = parsed(linesOf(archive));
  change(lines);
  return lines.map((line) => JSON.stringify(line));
}
/** The lines with other members in the line of that kind. */
const withLine = (archive: SessionArchive, type: string, more: Json) =>
  changed(archive, (lines) => Object.assign(lines.find((line) => line.type === type) as Json, more));
/** The lines with the line of that kind twice, and an end that fits. */
const doubled = (archive: SessionArchive, type: string, more: Json = {}) =>
  changed(archive, (lines) => {
    const at = lines.findIndex((line) => line.type === type);
    lines.splice(at, 0, { ...lines[at], ...more });
    Object.assign(lines.at(-1) as Json, { lines: lines.length });
  });
const invalidAt = (line: number, says: string) => ({
  code: "invalid",
  message: expect.stringContaining(`line ${line}: ${says}`),
  details: { line },
});

describe("the lines of a session", () => {
  it("are a header, a line for each thing that it has, and the end, which counts them", () => {
    expect(parsed(linesOf(FULL))).toEqual([
      {
        holdfast: "session",
        version: 1,
        sessionId: "s",
        state: "retired",
        exportedAtMs: T,
        head: FULL.head,
        counts: { messages: 1, inputs: 1, receipts: 1, steps: 1, blobs: 1, quarantined: 1 },
      },
      { type: "message", message: FULL.messages[0] },
      { type: "input", ...FULL.inputs[0] },
      { type: "receipt", receipt },
      { type: "step", workId: "w", stepKey: "k", result: [1] },
      { type: "ops", snapshot: FULL.ops },
      { type: "blob", hash: FULL.blobs[0]?.hash, part: 0, of: 1, base64: "AQL/" },
      { type: "quarantined", inputId: "q", reason: "", atMs: 0, row: null },
      { type: "end", lines: 9 },
    ]);
  });

  it("of a session that has nothing are two", () => {
    const counts = { messages: 0, inputs: 0, receipts: 0, steps: 0, blobs: 0, quarantined: 0 };
    expect(parsed(linesOf(EMPTY))).toEqual([
      { holdfast: "session", version: 1, sessionId: "s", state: "idle", exportedAtMs: T, counts },
      { type: "end", lines: 2 },
    ]);
  });

  it.each<[string, SessionArchive]>([
    ["nothing", EMPTY],
    ["one of everything", FULL],
    ["inputs without columns and keys", { ...EMPTY, inputs: [{ record: row("a").record }, { record: row("b").record }] }],
    ["an input that its policy lets start nothing", { ...EMPTY, inputs: [{ ...input, starts: 0 }] }],
    ["a snapshot that begins with a byte order mark", { ...EMPTY, snapshot: bytesOf('\ufeff{"id":"s"}') }],
    ["an image without bytes", { ...EMPTY, blobs: [blobOf(new Uint8Array())] }],
  ])("are read back as what they were: %s", (_, archive) => {
    expect(read(linesOf(archive))).toStrictEqual(archive);
  });
});

describe("a snapshot in parts", () => {
  const textOf = (length: number) => `{"id":"s","text":"${"x".repeat(length - 20)}"}`;
  const partsOf = (text: string) =>
    parsed(linesOf({ ...EMPTY, snapshot: bytesOf(text) })).slice(1, -1) as { part: number; of: number; text: string }[];
  const lengths = (text: string) => partsOf(text).map((part) => part.text.length);

  it("has parts of 262,144 characters, and as many as it needs", () => {
    expect(textOf(100)).toHaveLength(100);
    expect(lengths(textOf(PART_CHARACTERS))).toEqual([PART_CHARACTERS]);
    expect(lengths(textOf(PART_CHARACTERS + 1))).toEqual([PART_CHARACTERS, 1]);
    expect(partsOf(textOf(PART_CHARACTERS + 1)).map(({ part, of }) => [part, of])).toEqual([
      [0, 2],
      [1, 2],
    ]);
  });

  it("is not cut within a character", () => {
    const text = `{"id":"s","text":"${"x".repeat(PART_CHARACTERS - 19)}\u{1f600}"}`;
    expect(lengths(text)).toEqual([PART_CHARACTERS - 1, 4]);
    expect(isSame(read(linesOf({ ...EMPTY, snapshot: bytesOf(text) })).snapshot, bytesOf(text))).toBe(true);
  });

  it("is refused where a part is missing", () => {
    const lines = linesOf({ ...EMPTY, snapshot: bytesOf(textOf(PART_CHARACTERS + 1)) });
    expect(refusal(lines.toSpliced(2, 1))).toMatchObject(invalidAt(3, "type must go on with the snapshot"));
  });

  it("comes back whole, however large it is", () => {
    const snapshot = bytesOf(textOf(2 * PART_CHARACTERS + 5));
    const limits = { ...DEFAULT_LIMITS, snapshotBytes: 1 };
    expect(isSame(read(linesOf({ ...EMPTY, snapshot }), limits).snapshot, snapshot)).toBe(true);
  });

  it("is refused a second time, as larger parts, and as no snapshot", () => {
    const small = { ...EMPTY, snapshot: bytesOf('{"id":"s"}') };
    expect(refusal(doubled(small, "snapshot"))).toMatchObject(invalidAt(3, "type must not be snapshot"));
    const large = JSON.stringify({ id: "s", text: "x".repeat(PART_CHARACTERS) });
    expect(refusal(withLine(small, "snapshot", { text: large }))).toMatchObject(invalidAt(2, "text must be at most"));
    expect(refusal(withLine(small, "snapshot", { text: "{}" }))).toMatchObject(invalidAt(2, "text must be UTF-8 JSON"));
  });

  it("stands alone: a session that has one has no messages and no head beside it", () => {
    const both = { ...EMPTY, snapshot: bytesOf('{"id":"s"}') };
    for (const more of [{ messages: FULL.messages }, { head: FULL.head as NonNullable<SessionArchive["head"]> }])
      expect(refusal(linesOf({ ...both, ...more }))).toMatchObject(
        invalidAt(1, "a session has a snapshot, or head and messages"),
      );
  });
});

describe("an image in parts", () => {
  const bytes = Uint8Array.from({ length: PART_BYTES + 1 }, (_, at) => (at * 7_919) % 251);
  const archive = { ...EMPTY, blobs: [blobOf(bytes)] };
  /** The two lines in another order or number, between header and end. */
  const withParts = (...parts: number[]) =>
    changed(archive, (lines) => {
      lines.splice(1, 2, ...parts.map((part) => ({ ...lines[1 + part] })));
    });

  it("has parts of 196,608 bytes, and comes back whole", () => {
    const parts = parsed(linesOf(archive)).slice(1, -1);
    expect(parts.map(({ part, of, base64 }) => [part, of, base64.length])).toEqual([
      [0, 2, PART_CHARACTERS],
      [1, 2, 4],
    ]);
    expect(linesOf({ ...EMPTY, blobs: [blobOf(bytes.subarray(0, PART_BYTES))] })).toHaveLength(3);
    const [blob] = read(linesOf(archive)).blobs;
    expect(shaOf(blob?.bytes as Uint8Array)).toBe(blob?.hash);
  });

  it("is refused where a part comes in another order, twice or not at all", () => {
    expect(refusal(withParts(1, 0))).toMatchObject(invalidAt(2, "part must be 0 of 2 of the blob"));
    expect(refusal(withParts(0, 0, 1))).toMatchObject(invalidAt(3, "part must be 1 of 2 of the blob"));
    expect(refusal(withParts(0))).toMatchObject(invalidAt(3, "type must go on with the blob"));
  });

  it("is refused where the parts are of different numbers, of different images, or of a snapshot", () => {
    const second = (more: Json) => changed(archive, (lines) => Object.assign(lines[2] as Json, more));
    expect(refusal(second({ of: 3 }))).toMatchObject(invalidAt(3, "part must be 1 of 2 of the blob"));
    expect(refusal(second({ hash: "other" }))).toMatchObject(invalidAt(3, "part must be 1 of 2 of the blob"));
    expect(refusal(second({ type: "snapshot", text: "x" }))).toMatchObject(invalidAt(3, "part must be 1 of 2 of the blob"));
  });

  it("is refused where another thing comes between its parts", () => {
    const between = changed({ ...archive, messages: FULL.messages }, (lines) => {
      const [message] = lines.splice(1, 1) as [Json];
      lines.splice(2, 0, message);
    });
    expect(refusal(between)).toMatchObject(invalidAt(3, "type must go on with the blob"));
  });

  it.each<[string, Json, string]>([
    ["a part that is behind the last", { part: 1 }, "part must be a whole number from 0 to 0"],
    ["no parts", { of: 0 }, "of must be a whole number from 1 to 1048576"],
    ["more parts than any has", { of: 1_048_577 }, "of must be a whole number from 1 to 1048576"],
    ["no base64", { base64: "?" }, "base64 must be base64 text"],
    ["a number", { base64: 5 }, "base64 must be a string"],
    ["more than a part", { base64: "A".repeat(2 * PART_BYTES + 4) }, "base64 must be at most"],
    ["other bytes", { base64: "AQL+" }, "hash must be the SHA-256"],
    ["an empty hash", { hash: "" }, "hash must be a non-empty string"],
  ])("is refused with %s", (_, more, says) => {
    expect(refusal(withLine({ ...EMPTY, blobs: FULL.blobs }, "blob", more))).toMatchObject(invalidAt(2, says));
  });

  it("may have as many parts as there can be", () => {
    const reader = readArchive(DEFAULT_LIMITS);
    const [header, blob] = withLine({ ...EMPTY, blobs: FULL.blobs }, "blob", { of: 1_048_576 });
    reader.line(header);
    expect(() => reader.line(blob)).not.toThrow();
  });

  it("is refused a second time", () => {
    expect(refusal(doubled({ ...EMPTY, blobs: FULL.blobs }, "blob"))).toMatchObject(
      invalidAt(3, "hash must not be that of a line before"),
    );
  });
});

describe("the header", () => {
  const header = (more: Json) => changed(FULL, (lines) => Object.assign(lines[0] as Json, more));
  const counts = { messages: 1, inputs: 1, receipts: 1, steps: 1, blobs: 1, quarantined: 1 };

  it.each<[Json, string]>([
    [{ holdfast: "other" }, 'holdfast must be "session"'],
    [{ version: 0 }, "version must be"],
    [{ sessionId: "" }, "sessionId must be a non-empty string"],
    [{ sessionId: "a/frame:b" }, "sessionId must not contain"],
    [{ state: "running" }, "state must be one of initializing, idle, retired, stopped, destroyed"],
    [{ exportedAtMs: -1 }, "exportedAtMs must be"],
    [{ head: 1 }, "head must be an object"],
    [{ head: { id: "s", more: nested(DEFAULT_LIMITS.depth + 5) } }, "head/more"],
    [{ head: { id: "" } }, "head.id must be a non-empty string"],
    [{ head: { id: 1 } }, "head.id must be a non-empty string"],
    [{ head: { id: "s", messages: [] } }, "head.messages must be absent"],
    [{ counts: 1 }, "counts must be an object"],
    ...Object.keys(counts).map((name): [Json, string] => [{ counts: { ...counts, [name]: -1 } }, `counts.${name} must be`]),
    ...Object.keys(counts).map((name): [Json, string] => [{ counts: { ...counts, [name]: 2 } }, `counts.${name} must be 1`]),
  ])("is refused with %j", (more, says) => {
    expect(refusal(header(more))).toMatchObject(invalidAt(1, says));
  });

  it("of a newer holdfast is a version", () => {
    expect(refusal(header({ version: 3 })).code).toBe("version");
  });

  it("may say that it was exported at the very beginning of time", () => {
    expect(read(header({ exportedAtMs: 0 }))).toEqual(FULL);
  });
});

describe("a line", () => {
  it.each<[string, string, Json, string]>([
    ["a message", "message", { message: { role: "other", content: "" } }, "message.role"],
    ["a receipt", "receipt", { receipt: { ...receipt, runId: "" } }, "receipt.runId"],
    ["a step's work", "step", { workId: "" }, "workId"],
    ["a step's key", "step", { stepKey: "" }, "stepKey"],
    ["a step's result", "step", { result: undefined }, "result"],
    ["operations", "ops", { snapshot: {} }, "snapshot.epochId"],
    [
      "operations of too long an id",
      "ops",
      { snapshot: { ...FULL.ops, epochId: "e".repeat(513) } },
      "snapshot.epochId must be at most",
    ],
    ["a quarantined row's input", "quarantined", { inputId: "" }, "inputId"],
    ["a quarantined row's reason", "quarantined", { reason: 1 }, "reason"],
    ["a quarantined row's time", "quarantined", { atMs: -1 }, "atMs"],
    ["a quarantined row", "quarantined", { row: undefined }, "row"],
    ["an input's record", "input", { record: { ...input.record, currentState: "asleep" } }, "record.currentState"],
    ["an input that ends with its tab", "input", { record: { ...input.record, durability: "ephemeral" } }, "record.durability"],
    ["an input's rank below the lowest", "input", { rank: -(2 ** 52) - 1 }, "rank"],
    ["an input's rank above the highest", "input", { rank: 2 ** 52 + 1 }, "rank"],
    ["an input's start", "input", { starts: 2 }, "starts"],
    ["an input's start below 0", "input", { starts: -1 }, "starts"],
    ["an input's crashes", "input", { crashes: -1 }, "crashes"],
    ["more crashes than can be counted on from", "input", { crashes: 2 ** 52 + 1 }, "crashes"],
    ["more interruptions than can be counted on from", "input", { interruptions: 2 ** 52 + 1 }, "interruptions"],
    ["an input's interruptions", "input", { interruptions: -1 }, "interruptions"],
    ["an input's work", "input", { workId: "" }, "workId"],
    ["an input's work of nothing", "input", { workSize: 0 }, "workSize"],
    ["an input that is not asked to cancel", "input", { cancelRequested: 0 }, "cancelRequested"],
    ["an input that is asked to cancel twice", "input", { cancelRequested: 2 }, "cancelRequested"],
    ["an input's hold of its key", "input", { holdsKey: 0 }, "holdsKey"],
    ["a hold of no key", "input", { record: row("a").record }, "holdsKey must be absent of an input without"],
    ["the end's number", "end", { lines: 8 }, "lines must be 9"],
    ["an end that is no number", "end", { lines: -1 }, "lines must be a whole number"],
    ["another kind of line", "end", { type: "other" }, "type must be one of message, snapshot, input"],
  ])("is refused by its number and its member: %s", (_, type, more, says) => {
    const at = parsed(linesOf(FULL)).findIndex((line) => line.type === type) + 1;
    expect(refusal(withLine(FULL, type, more))).toMatchObject(invalidAt(at, says));
  });

  it.each<[string, Json, string]>([
    ["input", {}, "record.inputId must not be that of a line before"],
    ["input", { record: { ...input.record, inputId: "b" } }, 'holdsKey must be absent: key "k" stands'],
    ["receipt", {}, "receipt.runId and receipt.sequence must not be that of a line before"],
    ["step", {}, "workId and stepKey must not be that of a line before"],
    ["ops", {}, "type must not be ops a second time"],
    ["quarantined", {}, "inputId must not be that of a line before"],
  ])("is refused a second time: %s with %j", (type, more, says) => {
    const lines = doubled(FULL, type, more);
    const at = lines.findLastIndex((line) => line.startsWith(`{"type":"${type}"`)) + 1;
    expect(refusal(lines)).toMatchObject(invalidAt(at, says));
  });

  it("is not one before that has only a part in common with it", () => {
    const archive: SessionArchive = {
      ...EMPTY,
      inputs: [input, { record: { ...input.record, inputId: "b" } }],
      receipts: [receipt, { ...receipt, sequence: 1 }, { ...receipt, runId: "other" }],
      steps: [
        { workId: "w", stepKey: "k", result: 1 },
        { workId: "w", stepKey: "l", result: 1 },
        { workId: "v", stepKey: "k", result: 1 },
      ],
    };
    expect(read(linesOf(archive))).toEqual(archive);
  });

  it("may have the lowest and the highest rank", () => {
    for (const rank of [-(2 ** 52), 2 ** 52]) {
      const archive = { ...EMPTY, inputs: [{ ...input, rank }] };
      expect(read(linesOf(archive))).toEqual(archive);
    }
  });

  it.each<[string, unknown, string]>([
    ["no text", 5, "it must be a string"],
    ["no JSON", "{", "it must be JSON"],
    ["an empty line", "", "it must be JSON"],
    ["a list", "[]", "the line must be an object"],
  ])("that is %s is refused by its number", (_, line, says) => {
    expect(refusal([line])).toMatchObject(invalidAt(1, says));
    expect(refusal([linesOf(EMPTY)[0], line])).toMatchObject(invalidAt(2, says));
  });

  it("is refused with its cause", () => {
    expect(refusal(["{"]).cause).toMatchObject({ code: "invalid" });
  });
});

describe("the end", () => {
  const lines = linesOf(EMPTY);

  it("must come: a file that was cut is refused by the line that is missing", () => {
    expect(refusal([])).toMatchObject({ code: "invalid", details: { line: 1 } });
    expect(refusal(lines.slice(0, -1))).toMatchObject({ code: "invalid", details: { line: 2 } });
  });

  it("may have empty lines behind it, and nothing else", () => {
    expect(read([...lines, "", " \r"])).toEqual(EMPTY);
    expect(refusal([...lines, "", lines[1]])).toMatchObject({ code: "invalid", details: { line: 3 } });
    const message = JSON.stringify({ type: "message", message: FULL.messages[0] });
    for (const behind of [message, 5])
      expect(refusal([...lines, behind])).toMatchObject({ code: "invalid", details: { line: 3 } });
  });
});

describe("what an import takes of a line", () => {
  const limits: Limits = { ...DEFAULT_LIMITS, idLength: 2, payloadBytes: 10, snapshotBytes: 20, depth: 2 };
  const step = (result: unknown) => withLine({ ...EMPTY, steps: FULL.steps }, "step", { result });

  it("is more than an app may hand over: what a session adds, in bytes, in levels, and ids that are made here", () => {
    const largest = 20 + 4_096;
    expect(read(step("x".repeat(largest - 2)), limits).steps).toHaveLength(1);
    expect(refusal(step("x".repeat(largest - 1)), limits)).toMatchObject(invalidAt(2, "result is larger than"));
    expect(read(step(nested(7)), limits).steps).toHaveLength(1);
    expect(refusal(step(nested(8)), limits)).toMatchObject(invalidAt(2, "result/0"));
    const named = (length: number) => ({ ...EMPTY, steps: [{ workId: "w".repeat(length), stepKey: "k", result: 1 }] });
    expect(read(linesOf(named(64)), limits).steps).toHaveLength(1);
    expect(refusal(linesOf(named(65)), limits)).toMatchObject(invalidAt(2, "workId must be at most 64"));
  });

  it("goes by the larger of the two limits of bytes", () => {
    const most = { ...limits, payloadBytes: 30 };
    expect(read(step("x".repeat(30 + 4_096 - 2)), most).steps).toHaveLength(1);
    expect(refusal(step("x".repeat(30 + 4_096 - 1)), most)).toMatchObject(invalidAt(2, "result is larger than"));
  });

  it("is of a session's id what an app may hand over", () => {
    expect(refusal(linesOf({ ...EMPTY, sessionId: "abc" }), limits)).toMatchObject(invalidAt(1, "sessionId must be at most 2"));
  });

  it("is any size of operations", () => {
    const archive = { ...EMPTY, ops: { ...freshOps("epoch", { maxCompleted: 1, maxConcurrent: null }) } };
    expect(read(linesOf(archive), limits)).toEqual(archive);
  });
});

describe("an archive that travels", () => {
  const tooDeep = nested(DEFAULT_LIMITS.depth + 6) as never;

  it("is the one that it was, where an import takes all of it", () => {
    for (const archive of [EMPTY, FULL]) expect(portable(archive, DEFAULT_LIMITS)).toEqual(archive);
  });

  it.each<[string, Partial<SessionArchive>]>([
    ["a message that no session makes", { messages: [...FULL.messages, { role: "other", content: "" } as never] }],
    ["a message that is too deep", { messages: [{ role: "user", content: tooDeep }] }],
    ["a head that is too deep", { head: { id: "s", more: tooDeep } }],
  ])("has a snapshot for head and messages where an import refuses %s", (_, more) => {
    const archive = { ...FULL, ...more };
    const { head, messages, ...rest } = archive;
    const travels = portable(archive, DEFAULT_LIMITS);
    expect(travels).toEqual({ ...rest, messages: [], snapshot: bytesOf(JSON.stringify({ ...head, messages })) });
    expect(read(linesOf(travels))).toEqual(travels);
  });

  it("that has no head is a snapshot by its id", () => {
    const messages = [{ role: "other", content: "" } as never];
    expect(portable({ ...EMPTY, messages }, DEFAULT_LIMITS).snapshot).toEqual(bytesOf(JSON.stringify({ id: "s", messages })));
  });

  it("has nothing for a row that was set aside and is no JSON or too deep, and leaves the others as they are", () => {
    const broken = { inputId: "b", reason: "why", atMs: 1, row: new Map() as never };
    const quarantined = [broken, { ...broken, inputId: "d", row: tooDeep }, { ...broken, inputId: "c", row: 1 }];
    const rows = [
      { ...broken, row: null },
      { ...broken, inputId: "d", row: null },
      { ...broken, inputId: "c", row: 1 },
    ];
    expect(portable({ ...EMPTY, quarantined }, DEFAULT_LIMITS)).toEqual({ ...EMPTY, quarantined: rows });
    const other = { ...EMPTY, messages: [{ role: "other", content: "" } as never], quarantined };
    expect(portable(other, DEFAULT_LIMITS)).toMatchObject({ messages: [], quarantined: rows });
  });
});
