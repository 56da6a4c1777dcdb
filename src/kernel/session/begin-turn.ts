import type { Corridor } from "../../corridor/command.js";
import { isHoldfastError } from "../../domain/errors.js";
import type { Timings } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import type { Host } from "../../stores/host/leases.rules.js";
import type { SessionRef } from "../../stores/session/draft.js";
import { type Standing, standingOf } from "../../stores/session/next-inputs.js";
import {
  BEGIN_TABLES,
  type BeganTurn,
  type BeginTurn,
  beginTurn,
  HOLDER_TABLES,
  holderOf,
  loadHolder,
} from "../../stores/session/turns.js";
import type { HeldLease } from "../host/leases/held-lease.js";

/** What a look found. A turn that it found has begun. */
type LookResult =
  | BeganTurn
  /** There is a turn to begin, and other tabs go first. */
  | { readonly kind: "later" }
  /** The lease was lost between two turns, or the executor was stopped. */
  | { readonly kind: "none" };

export interface BeginParts {
  readonly ref: SessionRef;
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly ownerId: string;
  readonly hasLocks: boolean;
  host(): Host;
  newOrderedId(): string;
  newNonce(): string;
}

export interface TurnLook {
  /** The lease of the last turn, still held: the next turn begins under it without a look. */
  readonly held: HeldLease | undefined;
  /** The token of an expired lease whose owner was given time enough to come back. */
  readonly waitedFor: string | undefined;
  /** Tabs that stand before this one in the order go first. */
  readonly isPolite: boolean;
  /** Another tab probably has the lease: it is read alone first, and nothing else is read while it is held. */
  readonly mayBeHeld: boolean;
  readonly stopping: AbortSignal;
  stood(standing: Standing): void;
}

/** Looks in a read transaction first, so that only a begin that writes is run. `sentMs`: when the begin was sent, in monotonic time. */
export async function beginNext(parts: BeginParts, look: TurnLook): Promise<{ found: LookResult; sentMs: number }> {
  const { corridor, clock } = parts;
  const { held, waitedFor } = look;
  const input: BeginTurn = {
    ...parts.ref,
    ownerId: parts.ownerId,
    ttlMs: parts.timings.leaseTtlMs,
    nonce: parts.newNonce(),
    host: parts.host(),
    hasLocks: parts.hasLocks,
    runId: parts.newOrderedId(),
    ...(held && { held: held.lease }),
    ...(waitedFor !== undefined && { waitedFor }),
  };
  if (!held) {
    const found = await lookFirst(corridor, input, look);
    if (found) return { found, sentMs: 0 };
    // The executor was stopped: the page may be another boot by now.
    if (look.stopping.aborted) return { found: { kind: "none" }, sentMs: 0 };
  }
  const sentMs = clock.monotonicMs();
  try {
    const found = await corridor.run(beginTurn, input);
    if (found.kind === "turn") held?.extend(sentMs);
    return { found, sentMs };
  } catch (error) {
    if (held && isHoldfastError(error) && error.code === "lease-lost") return { found: { kind: "none" }, sentMs };
    throw error;
  }
}

/** `undefined` where there is a turn to begin, and this tab may begin it. */
async function lookFirst(corridor: Corridor, input: BeginTurn, look: TurnLook): Promise<LookResult | undefined> {
  if (look.mayBeHeld) {
    const holder = await corridor.query(HOLDER_TABLES, async (reader, now) =>
      holderOf(await loadHolder(reader, input), input, now()),
    );
    if (holder) return holder;
  }
  return await corridor.query(BEGIN_TABLES, async (reader, now) => {
    const state = await beginTurn.load(reader, input);
    const nowMs = now();
    const standing = standingOf(state.attachments, input, nowMs);
    look.stood(standing);
    const decision = beginTurn.decide(state, input, nowMs);
    if (decision.kind === "accept" && decision.writes.length === 0) return decision.reply;
    return look.isPolite && standing.before > 0 ? { kind: "later" } : undefined;
  });
}
