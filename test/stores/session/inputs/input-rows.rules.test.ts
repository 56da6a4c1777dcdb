import { describe, expect, it } from "vitest";
import type { StoredInputState } from "../../../../src/domain/session/input.js";
import {
  type InputChange,
  inputWrites,
  keysOf,
  rankWrites,
  readInput,
} from "../../../../src/stores/session/inputs/input-rows.rules.js";
import { builtInPolicy, semanticsOf } from "../../../../src/stores/session/inputs/policy.rules.js";
import type { InputKeyRow, InputRow } from "../../../../src/stores/session/inputs/tables.js";

const LAST = Number.MAX_SAFE_INTEGER;

function row(inputId: string, record: Partial<StoredInputState> = {}, more: Partial<InputRow> = {}): InputRow {
  return {
    v: 1,
    runtimeId: "r",
    inputId,
    record: {
      inputId,
      currentState: "queued",
      attemptCount: 0,
      recoveryCount: 0,
      history: [],
      createdAtMs: 1,
      updatedAtMs: 7,
      ...record,
    },
    ...more,
  };
}

const key = (idempotencyKey: string, inputId: string, more: Partial<InputKeyRow> = {}): InputKeyRow => ({
  v: 1,
  runtimeId: "r",
  idempotencyKey,
  inputId,
  ...more,
});

/** The columns of an ended input's key. `endedRank` orders inputs by their creation, whatever their lane. */
const ended = (endedRank = 1, endedAtMs = 7) => ({ endedAtMs, endedRank });
const done = { currentState: "consumed" } as const;

/** The key rows after the writes, and the change of the counter. */
function keysAfter(changes: InputChange[], stored: InputKeyRow[] = []): { keys: InputKeyRow[]; endedKeys: number } {
  const { writes, endedKeys } = inputWrites(changes, stored);
  const keys = new Map(stored.map((at) => [at.idempotencyKey, at]));
  for (const write of writes.filter(({ table }) => table === "inputKeys")) {
    if ("put" in write) keys.set(String(write.put.idempotencyKey), write.put as InputKeyRow);
    else if ("drop" in write) keys.delete((write.drop as string[])[1] as string);
  }
  return { keys: [...keys.values()].sort((a, b) => (a.idempotencyKey < b.idempotencyKey ? -1 : 1)), endedKeys };
}

const openTo = (phase: string) => (phase === "queued" ? {} : { unsettledRank: 3 });

const DECISION = builtInPolicy({ kind: "external_event", idle: true });
/** An external event that waits and may be replaced. */
const WAITS: Partial<StoredInputState> = {
  currentState: "queued",
  durability: "durable",
  policy: { version: 1, decision: DECISION },
  runtimeSemantics: semanticsOf("external_event", DECISION),
  persistedInput: { inputType: "external_event", supersessionKey: "k" },
};

const inputsOf = (changes: InputChange[]) => inputWrites(changes, []).writes.filter(({ table }) => table === "inputs");

describe("an input row", () => {
  it.each(["accepted", "queued", "staged", "applied", "applied_pending_consumption"] as const)("is live while %s", (phase) => {
    expect(inputsOf([{ after: row("a", { currentState: phase }, { rank: 3 }) }])).toEqual([
      { table: "inputs", put: row("a", { currentState: phase }, { rank: 3, liveRank: 3, ...openTo(phase) }) },
    ]);
  });

  it("is found by what it waits for, and by nothing of it once it runs", () => {
    const ranks = (more: Partial<StoredInputState>, columns: Partial<InputRow> = {}) => {
      const [write] = inputsOf([{ after: row("a", { ...WAITS, ...more }, { rank: 3, ...columns }) }]);
      const { steerRank, starterRank, unsettledRank, replaceKey } = (write as unknown as { put: InputRow }).put;
      return { steerRank, starterRank, unsettledRank, replaceKey };
    };
    const none = { steerRank: undefined, starterRank: undefined, unsettledRank: undefined, replaceKey: undefined };
    expect(ranks({})).toEqual({ ...none, starterRank: 3, replaceKey: "queue external_event k" });
    expect(ranks({}, { starts: 0 })).toEqual({ ...none, replaceKey: "queue external_event k" });
    const steering = builtInPolicy({ kind: "external_event", idle: true, handlingMode: "steer" });
    expect(ranks({ policy: { version: 1, decision: steering } })).toEqual({
      ...none,
      steerRank: 3,
      starterRank: 3,
      replaceKey: "steer external_event k",
    });
    expect(ranks({ durability: "ephemeral" })).toMatchObject({ starterRank: 3, unsettledRank: 3 });
    const stale = { steerRank: 1, starterRank: 1, unsettledRank: 1, replaceKey: "x" };
    expect(ranks({ currentState: "staged" }, stale)).toEqual({ ...none, unsettledRank: 3 });
    expect(ranks({ currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } }, stale)).toEqual(none);
  });

  it("is found once it was given up, by its place, until its key stands for another input (A-21)", () => {
    const over = (reason: unknown, more: Partial<InputRow> = {}) => {
      const terminalOutcome = { outcomeType: "abandoned", reason } as NonNullable<StoredInputState["terminalOutcome"]>;
      return row("a", { currentState: "abandoned", terminalOutcome, idempotencyKey: "k" }, { since: 4, ...more });
    };
    const placeOf = (after: InputRow, stored: InputKeyRow[] = []) => {
      const write = inputWrites([{ before: after, after }], stored).writes.find(({ table }) => table === "inputs");
      return (write as unknown as { put: InputRow }).put.givenUpSince;
    };
    expect(["cancelled", { max_attempts_exhausted: { attempts: 3 } }].map((reason) => placeOf(over(reason)))).toEqual([4, 4]);
    expect(["retired", "reset", "stopped", "destroyed"].map((reason) => placeOf(over(reason)))).toEqual(Array(4).fill(undefined));
    expect(placeOf({ ...over("cancelled"), since: undefined } as unknown as InputRow)).toBe(undefined);
    expect(placeOf(over("cancelled"), [key("k", "a")])).toBe(4);
    expect(placeOf(over("cancelled", { givenUpSince: 4 }), [key("k", "b")])).toBe(undefined);
  });

  it("has no column for what is not to be found", () => {
    const [write] = inputsOf([{ after: row("a", {}, { rank: 3 }) }]);
    expect(Object.keys((write as unknown as { put: InputRow }).put)).toEqual([
      "v",
      "runtimeId",
      "inputId",
      "record",
      "rank",
      "liveRank",
    ]);
  });

  it("of an older holdfast is written where its columns are not those of its state, and nowhere else", () => {
    const [write] = inputsOf([{ after: row("a", WAITS, { rank: 3 }) }]);
    const { put } = write as unknown as { put: InputRow };
    expect(rankWrites([put, row("a", WAITS, { rank: 3, liveRank: 3 })])).toEqual([{ table: "inputs", put }]);
  });

  it.each(["consumed", "superseded", "coalesced", "abandoned"] as const)("is not live once %s", (phase) => {
    const put = row("a", { currentState: phase }, { rank: 3, workId: "w" });
    expect(inputsOf([{ after: { ...put, liveRank: 3 } }])).toEqual([{ table: "inputs", put }]);
  });

  it("without a rank comes last", () => {
    expect(inputsOf([{ after: row("a") }])).toEqual([{ table: "inputs", put: row("a", {}, { liveRank: LAST }) }]);
  });

  it("of rank 0 or below is live under that", () => {
    for (const rank of [0, -4])
      expect(inputsOf([{ after: row("a", {}, { rank }) }])).toMatchObject([{ put: { rank, liveRank: rank } }]);
  });

  it("is dropped when nothing comes after it, and nothing is written of what never was", () => {
    expect(inputsOf([{ before: row("a") }])).toEqual([{ table: "inputs", drop: ["r", "a"] }]);
    expect(inputWrites([{}], [])).toEqual({ writes: [], endedKeys: 0 });
  });
});

describe("the row of an idempotency key", () => {
  const k = { idempotencyKey: "k" };

  it("stands for its input, and says when that has ended", () => {
    expect(keysAfter([{ after: row("a", k) }])).toEqual({ keys: [key("k", "a")], endedKeys: 0 });
    const after = row("a", { ...k, ...done, createdAtMs: 3 }, { rank: -1 });
    expect(keysAfter([{ before: row("a", k), after }], [key("k", "a")])).toEqual({
      keys: [key("k", "a", ended(3))],
      endedKeys: 1,
    });
    expect(keysAfter([{ after: row("a", { ...k, ...done }) }])).toEqual({ keys: [key("k", "a", ended())], endedKeys: 1 });
  });

  it("is not written again when it stays the same", () => {
    const before = row("a", k);
    const writes = (after: InputRow, stored: InputKeyRow) =>
      inputWrites([{ before, after }], [stored]).writes.map(({ table }) => table);
    expect(writes(row("a", { ...k, currentState: "staged" }), key("k", "a"))).toEqual(["inputs"]);
    expect(writes(row("a", { ...k, ...done }), key("k", "a", ended()))).toEqual(["inputs"]);
    expect(writes(row("a", { ...k, ...done }), key("k", "a", ended(2)))).toEqual(["inputs", "inputKeys"]);
    expect(writes(row("a", { ...k, ...done }), key("k", "a", ended(1, 6)))).toEqual(["inputs", "inputKeys"]);
  });

  it("loses its end when its input lives again", () => {
    const change = { before: row("a", { ...k, ...done }), after: row("a", k) };
    expect(keysAfter([change], [key("k", "a", ended())])).toEqual({ keys: [key("k", "a")], endedKeys: -1 });
  });

  it.each<[string, InputRow | undefined]>([
    ["has another key", row("a", { idempotencyKey: "other" })],
    ["has none any more", row("a")],
    ["is ephemeral now and has ended", row("a", { ...k, ...done, durability: "ephemeral" })],
    ["is dropped", undefined],
  ])("goes when its input %s", (_, after) => {
    const { keys, endedKeys } = keysAfter([{ before: row("a", k), after }], [key("k", "a", ended())]);
    expect(keys).toEqual(after?.record.idempotencyKey === "other" ? [key("other", "a")] : []);
    expect(endedKeys).toBe(-1);
  });

  it("lives as long as an ephemeral input does (R-75)", () => {
    const live = row("a", { ...k, durability: "ephemeral" });
    expect(keysAfter([{ after: live }])).toEqual({ keys: [key("k", "a")], endedKeys: 0 });
    const over = row("a", { ...k, ...done, durability: "ephemeral" });
    expect(keysAfter([{ before: live, after: over }], [key("k", "a")])).toEqual({ keys: [], endedKeys: 0 });
  });

  it("is left to the input that it stands for", () => {
    const stored = [key("k", "a", ended(1))];
    expect(keysAfter([{ after: row("b", k) }], stored)).toEqual({ keys: stored, endedKeys: 0 });
    expect(keysAfter([{ before: row("b", k) }], stored)).toEqual({ keys: stored, endedKeys: 0 });
    expect(keysAfter([{ before: row("b", k), after: row("b") }], stored)).toEqual({ keys: stored, endedKeys: 0 });
  });

  it("stays with an input that changes behind a new one of its key", () => {
    const changes = [{ after: row("b", k) }, { before: row("a", k), after: row("a", { ...k, currentState: "staged" }) }];
    expect(keysAfter(changes, [key("k", "a")])).toEqual({ keys: [key("k", "a")], endedKeys: 0 });
  });

  it("may be gone before its input goes", () => {
    expect(keysAfter([{ before: row("a", k) }])).toEqual({ keys: [], endedKeys: 0 });
  });

  it("goes to the first of two new inputs with one key", () => {
    expect(keysAfter([{ after: row("b", k) }, { after: row("a", k) }])).toEqual({ keys: [key("k", "b")], endedKeys: 0 });
  });

  it("follows when two inputs change keys in one write, in either order", () => {
    const swap = [
      { before: row("a", { idempotencyKey: "1" }), after: row("a", { idempotencyKey: "2" }) },
      { before: row("b", { idempotencyKey: "2" }), after: row("b", { idempotencyKey: "1", ...done }) },
    ];
    const stored = [key("1", "a"), key("2", "b")];
    const swapped = { keys: [key("1", "b", ended()), key("2", "a")], endedKeys: 1 };
    expect(keysAfter(swap, stored)).toEqual(swapped);
    expect(keysAfter(swap.toReversed(), stored)).toEqual(swapped);
  });

  it("goes where retention lets go of it, and its input stays", () => {
    const after = row("a", { ...k, ...done });
    expect(keysAfter([{ after, keyless: true }])).toEqual({ keys: [], endedKeys: 0 });
    expect(inputsOf([{ after, keyless: true }])).toEqual([{ table: "inputs", put: after }]);
  });

  it("is asked for once per key, of all records", () => {
    const a = row("a", k).record;
    expect(keysOf([a, undefined, row("b").record, { ...a, idempotencyKey: "other" }, a])).toEqual(["k", "other"]);
  });
});

describe("a stored input", () => {
  it("is read with its columns and its record's defaults", () => {
    const { attemptCount: _, history: __, ...record } = row("a").record;
    const stored = {
      ...row("a", {}, { rank: 2, liveRank: 2, starts: 1 }),
      record: { ...record, persistedInput: { inputType: "projected" } },
    };
    expect(readInput(stored)).toEqual(
      row("a", { persistedInput: { inputType: "operation" } }, { rank: 2, liveRank: 2, starts: 1 }),
    );
  });

  it("may be longer than any limit of today", () => {
    const text = "x".repeat(2_000_000);
    const stored = row("i".repeat(5_000), { idempotencyKey: text, persistedInput: { inputType: "prompt", text } });
    expect(readInput(stored)).toEqual(stored);
  });

  it.each<[string, object]>([
    ["an unknown phase", { record: { ...row("a").record, currentState: "asleep" } }],
    ["another input's record", { record: row("b").record }],
    ["a record in itself", { record: { ...row("a").record, persistedInput: circle() } }],
    ["a blank key", { record: { ...row("a").record, idempotencyKey: " " } }],
    ["no record", { record: null }],
    ["a broken column", { rank: "1" }],
    ["no shape", { v: "1" }],
  ])("with %s is read-failed by its row", (_, broken) => {
    expect(() => readInput({ ...row("a"), ...broken } as InputRow)).toThrow(
      expect.objectContaining({
        code: "read-failed",
        message: expect.stringContaining('"a"'),
        details: { table: "inputs", key: '["r","a"]', inputId: "a" },
      }),
    );
  });

  it("that does not decode has what was wrong for its cause, and in its words", () => {
    for (const [broken, code, why] of [
      [{ record: row("b").record }, "read-failed", "record.inputId"],
      [{ record: { ...row("a").record, currentState: "asleep" } }, "invalid", "record.currentState"],
    ] as const)
      expect(() => readInput({ ...row("a"), ...broken } as InputRow)).toThrow(
        expect.objectContaining({ message: expect.stringContaining(why), cause: expect.objectContaining({ code }) }),
      );
  });

  it("of a newer shape is a version", () => {
    expect(() => readInput({ ...row("a"), v: 2 })).toThrow(expect.objectContaining({ code: "version" }));
  });
});

function circle(): object {
  const input: Record<string, unknown> = { inputType: "prompt" };
  input.self = input;
  return input;
}
