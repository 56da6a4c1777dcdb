import { accept, type Command, type Decision, refuse } from "../../../corridor/command.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { ClaimLimit } from "../../../domain/process/limit.js";
import type { Change } from "../../../ports/notices.js";
import type { Key, Reader, Write } from "../../../ports/storage.js";
import { heldChange } from "../../host/claims.rules.js";
import { attemptsOf, leaseLost, placeChange } from "../../host/leases.rules.js";
import { readable } from "../../schema.js";
import { type ClaimProcessLease, type ClaimReply, type ClaimState, claimed, claimProcessLease, replyOf } from "../leases.js";
import type { ProcessRow } from "../tables.js";
import { claimable } from "./claimable.rules.js";
import { countWithPlace, heldBack, isOlder, type Places, rateAfter } from "./limits.rules.js";

/** IndexedDB counts no further. */
const MOST_ROWS = 2 ** 32 - 1;

export async function loadPlaces(reader: Reader, key: string, { concurrency, rate }: ClaimLimit): Promise<Places> {
  const [leases, rates] = await Promise.all([
    // One more row than there are places: one of them may be the claimer's own.
    concurrency === undefined
      ? []
      : reader.range("leases", { index: "byLimit", prefix: [key], limit: Math.min(concurrency + 1, MOST_ROWS) }),
    rate && reader.get("rates", key),
  ]);
  // A broken row of rates is written anew by the next claim.
  return { key, held: leases.map(({ resource }) => String(resource)), rate: readable("rates", rates ? [rates] : [])[0] };
}

/** The oldest processes that need `runnable` and that a limit holds back for the key. A row that cannot be read holds no other back. */
export async function loadHeldBack(reader: Reader, runnable: string, key: string, most: number): Promise<ProcessRow[]> {
  const found: ProcessRow[] = [];
  let after: Key | undefined;
  while (found.length < most) {
    const limit = Math.min(most - found.length, MOST_ROWS);
    const bound = after === undefined ? {} : { after };
    const rows = await reader.range("processes", { index: "limited", prefix: [runnable, key], ...bound, limit });
    found.push(...readable("processes", rows));
    const last = rows.at(-1);
    if (!last || rows.length < limit) break;
    after = [runnable, key, Number(last.createdAtMs), String(last.processId)];
  }
  return found;
}

/** A limit holds the process back: it was not claimed. The stored row. */
export interface HeldBack {
  readonly heldBack: ProcessRow;
}

/** What a limit that judges a claim is judged by. */
interface Judged {
  readonly limit: ClaimLimit;
  readonly places: Places;
  /** The oldest process of the same key and handler that is held back. */
  readonly oldest: ProcessRow | undefined;
}

export type RunnerClaimState = ClaimState & { readonly judged: Judged | undefined };

/** `newRunnable`: what a host needs to run the process, where this transaction makes it. */
export async function loadRunnerClaim(reader: Reader, input: ClaimProcessLease, newRunnable?: string): Promise<RunnerClaimState> {
  const { processId, terms: { limit } = {}, over } = input;
  const loading = claimProcessLease.load(reader, input);
  const key = over === undefined ? input.limitKey : (await loading).lease?.limitKey;
  if (!limit || key === undefined) return { ...(await loading), judged: undefined };
  const [state, places] = await Promise.all([loading, loadPlaces(reader, key, limit)]);
  const runnable = state.process ? claimable(state.process).runnable : newRunnable;
  // A claim that takes no new place passes over no other process.
  const isNew = runnable !== undefined && !places.held.includes(processId);
  const mayFit = isNew && places.held.length < (limit.concurrency ?? MOST_ROWS);
  const [oldest] = mayFit ? await loadHeldBack(reader, runnable, key, 1) : [];
  return { ...state, judged: { limit, places, oldest } };
}

/**
 * The claim of a host's runner. If the limit in its terms has no place, it holds the process back, which is stored once; a claim over a
 * lease of its own is refused `lease-lost` then.
 */
export const claimForRunner: Command<ClaimProcessLease, RunnerClaimState, ClaimReply | HeldBack> = {
  tables: [...claimProcessLease.tables, "rates"],
  load: (reader, input) => loadRunnerClaim(reader, input),
  decide(state, input, nowMs) {
    const rows = claimed(state, input, nowMs);
    if (rows instanceof HoldfastError) return refuse(rows);
    const { processId } = input;
    const before = state.process as ProcessRow;
    const judged = callsHandler(rows.process, attemptsOf(rows.lease), nowMs) ? state.judged : undefined;
    if (judged && !hasPlace(judged, before, nowMs)) {
      return input.over === undefined
        ? holdBack(before, judged.places.key, attemptsOf(rows.lease) === 1, nowMs)
        : refuse(leaseLost(processId));
    }
    const rate = before.rated ? undefined : judged?.limit.rate;
    const process: ProcessRow = rate ? { ...rows.process, rated: 1 } : rows.process;
    const lease = judged ? { ...rows.lease, limitKey: judged.places.key } : rows.lease;
    const writes: Write[] = [{ table: "leases", put: lease }];
    if (process !== before) writes.push({ table: "processes", put: process });
    if (judged && rate) writes.push({ table: "rates", put: rateAfter(judged.places.rate, judged.places.key, rate, nowMs) });
    const left = state.lease && state.lease.limitKey !== lease.limitKey ? placeChange(state.lease) : [];
    const shown: Change[] = before.limited === undefined ? [] : [{ about: "record", id: processId }];
    return accept(replyOf(process, lease), writes, [heldChange(processId), ...left, ...shown]);
  },
};

/** A run whose time is up, or that was asked to cancel before its first claim, ends the process and calls no handler: it needs no place. */
function callsHandler({ deadlineAtMs, cancelRequested }: ProcessRow, attempt: number, nowMs: number): boolean {
  const isOver = deadlineAtMs !== undefined && deadlineAtMs <= nowMs;
  return !isOver && (cancelRequested === undefined || attempt > 1);
}

function hasPlace({ limit, places, oldest }: Judged, process: ProcessRow, nowMs: number): boolean {
  if (oldest && isOlder(oldest, process)) return false;
  return countWithPlace(places, limit, [process], nowMs).count === 1;
}

function holdBack(before: ProcessRow, key: string, isUnclaimed: boolean, nowMs: number): Decision<HeldBack> {
  const process = heldBack(before, key, isUnclaimed, nowMs);
  if (process === before) return accept({ heldBack: process });
  const changes: Change[] = [
    { about: "limit", id: key },
    { about: "record", id: process.processId },
  ];
  return accept({ heldBack: process }, [{ table: "processes", put: process }], changes);
}
