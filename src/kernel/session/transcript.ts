import type { Corridor } from "../../corridor/command.js";
import type { Message } from "../../domain/session/session.js";
import { parseSnapshot } from "../../domain/session/snapshot.js";
import { loadRow, loadRows } from "../../stores/schema.js";
import { checkRuntime, type SessionRef } from "../../stores/session/draft.js";
import { chainDigest } from "../../stores/session/transcript.rules.js";

/**
 * A session's messages as this tab knows them: a cache over rows that only grow, or are replaced whole. The digest is chained, so it
 * tells whether what is here is the beginning of what is stored: then only the new rows are read.
 */
export interface Transcript {
  /** What is stored now; rejects `not-found` once the session is deleted. The messages are frozen and shared: never handed out to be changed. */
  read(): Promise<readonly Message[]>;
  /** These follow what was read last, and are stored. */
  extend(from: { messageCount: number; digest: string }, messages: readonly Message[], digest: string): void;
}

interface Known {
  readonly messages: readonly Message[];
  readonly digest: string;
}

const NOTHING: Known = { messages: [], digest: "" };

export function createTranscript(corridor: Corridor, ref: SessionRef): Transcript {
  const { runtimeId } = ref;
  let known = NOTHING;

  /** Everything from `from`, and what it is to lead to, in one transaction. */
  async function readRows(from: number) {
    return await corridor.query(["runtimes", "snapshots", "messages"], async (reader) => {
      const [stored, snapshot] = await Promise.all([
        loadRow(reader, "runtimes", runtimeId),
        loadRow(reader, "snapshots", runtimeId),
      ]);
      const runtime = checkRuntime(stored, ref);
      if (snapshot) return { whole: snapshot.bytes, digest: "", rows: [] };
      const count = runtime.messageCount;
      if (count < from) return { digest: "replaced", rows: [] };
      const bound = from === 0 ? {} : { after: [runtimeId, from - 1] };
      const rows = count === from ? [] : await loadRows(reader, "messages", { prefix: [runtimeId], ...bound });
      return { digest: runtime.digest, rows: rows.map(({ message }) => message) };
    });
  }

  async function read(base: Known): Promise<readonly Message[]> {
    const found = await readRows(base.messages.length);
    if (found.whole) return frozen(listIn(found.whole));
    // Replaced meanwhile: what is known is the beginning of nothing.
    if (base !== NOTHING && chainDigest(base.digest, found.rows) !== found.digest) return await read(NOTHING);
    known = { messages: [...base.messages, ...frozen(found.rows)], digest: found.digest };
    return known.messages;
  }

  return {
    read: () => read(known),
    extend(from, messages, digest) {
      if (known.digest !== from.digest || known.messages.length !== from.messageCount) return;
      known = { messages: [...known.messages, ...frozen(messages)], digest };
    },
  };
}

function listIn(bytes: Uint8Array): Message[] {
  const messages = parseSnapshot(bytes)?.messages;
  return Array.isArray(messages) ? (messages as unknown as Message[]) : [];
}

function frozen(messages: readonly Message[]): readonly Message[] {
  return messages.map(deepFreeze);
}

export function deepFreeze<T>(value: T): T {
  // Bytes are no JSON and cannot be frozen: only a broken row has them.
  if (typeof value !== "object" || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return value;
  Object.freeze(value);
  for (const member of Object.values(value)) deepFreeze(member);
  return value;
}
