import type { Corridor } from "../../corridor/command.js";
import { refuseAborted } from "../../corridor/watch.js";
import { guarded } from "../../domain/admit.js";
import { checkSignal, checkWhole, optionsOf } from "../../domain/check.js";
import { invalid } from "../../domain/errors.js";
import type { ProcessSessionDeleteReport } from "../../domain/process/process.js";
import { checkSessionId, type Message } from "../../domain/session/session.js";
import type { Limits } from "../../domain/time.js";
import {
  deleteSession,
  importSession,
  listSessions,
  prepareImport,
  readMessages,
  readSession,
  type SessionSummary,
} from "../../stores/session/archive.js";
import { archiveLines, portable, readArchive } from "../../stores/session/archive.rules.js";

/** All sessions of the database, whether a tab has them open or not. No method attaches to one. */
export interface KernelSessions {
  /**
   * All sessions, in the order of their ids, with how many inputs of each wait and whether a host that lives runs it. The inputs are not
   * read.
   */
  list(): Promise<SessionSummary[]>;
  /** The stored messages; the first `after` are left out (default 0). Rejects `not-found` for an unknown session. */
  messages(sessionId: string, options?: { after?: number }): Promise<Message[]>;
  /**
   * A session as it is at one moment, as JSON Lines, each without its line end: messages, inputs, receipts, steps of turns under way,
   * operations, images. Secrets, logins, leases and ephemeral inputs are left out. Work under way is exported as a recovery would leave
   * it. The first step of the iteration throws `not-found` for an unknown session, and `read-failed` where a row does not decode. Once
   * the signal is aborted, the next step throws `aborted`.
   */
  export(sessionId: string, options?: { signal?: AbortSignal }): AsyncIterable<string>;
  /**
   * Stores all lines of an export in one transaction; a line may have its line end. Rejects `invalid`, which names line and field, before
   * anything is written, also when lines are missing; `version` for an export of a newer holdfast; `conflict` when the session exists.
   * An export made under the same limits may be imported, however long it is. An error that `lines` throws is passed on.
   */
  import(lines: AsyncIterable<string> | Iterable<string>): Promise<{ sessionId: string }>;
  /**
   * Drops the rows of the session and revokes its grants, in one transaction. Running processes that no other scope was granted are asked
   * to cancel. Tabs that have it open or run a turn of it are refused from then on; opening it again begins a new session. An unknown
   * session has only its grants revoked.
   */
  delete(sessionId: string): Promise<ProcessSessionDeleteReport>;
}

interface ArchiveParts {
  readonly corridor: Corridor;
  readonly limits: Limits;
  lockName(bootId: string): string;
  /** The names of all locks that are held; undefined if that is unknown. */
  held(): Promise<ReadonlySet<string> | undefined>;
}

export function sessionArchive({ corridor, limits, lockName, held }: ArchiveParts): KernelSessions {
  const session = (value: unknown) => checkSessionId("sessionId", value, limits.idLength);
  return {
    async list(options: unknown = {}) {
      optionsOf("sessions.list", options, []);
      const listed = await listSessions(corridor);
      // Asked after the rows were read: a boot that took its lock and a lease meanwhile must not look dead.
      const locks = listed.some(({ lockedBy }) => lockedBy !== undefined) ? await held() : undefined;
      return listed.map(({ lockedBy, ...session }) => {
        const isDead = lockedBy !== undefined && locks?.has(lockName(lockedBy)) === false;
        return isDead ? { ...session, running: false } : session;
      });
    },
    async messages(sessionId, options = {}) {
      const known = session(sessionId);
      const { after } = optionsOf("messages", options, ["after"]);
      return await readMessages(corridor, known, after === undefined ? 0 : checkWhole("options.after", after, 0));
    },
    async *export(sessionId, options = {}) {
      const known = session(sessionId);
      const signal = checkSignal("options.signal", optionsOf("export", options, ["signal"]).signal);
      refuseAborted(signal);
      const { archive, atMs } = await readSession(corridor, known);
      for (const line of archiveLines(portable(archive, limits), atMs)) {
        refuseAborted(signal);
        yield line;
      }
    },
    // No method shorthand: tools that look for dynamic imports in a service worker's file would take it for one.
    import: async (lines) => {
      const reader = readArchive(limits);
      if (isAsync(lines)) for await (const line of lines) reader.line(line);
      else for (const line of lines) reader.line(line);
      const input = prepareImport(reader.done());
      return await corridor.run(importSession, input, { size: input.size });
    },
    async delete(sessionId) {
      return await corridor.run(deleteSession, { sessionId: session(sessionId) });
    },
  };
}

/** A string is iterable by character: it is refused. */
function isAsync(lines: AsyncIterable<string> | Iterable<string>): lines is AsyncIterable<string> {
  const how = guarded("lines", () => {
    if (typeof lines !== "object" || lines === null) return undefined;
    const { [Symbol.asyncIterator]: inTime, [Symbol.iterator]: atOnce } = lines as {
      [Symbol.asyncIterator]?: unknown;
      [Symbol.iterator]?: unknown;
    };
    return typeof inTime === "function" ? "async" : typeof atOnce === "function" ? "sync" : undefined;
  });
  if (!how) throw invalid("lines must be an iterable of lines, sync or async, and not one text");
  return how === "async";
}
