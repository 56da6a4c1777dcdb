import type { Corridor } from "../../corridor/command.js";
import type { Message } from "../../domain/session/session.js";
import { messagesIn } from "../../domain/session/snapshot.js";
import type { Reader } from "../../ports/storage.js";
import { loadRow, loadRows, type TableName } from "../../stores/schema.js";
import { checkRuntime, type LiveRuntimeRow, type SessionRef } from "../../stores/session/draft.js";
import { chainDigest } from "../../stores/session/transcript.rules.js";

/**
 * A session's messages as this tab knows them: a cache over rows that are only appended to or replaced whole. The digest is chained: it
 * tells whether the cached messages are a prefix of the stored ones. If they are, only the new rows are read.
 */
export interface Transcript {
  /**
   * The messages that are stored now, frozen and shared: the same list, and in a longer one the same messages, until the transcript is
   * replaced. Rejects `not-found` once the session is deleted.
   */
  read(): Promise<readonly Message[]>;
  /** The messages, and what `more` reads in the same transaction out of `tables`. */
  readWith<T>(tables: readonly TableName[], more: ReadMore<T>): Promise<{ messages: readonly Message[]; more: T }>;
  /** Adds messages that were stored behind `from`; ignored where the cache ends elsewhere. */
  extend(from: { messageCount: number; digest: string }, messages: readonly Message[], digest: string): void;
}

type ReadMore<T> = (reader: Reader, runtime: LiveRuntimeRow, now: () => number) => Promise<T>;

interface Known {
  readonly messages: readonly Message[];
  readonly digest: string;
  /** The bytes of the snapshot that the messages were read from. */
  readonly snapshot?: Uint8Array;
}

const NOTHING: Known = { messages: Object.freeze([]), digest: "" };

export function createTranscript(corridor: Corridor, ref: SessionRef): Transcript {
  const { runtimeId } = ref;
  let known = NOTHING;

  /** The messages from number `from` on, and the digest of all. */
  async function readRows(reader: Reader, from: number) {
    const [stored, snapshot] = await Promise.all([
      loadRow(reader, "runtimes", runtimeId),
      loadRow(reader, "snapshots", runtimeId),
    ]);
    const runtime = checkRuntime(stored, ref);
    if (snapshot) return { runtime, whole: snapshot.bytes, digest: "", rows: [] };
    const count = runtime.messageCount;
    if (count < from) return { runtime, digest: "replaced", rows: [] };
    const bound = from === 0 ? {} : { after: [runtimeId, from - 1] };
    const rows = count === from ? [] : await loadRows(reader, "messages", { prefix: [runtimeId], ...bound });
    return { runtime, digest: runtime.digest, rows: rows.map(({ message }) => message) };
  }

  async function readWith<T>(
    tables: readonly TableName[],
    more: ReadMore<T>,
    base = known,
  ): Promise<{ messages: readonly Message[]; more: T }> {
    const from = base.snapshot ? 0 : base.messages.length;
    const { found, also } = await corridor.query(["runtimes", "snapshots", "messages", ...tables], async (reader, now) => {
      const found = await readRows(reader, from);
      return { found, also: await more(reader, found.runtime, now) };
    });
    // Another read, or a turn, was faster: what it made is continued, so that no message is there as two objects.
    if (known !== base) return await readWith(tables, more, known);
    const { whole } = found;
    if (whole) {
      if (!known.snapshot || !isSameBytes(known.snapshot, whole))
        known = { messages: extended([], messagesIn(whole)), digest: "", snapshot: whole };
      return { messages: known.messages, more: also };
    }
    // The transcript was replaced: the cached messages are no prefix of it. All is read again.
    const isReplaced = base.snapshot !== undefined || (base !== NOTHING && chainDigest(base.digest, found.rows) !== found.digest);
    if (isReplaced) {
      known = NOTHING;
      return await readWith(tables, more, NOTHING);
    }
    if (found.rows.length > 0) known = { messages: extended(base.messages, found.rows), digest: found.digest };
    return { messages: known.messages, more: also };
  }

  return {
    read: async () => (await readWith([], async () => undefined)).messages,
    readWith,
    extend(from, messages, digest) {
      if (known.snapshot || known.digest !== from.digest || known.messages.length !== from.messageCount) return;
      if (messages.length > 0) known = { messages: extended(known.messages, messages), digest };
    },
  };
}

function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function extended(messages: readonly Message[], more: readonly Message[]): readonly Message[] {
  return Object.freeze([...messages, ...more.map(deepFreeze)]);
}

export function deepFreeze<T>(value: T): T {
  // Only a broken row has bytes, which are no JSON and cannot be frozen.
  if (typeof value !== "object" || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return value;
  Object.freeze(value);
  for (const member of Object.values(value)) deepFreeze(member);
  return value;
}
