// Follows every file's process: its events from the first to the last, and its lease while it runs.
import { isHoldfastError, type Kernel, type ProcessEvent, type ProcessRecord } from "holdfast";
import { type IndexFile, type IndexFileArgs, taskName } from "./index-file.js";
import type { Library } from "./library.js";
import { apply, type FileModel, newModel, passageOf } from "./model.js";
import { isStill, whileMoving } from "./stillness.js";

export interface LeaseView {
  readonly ownerId: string;
  readonly fencingToken: number;
  readonly expiresAtMs: number;
  /** The time at which this tab saw the lease appear or its expiry change. */
  readonly seenAtMs: number;
  readonly renewals: number;
}

export interface FileEntry {
  readonly id: string;
  readonly args: IndexFileArgs;
  readonly createdAtMs: number;
  readonly model: FileModel;
  lease: LeaseView | undefined;
}

export interface Watcher {
  changed(entry: FileEntry): void;
  happened(entry: FileEntry, event: ProcessEvent): void;
  failed(error: unknown): void;
}

const leaseEveryMs = 500;

export interface Files {
  readonly entries: ReadonlyMap<string, FileEntry>;
  add(args: IndexFileArgs): Promise<void>;
  cancel(id: string, reason: string): Promise<void>;
  /** Resolves when the library has every passage that was stored before the call. */
  caughtUp(): Promise<void>;
}

export async function followFiles(
  kernel: Kernel,
  definition: IndexFile,
  library: Library,
  watcher: Watcher,
  signal: AbortSignal,
): Promise<Files> {
  const entries = new Map<string, FileEntry>();
  const failed = (error: unknown) => {
    if (!signal.aborted && !(isHoldfastError(error) && (error.code === "closed" || error.code === "aborted")))
      watcher.failed(error);
  };

  const open = (record: ProcessRecord | undefined) => {
    const args = record && argsOf(record);
    if (!args || entries.has(record.id)) return;
    const { id, createdAtMs } = record;
    const entry: FileEntry = { id, args, createdAtMs, model: newModel(id), lease: undefined };
    entries.set(id, entry);
    watcher.changed(entry);
    tail(entry).catch(failed);
  };

  const tail = async (entry: FileEntry) => {
    for await (const event of kernel.process(entry.id).events({ signal })) {
      const passage = apply(entry.model, event);
      if (passage) library.add(entry.id, entry.args.fileName, passage);
      watcher.changed(entry);
      watcher.happened(entry, event);
    }
    entry.lease = undefined;
    watcher.changed(entry);
  };

  const readLeases = async () => {
    if (isStill()) return;
    const running = [...entries.values()].filter(({ model }) => model.state === "running");
    await Promise.all(
      running.map(async (entry) => {
        const found = await kernel.processes.getLease(entry.id);
        const before = entry.lease;
        if (entry.model.state !== "running") return;
        if (!found) entry.lease = undefined;
        else {
          const { ownerId, fencingToken, expiresAtMs } = found;
          const same = before?.fencingToken === fencingToken;
          if (same && before.expiresAtMs === expiresAtMs) return;
          const renewals = same ? before.renewals + 1 : 0;
          entry.lease = { ownerId, fencingToken, expiresAtMs, seenAtMs: Date.now(), renewals };
        }
        if (entry.lease !== before) watcher.changed(entry);
      }),
    );
  };

  const timer = setInterval(() => void readLeases().catch(failed), leaseEveryMs);
  signal.addEventListener("abort", () => clearInterval(timer));

  for (const record of await kernel.processes.list()) open(record);
  const records = kernel.views.processes();
  whileMoving(() => records.subscribe(() => records.get().forEach(open)), signal, true);
  return {
    entries,
    async add(args) {
      const handle = await kernel.start(definition, { input: args });
      open(await handle.record());
    },
    cancel: (id, reason) => kernel.process(id).cancel(reason),
    async caughtUp() {
      for (const record of await kernel.processes.list()) {
        const { id } = record;
        const args = argsOf(record);
        if (!args) continue;
        let after = entries.get(id)?.model.events.at(-1)?.sequence ?? 0;
        for (;;) {
          const events = await kernel.processes.eventsAfter(id, after);
          for (const event of events) {
            const passage = passageOf(event);
            if (passage) library.add(id, args.fileName, passage);
          }
          const last = events.at(-1);
          if (!last) break;
          after = last.sequence;
        }
      }
    },
  };
}

function argsOf({ input }: ProcessRecord): IndexFileArgs | undefined {
  return input.type === "task" && input.name === taskName ? (input.args as IndexFileArgs) : undefined;
}
