import { HoldfastError, isHoldfastError } from "../../../domain/errors.js";
import { isTerminal, type StoredInputState } from "../../../domain/session/input.js";
import { checkInputState } from "../../../domain/session/input-record.js";
import type { Limits } from "../../../domain/time.js";
import type { Row, Write } from "../../../ports/storage.js";
import { ROW_VERSION } from "../../table.js";
import { doesStart, givenUpAs, queuedInputOf, replaceKeyIn } from "./inputs.rules.js";
import { laneOf } from "./policy.rules.js";
import { type InputKeyRow, type InputRow, inputs } from "./tables.js";

/** The rank of inputs that have none: they come last. */
const LAST_RANK = Number.MAX_SAFE_INTEGER;

/** The change of one input row. `before` is absent if there is no row yet, `after` if the row is dropped. At most one change per input. */
export interface InputChange {
  readonly before?: InputRow | undefined;
  readonly after?: InputRow | undefined;
  /** Its idempotency key no longer stands for it: the key was dropped. */
  readonly keyless?: boolean;
}

interface InputWrites {
  readonly writes: Write[];
  /** The difference to add to the runtime row's `endedKeys`. */
  readonly endedKeys: number;
}

/**
 * Makes the writes of input rows and of their key rows, which stay in step. Every change of an input goes through this. `stored` are the key
 * rows of all keys of the records before and after. A key that stands for another input is left alone. An ephemeral input has a key row
 * only while it is live.
 * An input that was given up is shown until its key stands for another one.
 */
export function inputWrites(changes: readonly InputChange[], stored: readonly InputKeyRow[]): InputWrites {
  const before = new Map(stored.map((row) => [row.idempotencyKey, row]));
  const keys = new Map(before);
  // Keys are released first, so that two inputs may exchange keys in one write.
  for (const { before: was, after } of changes) {
    if (!was) continue;
    const key = was.record.idempotencyKey;
    if (key !== undefined && keys.get(key)?.inputId === was.inputId && (!after || idempotencyKeyOf(after) !== key))
      keys.delete(key);
  }
  for (const { after, keyless } of changes) {
    const key = after && idempotencyKeyOf(after);
    if (!after || key === undefined || keyless) continue;
    const holder = keys.get(key);
    if (!holder || holder.inputId === after.inputId) keys.set(key, keyRow(after, key));
  }
  return {
    writes: [...changes.flatMap((change) => rowWrite(change, keys)), ...keyWrites(before, keys)],
    endedKeys: countEnded(keys) - countEnded(before),
  };
}

function idempotencyKeyOf({ record }: InputRow): string | undefined {
  return record.durability === "ephemeral" && isTerminal(record.currentState) ? undefined : record.idempotencyKey;
}

function keyRow({ runtimeId, inputId, record }: InputRow, idempotencyKey: string): InputKeyRow {
  return {
    v: ROW_VERSION,
    runtimeId,
    idempotencyKey,
    inputId,
    ...(isTerminal(record.currentState) && { endedAtMs: record.updatedAtMs, endedRank: record.createdAtMs }),
  };
}

function rowWrite({ before, after }: InputChange, keys: ReadonlyMap<string, InputKeyRow>): Write[] {
  if (after) {
    const { idempotencyKey } = after.record;
    const holder = idempotencyKey === undefined ? undefined : keys.get(idempotencyKey);
    return [{ table: "inputs", put: ranked(after, holder !== undefined && holder.inputId !== after.inputId) }];
  }
  return before ? [{ table: "inputs", drop: [before.runtimeId, before.inputId] }] : [];
}

/**
 * The row with its ranks: the columns that exist only while their condition holds, so that the indexes stay small. `isReplaced`: its
 * idempotency key stands for another input.
 */
export function ranked(row: InputRow, isReplaced = false): InputRow {
  const rest = Object.fromEntries(Object.entries(row).filter(([column]) => !RANK_COLUMNS.has(column))) as InputRow;
  return { ...rest, ...ranksOf(row, isReplaced), v: ROW_VERSION };
}

const RANK_COLUMNS: ReadonlySet<string> = new Set([
  "liveRank",
  "steerRank",
  "starterRank",
  "unsettledRank",
  "replaceKey",
  "givenUpSince",
] satisfies (keyof Ranks)[]);

type Ranks = Pick<InputRow, "liveRank" | "steerRank" | "starterRank" | "unsettledRank" | "replaceKey" | "givenUpSince">;

function ranksOf(row: InputRow, isReplaced = false): Ranks {
  const { currentState, durability } = row.record;
  if (isTerminal(currentState))
    return isReplaced || row.since === undefined || !givenUpAs(row.record) ? {} : { givenUpSince: row.since };
  const liveRank = row.rank ?? LAST_RANK;
  const waiting = queuedInputOf(row);
  const replaceKey = replaceKeyIn(row);
  return {
    liveRank,
    ...((currentState !== "queued" || durability === "ephemeral") && { unsettledRank: liveRank }),
    ...(waiting && laneOf(waiting.decision) === "steer" && { steerRank: liveRank }),
    ...(waiting && doesStart(waiting) && { starterRank: liveRank }),
    ...(replaceKey !== undefined && { replaceKey }),
  };
}

/** Writes the ranks of rows that an older holdfast stored, which did not have all of them. */
export function rankWrites(rows: readonly InputRow[]): Write[] {
  return rows.flatMap((row): Write[] => {
    // The key of an ended input without its place may have stood for another input, and may be gone by now.
    const next: Ranks = ranksOf(row, row.givenUpSince === undefined);
    const isPlaced = [...RANK_COLUMNS].every((column) => row[column] === (next as Record<string, unknown>)[column]);
    return isPlaced ? [] : [{ table: "inputs", put: ranked(row) }];
  });
}

function keyWrites(before: ReadonlyMap<string, InputKeyRow>, after: ReadonlyMap<string, InputKeyRow>): Write[] {
  const dropped = [...before.values()].filter(({ idempotencyKey }) => !after.has(idempotencyKey));
  const put = [...after.values()].filter((row) => !isSameKey(row, before.get(row.idempotencyKey)));
  return [
    ...dropped.map((row): Write => ({ table: "inputKeys", drop: [row.runtimeId, row.idempotencyKey] })),
    ...put.map((row): Write => ({ table: "inputKeys", put: row })),
  ];
}

function isSameKey(a: InputKeyRow, b: InputKeyRow | undefined): boolean {
  return a.inputId === b?.inputId && a.endedAtMs === b.endedAtMs && a.endedRank === b.endedRank;
}

function countEnded(keys: ReadonlyMap<string, InputKeyRow>): number {
  return [...keys.values()].filter(({ endedRank }) => endedRank !== undefined).length;
}

/** The keys whose rows `inputWrites` needs, each once. */
export function keysOf(records: readonly (StoredInputState | undefined)[]): string[] {
  return [...new Set(records.flatMap((record) => (record?.idempotencyKey === undefined ? [] : [record.idempotencyKey])))];
}

/** For stored records: they may have been stored under other limits. */
export const NO_LIMITS: Limits = {
  idLength: Number.MAX_SAFE_INTEGER,
  payloadBytes: Number.MAX_SAFE_INTEGER,
  snapshotBytes: Number.MAX_SAFE_INTEGER,
  eventTypes: Number.MAX_SAFE_INTEGER,
  schemaBytes: Number.MAX_SAFE_INTEGER,
  depth: Number.MAX_SAFE_INTEGER,
};

/** Throws `read-failed`, which names the row, if the row is broken or its record does not decode, and `version` if the row is newer. */
export function readInput(row: Row): InputRow {
  const { inputId } = row;
  try {
    const known = inputs.read(row);
    const record = checkInputState("record", known.record, NO_LIMITS);
    if (record.inputId === inputId) return { ...known, record };
    throw new HoldfastError("read-failed", "record.inputId is another than its row's");
  } catch (thrown) {
    if (isHoldfastError(thrown) && thrown.code === "version") throw thrown;
    throw new HoldfastError("read-failed", `the stored input "${inputId}" does not decode: ${(thrown as Error).message}`, {
      details: { table: "inputs", key: JSON.stringify([row.runtimeId, inputId]), inputId: String(inputId) },
      cause: thrown,
    });
  }
}
