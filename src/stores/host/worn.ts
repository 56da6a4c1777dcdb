import { accept, type Command } from "../../corridor/command.js";
import type { Key, Row } from "../../ports/storage.js";
import { columnsOf, type TableName } from "../schema.js";

/**
 * A range of an index that rows leave. Chromium keeps the index entry of a row that left, also over restarts, and every read of the range
 * steps over it: ten thousand entries take 25 ms. Only a read in a write transaction removes them. The sweeper makes one from time to time.
 */
interface WornRange {
  readonly table: TableName;
  readonly index: string;
  readonly prefix?: readonly string[];
  /** Rows that one read may find. Entries that were left behind do not count: each one is met only once. */
  readonly limit: number;
  /** Readers begin at the first row, and most rows leave there: so each scan also reads the first row, wherever the scans have got to. */
  readonly isQueue?: true;
}

const SMALL_ROWS = 256;
/** For rows that may hold what an app stored. */
const LARGE_ROWS = 32;

export const WORN_RANGES: readonly WornRange[] = [
  { table: "processes", index: "byState", prefix: ["running"], limit: SMALL_ROWS },
  { table: "processes", index: "runnable", limit: SMALL_ROWS },
  // Retention removes what ended first, and looks there for more. It also removes rows behind those that are kept.
  { table: "processes", index: "ended", limit: SMALL_ROWS, isQueue: true },
  { table: "processes", index: "cancelling", limit: SMALL_ROWS },
  { table: "processes", index: "endsWith", limit: SMALL_ROWS },
  { table: "processes", index: "external", limit: SMALL_ROWS, isQueue: true },
  // What is due first leaves first.
  { table: "processes", index: "due", limit: SMALL_ROWS },
  { table: "processes", index: "limited", limit: SMALL_ROWS },
  { table: "processes", index: "overdue", limit: SMALL_ROWS },
  { table: "rates", index: "over", limit: LARGE_ROWS, isQueue: true },
  { table: "registrations", index: "bySession", limit: LARGE_ROWS },
  { table: "events", index: "pendingWakes", limit: LARGE_ROWS },
  { table: "events", index: "pendingSignals", limit: LARGE_ROWS },
  { table: "grants", index: "byProcess", limit: SMALL_ROWS },
  { table: "grants", index: "bySession", limit: SMALL_ROWS },
  { table: "schedules", index: "due", limit: LARGE_ROWS, isQueue: true },
  { table: "leases", index: "byBoot", limit: SMALL_ROWS },
  { table: "leases", index: "byLimit", limit: SMALL_ROWS },
  { table: "agents", index: "byBoot", limit: SMALL_ROWS },
  { table: "agents", index: "lone", limit: SMALL_ROWS },
  { table: "agents", index: "ended", limit: SMALL_ROWS, isQueue: true },
  { table: "runtimes", index: "due", limit: LARGE_ROWS },
  { table: "inputs", index: "live", limit: LARGE_ROWS },
  { table: "inputs", index: "steers", limit: LARGE_ROWS },
  { table: "inputs", index: "starters", limit: LARGE_ROWS },
  { table: "inputs", index: "unsettled", limit: LARGE_ROWS },
  { table: "inputs", index: "replaceable", limit: LARGE_ROWS },
  { table: "inputs", index: "changed", limit: LARGE_ROWS },
  { table: "inputs", index: "givenUp", limit: LARGE_ROWS },
  // Rows leave at the beginning of each session. The accept that removes them reads that place in its write transaction, which removes the entries.
  { table: "inputKeys", index: "ended", limit: SMALL_ROWS },
  { table: "inputKeys", index: "endedByRank", limit: SMALL_ROWS },
  { table: "attachments", index: "byBoot", limit: SMALL_ROWS },
];

/** Indexes that need no scan, and why. */
export const LASTING_INDEXES: Readonly<Record<string, string>> = {
  "events.byReplayKey":
    "asked for one whole key at a time, which has one row, or two where an app wrote under holdfast's key in an older database, or one more for each restart that forgot the last",
};

/** Reads one part of the range, behind `after`, in a write transaction, but writes nothing. Replies with the key behind which the next part begins. */
type Scan = Command<{ after?: Key | undefined }, Row[], Key | undefined>;

export const SCANS: readonly Scan[] = WORN_RANGES.map(scanOf);

function scanOf({ table, index, prefix, limit, isQueue }: WornRange): Scan {
  const columns = columnsOf(table, index);
  return {
    tables: [table],
    async load(reader, { after }) {
      if (isQueue && after !== undefined) await reader.range(table, { index, limit: 1 });
      return await reader.range(table, { index, limit, ...(prefix && { prefix }), ...(after !== undefined && { after }) });
    },
    decide(rows) {
      const last = rows.length < limit ? undefined : rows.at(-1);
      return accept(last && columns.map((column) => last[column] as string | number));
    },
    repeatable: () => true,
    durability: "relaxed",
  };
}
