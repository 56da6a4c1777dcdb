import { HoldfastError } from "../domain/errors.js";
import type { Durability, KernelStorage, OpenStorage, StorageState } from "../ports/storage.js";
import { SCHEMA } from "../stores/schema.js";
import { type KernelGround, type KernelGroundParts, layGround, orUnavailable, soon } from "./ground.js";

interface OpeningParts extends Omit<KernelGroundParts, "storage" | "tableId"> {
  readonly place: KernelStorage;
  readonly name: string;
  readonly durability: Durability;
  /** Awaited, too, before a kernel is made. */
  readonly meanwhile: Promise<unknown>;
  readonly signal: AbortSignal | undefined;
  newId(): string;
  onState(state: StorageState): void;
}

export interface OpenGround extends KernelGround {
  /** Aborts when the database was deleted or upgraded under this kernel, with the error that every later call rejects with. */
  readonly ended: AbortSignal;
}

/** If it rejects, nothing stays open, whether the signal aborted or something else failed. */
export async function openGround(parts: OpeningParts): Promise<OpenGround> {
  const { place, name, durability, clock, signal } = parts;
  const ended = new AbortController();
  let isQuiet = true;
  const wanted = {
    name,
    schema: SCHEMA,
    durability,
    newDatabaseId: parts.newId(),
    onState(state: StorageState, why?: HoldfastError) {
      // A storage that is ready at once is told by the kernel's own promise.
      isQuiet &&= state === "ready";
      if (!isQuiet) parts.onState(state);
      if (why) ended.abort(why);
    },
  };
  const listening = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    signal?.addEventListener("abort", () => reject(abortedBy(signal)), { signal: listening.signal });
  });
  const opening = orUnavailable("storage", () => place.open(wanted));
  let storage: OpenStorage | undefined;
  try {
    storage = await Promise.race([opening, aborted]);
    await Promise.race([parts.meanwhile, aborted]);
    return { ...(await layGround({ ...parts, storage, tableId: parts.newId() })), ended: ended.signal };
  } catch (error) {
    // A storage that opens too late is closed at once. A running upgrade is not undone: the next opening finds it done.
    const closed = opening.then((made) => made.close()).catch(() => undefined);
    if (storage) await soon(clock, closed);
    throw error;
  } finally {
    listening.abort();
  }
}

export function abortedBy(signal: AbortSignal): HoldfastError {
  return new HoldfastError("aborted", "the signal was aborted before the kernel was open", { cause: signal.reason });
}
