import type { HoldfastError } from "../../domain/errors.js";
import { runtimeIdOf } from "../../domain/runtime-id.js";
import { checkSessionId } from "../../domain/session/session.js";
import { freeHost } from "../../stores/host/hosts.js";
import { loadRow, readable } from "../../stores/schema.js";
import { dropAttachment, type OpenedSession, openSession } from "../../stores/session/sessions.js";
import type { SessionTurn } from "../process/run-process.js";
import { emitInputs } from "./events.js";
import { attachmentOf, createLocalSession, type LocalSession, type SessionKernel, tellSessionFault } from "./local-session.js";
import { type CheckedSessionOptions, checkSessionOptions, openRuntime, type SessionRuntime } from "./session.js";

/** The sessions that this kernel has open, and the turns that it runs. */
export interface Sessions {
  open(sessionId: string, options?: unknown): Promise<SessionRuntime>;
  /** There are attachments that the loop must renew. */
  readonly isAttending: boolean;
  /** Of sessions with a turn handler: processes that are turns of theirs are run here. */
  readonly attached: string[];
  /** What runs a process that is a turn of it. */
  turnOf(sessionId: string): SessionTurn | undefined;
  /** Runs end where they stand, nothing is written. */
  endAll(reason: HoldfastError): void;
  /** The host is another boot now: what is open is attended anew. */
  onBoot(isReady: boolean): void;
}

export interface SessionsParts extends SessionKernel {
  readonly hostId: string;
  /** Its host's Web Lock is free. */
  isDead(bootId: string): Promise<boolean>;
  saidFarewell(bootId: string): boolean;
}

interface Opened {
  readonly session: LocalSession;
  /** Of the call that opened it first. */
  readonly options: CheckedSessionOptions;
  /** Objects that the app holds of it. */
  uses: number;
}

type OpeningReport = Pick<OpenedSession, "recovery" | "quarantined">;

export function createSessions(parts: SessionsParts): Sessions {
  const { corridor, limits } = parts;
  const entries = new Map<string, Opened>();
  /** How often a session was left by the last object of it. */
  let leaves = 0;
  const ownerId = `${parts.hostId}:${parts.newNonce().slice(0, 12)}`;
  let closing: HoldfastError | undefined;
  let isBooted = false;

  /** What crashed tabs left is taken up at once, without waiting for a loop to find them dead. */
  async function freeIfDead(runtimeId: string): Promise<void> {
    const rows = await corridor.query(["leases", "attachments"], async (reader) => {
      const [lease, attachments] = await Promise.all([
        loadRow(reader, "leases", runtimeId),
        reader.range("attachments", { prefix: [runtimeId] }),
      ]);
      return [...(lease ? [lease] : []), ...readable("attachments", attachments)];
    });
    const locked = rows.flatMap(({ bootId, locked }) => (locked === 1 && bootId !== undefined ? [bootId] : []));
    for (const bootId of new Set(locked)) {
      if (bootId === parts.host().bootId || !(await parts.isDead(bootId))) continue;
      await corridor.run(freeHost, { bootId, inOrder: parts.saidFarewell(bootId) });
    }
  }

  function enter(sessionId: string, { incarnation }: OpenedSession, options: CheckedSessionOptions): Opened {
    const runtimeId = runtimeIdOf(sessionId);
    const known = entries.get(runtimeId);
    if (known?.session.ref.incarnation === incarnation) return known;
    known?.session.vanish();
    const ref = { runtimeId, incarnation };
    const session = createLocalSession({
      ...parts,
      ref,
      sessionId,
      ops: options.ops,
      ownerId,
      mayRun: () => parts.runsTurns && isBooted,
      isClosing: () => closing !== undefined,
      onGone() {
        if (entries.get(runtimeId)?.session.ref === ref) entries.delete(runtimeId);
      },
    });
    const entry = { session, options, uses: 0 };
    entries.set(runtimeId, entry);
    return entry;
  }

  async function leave(entry: Opened): Promise<void> {
    if (--entry.uses > 0) return;
    const { session } = entry;
    const { runtimeId } = session.ref;
    // After a deletion another may have its name, and its attachment.
    const isHere = entries.get(runtimeId) === entry;
    if (isHere) entries.delete(runtimeId);
    leaves++;
    // Asked for at once: a call that opens it again after this is attended after this.
    const left =
      isHere &&
      corridor.run(dropAttachment, { runtimeId, bootId: parts.host().bootId }).catch((error) => tellSessionFault(parts, error));
    await session.stop();
    session.close();
    await left;
  }

  function runtimeFor(entry: Opened, options = entry.options, found: OpeningReport = { quarantined: [] }): SessionRuntime {
    return openRuntime({ ...parts, session: entry.session, options, found, leave: () => leave(entry) });
  }

  return {
    async open(sessionId, given = {}) {
      const id = checkSessionId("sessionId", sessionId, limits.idLength);
      const options = checkSessionOptions(given, limits);
      const runtimeId = runtimeIdOf(id);
      await freeIfDead(runtimeId);
      const attachment = attachmentOf(parts, entries.get(runtimeId)?.session.hasHandler() === true);
      const { quarantine } = options;
      const left = leaves;
      const opened = await corridor.run(openSession, { runtimeId, sessionId: id, quarantine, attachment });
      if (closing) throw closing;
      emitInputs(parts.emit, { sessionId: id }, opened.happened);
      for (const { inputId, reason } of opened.quarantined)
        parts.fault({ area: "session", code: "read-failed", message: `input "${inputId}" was set aside: ${reason}` });
      const entry = enter(id, opened, options);
      const { session } = entry;
      entry.uses++;
      session.learn(opened.state);
      // While this was under way: another boot, or its lock granted, or the last object of it was left.
      if (attachment.host !== parts.host() || left !== leaves) void session.storeAttachment();
      return runtimeFor(entry, options, opened);
    },
    get isAttending() {
      return entries.size > 0;
    },
    get attached() {
      return [...entries.values()].flatMap(({ session }) => (session.hasHandler() ? [session.sessionId] : []));
    },
    turnOf(sessionId) {
      const entry = entries.get(runtimeIdOf(sessionId));
      if (!entry?.session.hasHandler()) return undefined;
      return async (run) => {
        const { turns } = parts.lazyParts;
        // Waited for as the run waits: what does not arrive is trouble, and no end of the process.
        const { runSessionTurn } = turns.loaded ?? (await run.waiting(() => turns.load()));
        return await runSessionTurn(parts, runtimeFor(entry).submit, entry.session.ref.incarnation, run);
      };
    },
    endAll(reason) {
      if (reason.code === "closed") closing = reason;
      isBooted = false;
      for (const { session } of entries.values()) {
        session.end(reason);
        if (closing) session.close();
      }
    },
    onBoot(isReady) {
      isBooted = isReady;
      for (const { session } of entries.values()) void session.storeAttachment();
    },
  };
}
