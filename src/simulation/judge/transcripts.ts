import type { MessageRow, RuntimeRow, SnapshotRow } from "../../stores/session/tables.js";
import type { ObservedRows } from "../machine/rows.js";
import type { Commit } from "../machine/storage.js";

const OF_TRANSCRIPTS: ReadonlySet<string> = new Set(["runtimes", "messages", "snapshots"]);

/** What the messages of each session's runtime were after each commit, as text. */
export class Transcripts {
  readonly #rows: ObservedRows;
  readonly #versions = new Map<string, string[]>();

  constructor(rows: ObservedRows) {
    this.#rows = rows;
  }

  note({ changes }: Commit): void {
    const touched = changes.filter(({ table }) => OF_TRANSCRIPTS.has(table));
    for (const runtimeId of new Set(touched.map(({ before, after }) => String((after ?? before)?.runtimeId)))) {
      const versions = this.#of(runtimeId);
      const text = this.#textOf(runtimeId);
      if (versions.at(-1) !== text) versions.push(text);
    }
  }

  /** Whether the messages are those of some moment between this call and that one. */
  from(runtimeId: string): (messages: readonly unknown[]) => boolean {
    const versions = this.#of(runtimeId);
    const first = versions.length - 1;
    return (messages) => versions.indexOf(JSON.stringify(messages), first) >= 0;
  }

  clear(): void {
    this.#versions.clear();
  }

  #of(runtimeId: string): string[] {
    const known = this.#versions.get(runtimeId) ?? ["[]"];
    this.#versions.set(runtimeId, known);
    return known;
  }

  #textOf(runtimeId: string): string {
    const snapshot = this.#rows.get<SnapshotRow>("snapshots", runtimeId);
    if (snapshot) return JSON.stringify(JSON.parse(new TextDecoder().decode(snapshot.bytes)).messages ?? []);
    const { messageCount = 0 } = this.#rows.get<RuntimeRow>("runtimes", runtimeId) ?? {};
    const messages = Array.from(
      { length: messageCount },
      (_, at) => this.#rows.get<MessageRow>("messages", runtimeId, at)?.message,
    );
    return JSON.stringify(messages);
  }
}
