import type { Corridor } from "../../corridor/command.js";
import type { Watch } from "../../corridor/watch.js";
import { checkList, checkSignal, checkText, checkWhole, membersOf, optionsOf } from "../../domain/check.js";
import { invalid } from "../../domain/errors.js";
import {
  type CompletionEntry,
  checkOperationId,
  checkOperationSpec,
  type OperationOutcome,
  type OperationSpec,
} from "../../domain/session/ops.js";
import type { OpsOptions } from "../../domain/session/ops-options.js";
import type { Limits } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import { admitPayload } from "../../stores/process/registration.js";
import type { OpsOwner } from "../../stores/session/ops.js";
import type { OpsSettings } from "../../stores/session/ops.rules.js";
import type { Fault } from "../host/loop-contract.js";
import { feedBehind, type OperationSnapshot, shownAll, shownOne } from "./operations/live-operation.rules.js";
import { createLiveOperations } from "./operations/live-operations.js";
import { createOperationWaits } from "./operations/operation-waits.js";

export type { OperationSnapshot } from "./operations/live-operation.rules.js";

/**
 * The background operations of a session: those that live in this tab, and the feed of those that have ended in any tab.
 *
 * An operation that has not ended lives in the tab that registered it and is unknown to the others. Its end is stored first,
 * with its entry in the feed, and told after that: if the storage refuses, nothing has changed and the call may be made again.
 * An id that two tabs registered ends once, in both.
 *
 * Refusals of the registry name their reason in `details.reason`:
 *
 * | code | reason |
 * |---|---|
 * | `not-found` | `NotFound` (never registered here, collected, or forgotten as the oldest) |
 * | `terminal` | `InvalidTransition` { id, status, action } of an operation that has ended |
 * | `conflict` | `InvalidTransition` of one that goes on; `AlreadyRegistered`, `MaxConcurrentExceeded` { limit, active }, `PeerNotExpected`, `AlreadyPeerReady`, `WaitAlreadyActive` |
 * | `invalid` | `DuplicateWaitOperation` { id } |
 *
 * Every method also rejects `invalid` for an argument, `not-found` once the session is deleted, `closed` once it is closed, and
 * with the storage's own errors.
 */
export interface OpsRegistry {
  /** Adds an operation in the status "provisioning". The id must be unknown; after that, `maxConcurrent` must not be reached. */
  register(spec: OperationSpec): Promise<void>;
  /** From "provisioning" to "running". */
  provisioningSucceeded(id: string): Promise<void>;
  /** Ends it as failed while it is provisioned. */
  provisioningFailed(id: string, error: string): Promise<void>;
  /** Ends it as aborted while it is provisioned. */
  abortProvisioning(id: string, reason?: string): Promise<void>;
  /** Allowed once, and only for a running "mob_member_child". Snapshots show `peer` while the operation lives. */
  peerReady(id: string, peer: unknown): Promise<void>;
  /** `percent` is from 0 to 100. Snapshots show the last update while the operation lives; the number of updates is stored. */
  reportProgress(id: string, update: { message: string; percent?: number }): Promise<void>;
  /** Ends it as completed. */
  complete(id: string, result: unknown): Promise<void>;
  /** Ends it as failed. */
  fail(id: string, error: string): Promise<void>;
  /** Ends it as cancelled. */
  cancel(id: string, reason?: string): Promise<void>;
  /** From "running" to "retiring": it still runs, and is to end. */
  requestRetire(id: string): Promise<void>;
  /** Ends it as retired. */
  markRetired(id: string): Promise<void>;
  /** Ends all operations that live in this tab, in one write. */
  terminateOwner(reason: string): Promise<void>;
  /** The operation, or `undefined`. Of an operation that lives in another tab only its end is known here. */
  get(id: string): Promise<OperationSnapshot | undefined>;
  /** Ended operations, oldest first; then those that live in this tab, in the order of their registration. */
  list(): Promise<OperationSnapshot[]>;
  /**
   * Resolves with the operation's end, in whichever tab it came; at once when it has ended already. Closing the session resolves every
   * watch with `terminated`, because this tab cannot know the end after that. Rejects `aborted`.
   */
  watch(id: string, options?: { signal?: AbortSignal }): Promise<OperationOutcome>;
  /** The ends of all, in the order of `ids`. One such wait at a time, until it ends or is aborted. Rejects `aborted`. */
  waitAll(ids: readonly string[], options?: { signal?: AbortSignal }): Promise<OperationOutcome[]>;
  /** The feed's entries above `seq`, and its newest sequence at that moment. The feed keeps max(4 * maxCompleted, 1024) entries. */
  listSince(seq: number): Promise<{ entries: CompletionEntry[]; watermark: number }>;
  /** Resolves with the newest sequence: at once when it is above `seq`, else at the next end in any tab. Rejects `aborted`. */
  waitForAdvance(seq: number, options?: { signal?: AbortSignal }): Promise<number>;
  /** Removes all ended operations and returns them, oldest first; each goes to one caller alone. The feed stays as it is. */
  collectCompleted(): Promise<{ id: string; outcome: OperationOutcome }[]>;
}

export interface OpsRegistryParts extends OpsOwner, OpsOptions {
  ownerSessionId: string;
  corridor: Corridor;
  watch: Watch;
  limits: Limits;
  clock: Clock;
  newEpochId(): string;
  fault(event: Fault): void;
}

const MAX_COMPLETED = 256;
const MOST_AWAITED = 10_000;

export function createOpsRegistry(parts: OpsRegistryParts): OpsRegistry & { close(reason: string): void } {
  const { runtimeId, incarnation, ownerSessionId, limits, clock } = parts;
  const owner: OpsOwner = { runtimeId, ...(incarnation !== undefined && { incarnation }) };
  const settings: OpsSettings = {
    maxCompleted: parts.maxCompleted ?? MAX_COMPLETED,
    maxConcurrent: parts.maxConcurrent ?? null,
  };
  const live = createLiveOperations({ ...parts, owner, settings });
  const waits = createOperationWaits(parts.watch, runtimeId, live);
  const { idOf, textOf, jsonOf, reasonOf, updateOf } = argumentChecks(limits);

  return {
    async register(spec) {
      await live.register(checkOperationSpec("spec", spec, ownerSessionId, limits.idLength));
    },
    async provisioningSucceeded(id) {
      await live.moveOn("provisioningSucceeded", idOf(id));
    },
    async provisioningFailed(id, error) {
      await live.end("provisioningFailed", idOf(id), { outcomeType: "failed", error: textOf("error", error) });
    },
    async abortProvisioning(id, reason) {
      await live.end("abortProvisioning", idOf(id), { outcomeType: "aborted", ...reasonOf(reason) });
    },
    async peerReady(id, peer) {
      const known = idOf(id);
      const ready = { peerReady: true, peer: jsonOf("peer", peer) };
      await live.on("peerReady", known, (op) => void Object.assign(op, ready));
    },
    async reportProgress(id, update) {
      const known = idOf(id);
      const said = updateOf(update);
      await live.on("reportProgress", known, (op) => {
        op.progressCount++;
        op.progress = { ...said, atMs: clock.now() };
      });
    },
    async complete(id, result) {
      await live.end("complete", idOf(id), { outcomeType: "completed", result: jsonOf("result", result) });
    },
    async fail(id, error) {
      await live.end("fail", idOf(id), { outcomeType: "failed", error: textOf("error", error) });
    },
    async cancel(id, reason) {
      await live.end("cancel", idOf(id), { outcomeType: "cancelled", ...reasonOf(reason) });
    },
    async requestRetire(id) {
      await live.moveOn("requestRetire", idOf(id));
    },
    async markRetired(id) {
      await live.end("markRetired", idOf(id), { outcomeType: "retired" });
    },
    async terminateOwner(reason) {
      await live.endAll({ outcomeType: "terminated", reason: textOf("reason", reason) });
    },
    async get(id) {
      const known = idOf(id);
      const op = live.get(known);
      return shownOne(known, op, await live.look());
    },
    async list() {
      const here = live.all;
      return shownAll(here, await live.look());
    },
    async watch(id, options = {}) {
      const [outcome] = await waits.outcomes([idOf(id)], signalOf("watch", options));
      return outcome as OperationOutcome;
    },
    async waitAll(ids, options = {}) {
      const wanted = checkList("ids", ids, MOST_AWAITED).map((id, at) => checkOperationId(`ids/${at}`, id, limits.idLength));
      return await waits.all(wanted, signalOf("waitAll", options));
    },
    async listSince(seq) {
      const after = checkWhole("seq", seq, 0);
      return feedBehind(await live.look(), after);
    },
    async waitForAdvance(seq, options = {}) {
      const after = checkWhole("seq", seq, 0);
      return await waits.advance(after, signalOf("waitForAdvance", options));
    },
    collectCompleted: () => live.collect(),
    close: live.close,
  };
}

/** What callers hand over, checked and copied. */
function argumentChecks(limits: Limits) {
  const idOf = (id: unknown) => checkOperationId("id", id, limits.idLength);
  const textOf = (field: string, text: unknown) => checkText(field, text, limits.payloadBytes);
  const jsonOf = (field: string, value: unknown) => admitPayload(value, field, limits);
  const reasonOf = (reason: unknown) => (reason === undefined ? {} : { reason: textOf("reason", reason) });
  const updateOf = (update: unknown) => {
    const m = membersOf("update", update, ["message", "percent"]);
    const message = textOf("update.message", m.message);
    return { message, ...(m.percent !== undefined && { percent: checkPercent("update.percent", m.percent) }) };
  };
  return { idOf, textOf, jsonOf, reasonOf, updateOf };
}

const signalOf = (call: keyof OpsRegistry, options: unknown) =>
  checkSignal("options.signal", optionsOf(call, options, ["signal"]).signal);

function checkPercent(field: string, value: unknown): number {
  if (typeof value !== "number" || !(value >= 0 && value <= 100)) throw invalid(`${field} must be a number from 0 to 100`);
  return value;
}
