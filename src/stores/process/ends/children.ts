import type { Change } from "../../../ports/notices.js";
import type { Reader, Write } from "../../../ports/storage.js";
import { readable } from "../../schema.js";
import { type Appended, append, endOf, eventChange } from "../events.rules.js";
import type { ProcessRow } from "../tables.js";

/** The processes that end with this one, and those that end with them. An unreadable row harms no other. */
export async function loadChildren(reader: Reader, process: ProcessRow | undefined): Promise<ProcessRow[]> {
  if (!process?.endsChildren) return [];
  const rows = await reader.range("processes", { index: "endsWith", prefix: [process.processId] });
  const children = readable("processes", rows);
  const below = await Promise.all(children.map((child) => loadChildren(reader, child)));
  return [...children, ...below.flat()];
}

/** Cancels these processes. A host that runs one is not asked: its next write is refused, and it hears of the end. */
export function endChildren(children: readonly ProcessRow[] = [], nowMs: number): { writes: Write[]; changes: Change[] } {
  const ended = children.map((process) => {
    const message = `process "${process.endsWith}" has ended, and this one with it`;
    const end = endOf(process.processId, { type: "cancelled", message });
    const state = { process, eventTypes: undefined, lease: undefined, replayed: undefined };
    return append(state, end, undefined, nowMs) as Appended;
  });
  return {
    writes: ended.flatMap(({ writes }) => writes),
    changes: ended.map(({ result }) => eventChange(result.event)),
  };
}
