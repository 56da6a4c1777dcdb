import type { Change } from "../../../ports/notices.js";
import type { Reader, Write } from "../../../ports/storage.js";
import { readable } from "../../schema.js";
import { append, cancelOf, endOf, eventChange } from "../events.rules.js";
import type { ProcessRow } from "../tables.js";

/** The processes that end with this one, and those that end with them. An unreadable row harms no other. */
export async function loadChildren(
  reader: Reader,
  process: ProcessRow | undefined,
  first = process?.processId,
): Promise<ProcessRow[]> {
  if (!process?.endsChildren) return [];
  const rows = await reader.range("processes", { index: "endsWith", prefix: [process.processId] });
  // A process ends with one other at most: rows that make a circle lead back to the first one.
  const children = readable("processes", rows).filter(({ processId }) => processId !== first);
  // A turn is only asked to cancel: what ends with it waits for its end.
  const below = children.map((child) => (child.inputType === "session_turn" ? [] : loadChildren(reader, child, first)));
  return [...children, ...(await Promise.all(below)).flat()];
}

/**
 * Cancels these processes. A host that runs one is not asked: its next write is refused, and it hears of the end. A session's turn is
 * asked to cancel instead, since its input may wait or run in the session. What has ended, or was asked already, is left as it is.
 */
export function endChildren(children: readonly ProcessRow[] = [], nowMs: number): { writes: Write[]; changes: Change[] } {
  const writes: Write[] = [];
  const changes: Change[] = [];
  for (const { endsWith, ...process } of children) {
    const { processId, inputType, state, cancelRequested } = process;
    const isTurn = inputType === "session_turn";
    if (state !== "running" || (isTurn && cancelRequested !== undefined)) continue;
    const message = `process "${endsWith}" has ended, and this one with it`;
    const end = isTurn ? cancelOf(processId, message) : endOf(processId, { type: "cancelled", message });
    const rows = { process, eventTypes: undefined, lease: undefined, replayed: undefined };
    const appended = append(rows, end, undefined, nowMs);
    if ("unjudged" in appended) continue;
    writes.push(...appended.writes);
    changes.push(eventChange(appended.result.event));
  }
  return { writes, changes };
}
