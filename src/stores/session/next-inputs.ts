import type { Key, Reader } from "../../ports/storage.js";
import { TABLES } from "../schema.js";
import { type Attachment, isAttached, sortOut } from "./draft.js";
import type { InputRow } from "./inputs/tables.js";
import type { AttachmentRow } from "./tables.js";
import { endsBatch } from "./turns.rules.js";

/** The first usable rows of an index, page by page until there are enough: the number of rows behind them costs nothing. */
async function readFirst(
  reader: Reader,
  index: keyof typeof TABLES.inputs.indexes,
  prefix: readonly string[],
  isEnough: (rows: readonly InputRow[]) => boolean,
  limit: number,
): Promise<InputRow[]> {
  const found: InputRow[] = [];
  let after: Key | undefined;
  for (let most = limit; ; most *= 4) {
    const rows = await reader.range("inputs", { index, prefix, limit: most, ...(after !== undefined && { after }) });
    found.push(...sortOut(rows).live);
    const isDone = isEnough(found);
    const last = rows.at(-1);
    if (!last || rows.length < most || isDone) return found;
    after = TABLES.inputs.indexes[index].map((column) => last[column] as string | number);
  }
}

/** Rows of the first page. A batch has few inputs, and mostly one. */
const PAGE = 8;

/**
 * The live inputs that decide which run next, and those that a recovery may change. A choice among them, in their order, equals the choice
 * among all live inputs. Under a lease that goes on (`isHeld`) nothing is recovered.
 */
export async function loadNext(reader: Reader, runtimeId: string, isHeld: boolean): Promise<InputRow[]> {
  const prefix = [runtimeId];
  // The recovery may change an unsettled row, so such a row does not show where a batch ends.
  const sure = (rows: readonly InputRow[]) => (isHeld ? rows : rows.filter(({ unsettledRank }) => unsettledRank === undefined));
  const isUnpaused = ({ record }: InputRow) => record.retryAtMs === undefined;
  const wakes = (row: InputRow) => row.starterRank !== undefined && isUnpaused(row);
  // The steer lane is read first. If none is paused there and one begins a run, the queue must wait, and its first page is enough.
  let isSteered = false;
  const isSteerEnough = (rows: readonly InputRow[]) => {
    const isWoken = sure(rows).some(wakes);
    isSteered = isWoken && rows.every(isUnpaused);
    return isWoken && endsBatch(sure(rows), "steer");
  };
  const isWoken = (rows: readonly InputRow[]) => isSteered || sure(rows).some((row) => row.steerRank === undefined && wakes(row));
  const [steers, queue, starters, unsettled] = await Promise.all([
    readFirst(reader, "steers", prefix, isSteerEnough, PAGE),
    readFirst(reader, "live", prefix, (rows) => isSteered || endsBatch(sure(rows), "queue"), PAGE),
    readFirst(reader, "starters", prefix, isWoken, 1),
    isHeld ? [] : readFirst(reader, "unsettled", prefix, () => false, PAGE),
  ]);
  return inOrder([...unsettled, ...starters, ...steers, ...queue]);
}

/** Sorts the rows by their admission, like the index `live`, and keeps each row once. */
export function inOrder(rows: readonly InputRow[]): InputRow[] {
  const byId = new Map(rows.map((row) => [row.inputId, row]));
  const rankOf = ({ liveRank = 0 }: InputRow) => liveRank;
  return [...byId.values()].sort((a, b) => rankOf(a) - rankOf(b) || (a.inputId < b.inputId ? -1 : 1));
}

/** The place of a tab in the order of the tabs that have a turn handler for a session. Any order will do. */
export interface Standing {
  readonly before: number;
  readonly others: number;
}

export function standingOf(
  attachments: readonly AttachmentRow[],
  { host, hasLocks }: Pick<Attachment, "host" | "hasLocks">,
  nowMs: number,
): Standing {
  const others = attachments.filter((row) => row.handler === 1 && row.bootId !== host.bootId && isAttached(row, hasLocks, nowMs));
  return { before: others.filter(({ bootId }) => bootId < host.bootId).length, others: others.length };
}
