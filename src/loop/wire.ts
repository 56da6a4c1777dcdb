import type { TransferHandler } from "comlink";
import type { Whole } from "../domain/check.js";
import { type ErrorCode, HoldfastError, isHoldfastError } from "../domain/errors.js";
import type { JsonValue } from "../domain/json.js";
import type { Timings } from "../domain/time.js";
import type { LoopPage } from "../kernel/host/loop-contract.js";
import type { Clock } from "../ports/clock.js";
import type { Durability } from "../ports/storage.js";
import type { Retention } from "../stores/host/retention.js";

/** What a new worker is told. It asks the page or the storage for all else. */
export interface WorkerConfig {
  name: string;
  databaseId: string;
  /** The kind of the page's storage. */
  storageKind: string;
  durability: Durability;
  timings: Timings;
  retention: Retention;
}

/** The worker as the page sees it. */
export interface WorkerLoop {
  start(config: WorkerConfig, page: LoopPage): Promise<void>;
  poke(processIds: readonly string[] | undefined): void;
  /** How many turns in a row failed: a worker that answers but never gets a turn done is as dead as a silent one. */
  ping(): { failedTurns: number };
  stop(): Promise<void>;
}

interface WireError {
  code: ErrorCode;
  message: string;
  details?: JsonValue;
}

/** The part of Comlink's registry that is needed: each side has its own copy of Comlink, and registers the same handler. */
interface Registry {
  get(name: string): TransferHandler<unknown, unknown> | undefined;
  set(name: string, handler: TransferHandler<unknown, unknown>): unknown;
}

const REGISTERED = new WeakSet<object>();

/** Comlink carries an error's name, message and stack. A HoldfastError keeps its code and details as well; others go as they did. */
export function carryErrors(registry: Registry): void {
  const plain = registry.get("throw");
  if (!plain || REGISTERED.has(registry)) return;
  REGISTERED.add(registry);
  registry.set("throw", {
    canHandle: plain.canHandle,
    serialize(thrown) {
      const { value } = thrown as { value: unknown };
      if (!isHoldfastError(value)) return plain.serialize(thrown);
      const { code, message, details } = value;
      return [{ holdfast: { code, message, ...(details !== undefined && { details }) } satisfies WireError }, []];
    },
    deserialize(wire) {
      if (typeof wire !== "object" || wire === null || !("holdfast" in wire)) return plain.deserialize(wire);
      throw errorOf(wire.holdfast);
    },
  });
}

/** The error codes without their meanings, which no page needs to load. A code that is missing here, or one too many, does not compile. */
const CODES = [
  "invalid",
  "not-found",
  "conflict",
  "terminal",
  "lease-held",
  "lease-lost",
  "write-failed",
  "read-failed",
  "session-key-mismatch",
  "unsupported",
  "internal",
  "quota-exceeded",
  "unavailable",
  "version",
  "not-ready",
  "aborted",
  "closed",
  "failed",
  "cancelled",
  "timeout",
  "suspended",
] as const;

const isCode = (code: unknown): code is ErrorCode => {
  const codes: readonly unknown[] = CODES satisfies Whole<ErrorCode, typeof CODES>;
  return codes.includes(code);
};

/** The error is checked, since an app may pass another script as the worker. */
function errorOf(wire: unknown): HoldfastError {
  const { code, message, details } = (wire ?? {}) as Partial<Record<keyof WireError, unknown>>;
  if (!isCode(code) || typeof message !== "string")
    return new HoldfastError("internal", "the other side failed, and its error cannot be read");
  return new HoldfastError(code, message, details === undefined ? {} : { details: details as JsonValue });
}

/** A dead worker never answers, and Comlink waits for ever: so every call across has a bound. */
export async function bounded<T>(clock: Clock, call: Promise<T>, withinMs: number, what: string): Promise<T> {
  let cancel = () => {};
  const silence = new Promise<never>((_, reject) => {
    const giveUp = () => reject(new HoldfastError("unavailable", `${what} did not answer within ${withinMs} ms`));
    // One more turn of the event loop: the answer may already be queued behind this timer after a long task.
    cancel = clock.setTimer(() => {
      cancel = clock.setTimer(giveUp, 50);
    }, withinMs);
  });
  try {
    return await Promise.race([call, silence]);
  } finally {
    cancel();
    call.catch(() => undefined);
  }
}
