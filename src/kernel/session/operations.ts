import type { Corridor } from "../../corridor/command.js";
import type { Shared, Watch } from "../../corridor/watch.js";
import { admitJson, guarded } from "../../domain/admit.js";
import { checkList, checkSignal, checkText, checkWhole, membersOf } from "../../domain/check.js";
import { HoldfastError, invalid, isHoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import {
  type CompletionEntry,
  checkOperationId,
  checkOperationSpec,
  type OperationOutcome,
  type OperationSpec,
  type OperationStatus,
  type StoredOperationSpec,
} from "../../domain/session/ops.js";
import type { OpsOptions } from "../../domain/session/ops-options.js";
import type { Limits } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import type { Change } from "../../ports/notices.js";
import { collectOperations, endOperations, type OpsOwner, queryOps } from "../../stores/session/ops.js";
import {
  type Ended,
  type EndedOperation,
  invalidTransition,
  keptOf,
  knownOutcome,
  OPS_TRANSITIONS,
  type Ops,
  type OpsAction,
  type OpsSettings,
  opsError,
  refusalOf,
  unknownOperation,
  watermarkOf,
} from "../../stores/session/ops.rules.js";
import type { Fault } from "../host/loop-contract.js";

/**
 * The background operations of a session: what runs in this tab, and the feed of what has ended in any.
 *
 * An operation that has not ended lives in the tab that registered it and is unknown to the others. Its end is stored first,
 * with its line in the feed, and told then: where the storage refuses, nothing has changed and the call may be made again.
 * An id that two tabs registered ends once, in both.
 *
 * Its own refusals say in `details.reason` what was in the way:
 *
 * | code | reason |
 * |---|---|
 * | `not-found` | `NotFound` (never registered here, collected, or forgotten as the oldest) |
 * | `terminal` | `InvalidTransition` { id, status, action } of an operation that has ended |
 * | `conflict` | `InvalidTransition` of one that goes on; `AlreadyRegistered`, `MaxConcurrentExceeded` { limit, active }, `PeerNotExpected`, `AlreadyPeerReady`, `WaitAlreadyActive` |
 * | `invalid` | `DuplicateWaitOperation` { id } |
 *
 * Beside them every method rejects `invalid` for an argument, `not-found` once the session is deleted, `closed` once it is
 * closed, and with what the storage rejects.
 */
export interface OpsRegistry {
  /** Takes it up as "provisioning". The id must be unknown, then there must be room for it. */
  register(spec: OperationSpec): Promise<void>;
  provisioningSucceeded(id: string): Promise<void>;
  provisioningFailed(id: string, error: string): Promise<void>;
  abortProvisioning(id: string, reason?: string): Promise<void>;
  /** Once, and only of a "mob_member_child" that runs. `peer` is shown as long as the operation lives. */
  peerReady(id: string, peer: JsonValue): Promise<void>;
  /** `percent` from 0 to 100. The last update is shown as long as the operation lives; how many there were is stored. */
  reportProgress(id: string, update: { message: string; percent?: number }): Promise<void>;
  complete(id: string, result: JsonValue): Promise<void>;
  fail(id: string, error: string): Promise<void>;
  cancel(id: string, reason?: string): Promise<void>;
  requestRetire(id: string): Promise<void>;
  markRetired(id: string): Promise<void>;
  /** Ends all that live in this tab, in one write. */
  terminateOwner(reason: string): Promise<void>;
  get(id: string): Promise<OperationSnapshot | undefined>;
  /** Ended ones first, oldest first, then those that live in this tab, in the order of their registration. */
  list(): Promise<OperationSnapshot[]>;
  /**
   * Its end, also when it came in another tab; at once when it has ended already. Closing the session gives every watcher
   * `terminated`: what became of the operation is nobody's to tell then. Rejects `aborted`.
   */
  watch(id: string, options?: { signal?: AbortSignal }): Promise<OperationOutcome>;
  /** The ends of all, in the order of `ids`. One such wait at a time; its end or abort makes room. Rejects `aborted`. */
  waitAll(ids: readonly string[], options?: { signal?: AbortSignal }): Promise<OperationOutcome[]>;
  /** The feed behind `seq`, and its newest sequence at that moment. It keeps max(4 * maxCompleted, 1024) entries. */
  listSince(seq: number): Promise<{ entries: CompletionEntry[]; watermark: number }>;
  /** Resolves with the newest sequence: at once when it is above `seq`, else at the next end in any tab. Rejects `aborted`. */
  waitForAdvance(seq: number, options?: { signal?: AbortSignal }): Promise<number>;
  /** Takes all ended operations out, oldest first; each goes to one caller alone. The feed stays as it is. */
  collectCompleted(): Promise<{ id: string; outcome: OperationOutcome }[]>;
}

export interface OperationSnapshot extends StoredOperationSpec {
  status: OperationStatus;
  peerReady: boolean;
  progressCount: number;
  /** These three only in the tab where it lives. */
  startedAtMs?: number;
  progress?: { message: string; percent?: number; atMs: number };
  peer?: JsonValue;
  /** Only when it has ended. */
  terminalOutcome?: OperationOutcome;
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

interface LiveOperation {
  readonly id: string;
  readonly kind: StoredOperationSpec["kind"];
  readonly spec: StoredOperationSpec;
  readonly startedAtMs: number;
  /** The feed's newest sequence when it was registered. */
  readonly since: number;
  status: OperationStatus;
  peerReady: boolean;
  progressCount: number;
  watcherCount: number;
  progress?: NonNullable<OperationSnapshot["progress"]>;
  peer?: JsonValue;
  /** Its end is on its way to the storage. Never rejects. */
  ending?: Promise<void> | undefined;
  /** Once it has ended, here or elsewhere. */
  outcome?: OperationOutcome;
}

const MAX_COMPLETED = 256;
const MOST_AWAITED = 10_000;

export function createOpsRegistry(parts: OpsRegistryParts): OpsRegistry & { close(reason: string): void } {
  const { runtimeId, incarnation, ownerSessionId, corridor, watch, limits, clock, newEpochId, fault } = parts;
  const owner: OpsOwner = { runtimeId, ...(incarnation !== undefined && { incarnation }) };
  const settings: OpsSettings = {
    maxCompleted: parts.maxCompleted ?? MAX_COMPLETED,
    maxConcurrent: parts.maxConcurrent ?? null,
  };
  const live = new Map<string, LiveOperation>();
  const closing = new AbortController();
  let isWaiting = false;
  let isBroken = false;

  const idOf = (id: unknown) => checkOperationId("id", id, limits.idLength);
  const textOf = (field: string, text: unknown) => checkText(field, text, limits.payloadBytes);
  const reasonOf = (reason: unknown) => (reason === undefined ? {} : { reason: textOf("reason", reason) });
  const jsonOf = (field: string, value: unknown) =>
    admitJson(value, field, { maxBytes: limits.payloadBytes, maxDepth: limits.depth });
  const signalOf = (options: unknown) => checkSignal("options.signal", membersOf("options", options, ["signal"]).signal);
  const concerns = ({ about }: Change) => about === "ops";

  function refuseClosed(): void {
    if (closing.signal.aborted) throw new HoldfastError("closed", "the operations of this session are closed");
  }

  /** A feed that cannot be read is no reason not to go on: the next end begins a new one. */
  function tell(broken: HoldfastError | undefined): void {
    if (broken && !isBroken) fault({ area: "ops", code: broken.code, message: broken.message });
    isBroken = broken !== undefined;
  }

  /** What is stored at this moment. Operations that ended under the same id in another tab have ended here too. */
  async function look(): Promise<Ops | undefined> {
    refuseClosed();
    // Only these: the row may be older than what is registered while it is read.
    const here = [...live.values()];
    const { ops, broken } = await queryOps(corridor, owner);
    tell(broken);
    if (ops) for (const op of here) settle(op, knownOutcome(ops, op.id, op.since));
    return ops;
  }

  function settle(op: LiveOperation, outcome: OperationOutcome | undefined): void {
    if (!outcome || op.outcome) return;
    op.outcome = outcome;
    op.status = outcome.outcomeType;
    if (live.get(op.id) === op) live.delete(op.id);
  }

  /** Does `act` in the very moment in which the table allows it; an end under way is waited for first. */
  async function on(action: OpsAction, id: string, act: (op: LiveOperation) => Promise<void> | void): Promise<void> {
    for (;;) {
      refuseClosed();
      const op = live.get(id);
      if (!op) {
        const ops = await look();
        const kept = ops && keptOf(ops, id);
        throw (kept && refusalOf(action, { id, ...kept })) ?? unknownOperation(id);
      }
      if (op.ending) {
        await op.ending;
        continue;
      }
      const refusal = refusalOf(action, op);
      if (refusal) throw refusal;
      return await act(op);
    }
  }

  /** Stored first; what is in memory follows, so that a failed write has changed nothing. */
  async function end(ops: readonly LiveOperation[], outcome: OperationOutcome): Promise<Ended[]> {
    let over = () => {};
    const ending = new Promise<void>((resolve) => {
      over = resolve;
    });
    for (const op of ops) op.ending = ending;
    try {
      const endings = ops.map(({ spec, peerReady, progressCount, watcherCount, since }) => {
        return { spec, peerReady, progressCount, watcherCount, since, outcome };
      });
      const input = { ...owner, endings, settings, epochId: newEpochId() };
      const { done, broken } = await corridor.run(endOperations, input, {
        size: JSON.stringify(outcome).length * ops.length,
      });
      tell(broken);
      for (const [at, op] of ops.entries()) settle(op, done[at]?.outcome);
      return done;
    } finally {
      for (const op of ops) op.ending = undefined;
      over();
    }
  }

  const endOne = (action: OpsAction, id: string, outcome: OperationOutcome) =>
    on(action, id, async (op) => {
      const [ended] = await end([op], outcome);
      if (ended?.late) throw invalidTransition(action, id, ended.outcome.outcomeType);
    });

  const moveOn = (action: "provisioningSucceeded" | "requestRetire", id: string) =>
    on(action, id, (op) => {
      op.status = OPS_TRANSITIONS[action].to;
    });

  /** The ends of all of them, in their order. */
  async function outcomesOf(ids: readonly string[], signal: AbortSignal | undefined): Promise<OperationOutcome[]> {
    const here = ids.map((id) => live.get(id));
    const ops = await look();
    const awaited = ids.map((id, at): { outcome?: OperationOutcome; watcherCount: number } => {
      const kept = ops && keptOf(ops, id);
      const found = here[at] ?? (kept && { outcome: kept.terminalOutcome, watcherCount: 0 });
      if (!found) throw unknownOperation(id);
      return found;
    });
    const ended = () => {
      const outcomes = awaited.flatMap(({ outcome }) => outcome ?? []);
      return outcomes.length === awaited.length ? outcomes : undefined;
    };
    const read = async (shared: Shared) => {
      if (!ended()) await shared(look, look);
      return ended();
    };
    for (const op of awaited) op.watcherCount++;
    try {
      return structuredClone(await watch.until(runtimeId, read, within(signal), concerns));
    } catch (error) {
      const reason = isAborted(signal) ? undefined : reasonOfDrop(error);
      if (reason === undefined) throw error;
      return awaited.map(({ outcome }) => structuredClone(outcome) ?? { outcomeType: "terminated", reason });
    } finally {
      for (const op of awaited) op.watcherCount--;
    }
  }

  /** Closing this registry ends every wait, and so does closing the kernel under it. */
  function reasonOfDrop(error: unknown): string | undefined {
    if (closing.signal.aborted) return closing.signal.reason as string;
    return isHoldfastError(error) && error.code === "closed" ? error.message : undefined;
  }

  const isAborted = (signal: AbortSignal | undefined) => signal !== undefined && guarded("options.signal", () => signal.aborted);

  function within(signal: AbortSignal | undefined): AbortSignal {
    return signal ? guarded("options.signal", () => AbortSignal.any([signal, closing.signal])) : closing.signal;
  }

  return {
    async register(spec) {
      const checked = checkOperationSpec("spec", spec, ownerSessionId, limits.idLength);
      const { id, kind } = checked;
      const wasLive = live.has(id);
      const ops = await look();
      refuseClosed();
      if (wasLive || live.has(id) || (ops && keptOf(ops, id)))
        throw opsError("conflict", "AlreadyRegistered", `operation "${id}" is registered already`, { id });
      const { maxConcurrent: limit } = settings;
      const active = live.size;
      if (limit !== null && active >= limit)
        throw opsError("conflict", "MaxConcurrentExceeded", `${active} operations are active, and ${limit} may be`, {
          limit,
          active,
        });
      live.set(id, {
        id,
        kind,
        spec: checked,
        startedAtMs: clock.now(),
        since: ops ? watermarkOf(ops) : 0,
        status: "provisioning",
        peerReady: false,
        progressCount: 0,
        watcherCount: 0,
      });
    },
    async provisioningSucceeded(id) {
      await moveOn("provisioningSucceeded", idOf(id));
    },
    async provisioningFailed(id, error) {
      await endOne("provisioningFailed", idOf(id), { outcomeType: "failed", error: textOf("error", error) });
    },
    async abortProvisioning(id, reason) {
      await endOne("abortProvisioning", idOf(id), { outcomeType: "aborted", ...reasonOf(reason) });
    },
    async peerReady(id, peer) {
      const known = idOf(id);
      const admitted = jsonOf("peer", peer);
      await on("peerReady", known, (op) => {
        op.peerReady = true;
        op.peer = admitted;
      });
    },
    async reportProgress(id, update) {
      const known = idOf(id);
      const m = membersOf("update", update, ["message", "percent"]);
      const message = textOf("update.message", m.message);
      const percent = m.percent === undefined ? {} : { percent: checkPercent("update.percent", m.percent) };
      await on("reportProgress", known, (op) => {
        op.progressCount++;
        op.progress = { message, ...percent, atMs: clock.now() };
      });
    },
    async complete(id, result) {
      await endOne("complete", idOf(id), { outcomeType: "completed", result: jsonOf("result", result) });
    },
    async fail(id, error) {
      await endOne("fail", idOf(id), { outcomeType: "failed", error: textOf("error", error) });
    },
    async cancel(id, reason) {
      await endOne("cancel", idOf(id), { outcomeType: "cancelled", ...reasonOf(reason) });
    },
    async requestRetire(id) {
      await moveOn("requestRetire", idOf(id));
    },
    async markRetired(id) {
      await endOne("markRetired", idOf(id), { outcomeType: "retired" });
    },
    async terminateOwner(reason) {
      const outcome: OperationOutcome = { outcomeType: "terminated", reason: textOf("reason", reason) };
      for (;;) {
        refuseClosed();
        const underway = [...live.values()].flatMap(({ ending }) => ending ?? []);
        if (underway.length === 0) break;
        await Promise.all(underway);
      }
      if (live.size > 0) await end([...live.values()], outcome);
    },
    async get(id) {
      const known = idOf(id);
      const op = live.get(known);
      const ops = await look();
      const kept = ops && keptOf(ops, known);
      return kept ? shownEnded(ops, known, kept) : op && shown(op);
    },
    async list() {
      const here = [...live.values()];
      const ops = await look();
      if (!ops) return here.map(shown);
      const { completedOrder, operations } = ops.authorityState;
      return [
        ...completedOrder.map((id) => shownEnded(ops, id, operations[id] as EndedOperation)),
        ...here.filter(({ id }) => !keptOf(ops, id)).map(shown),
      ];
    },
    async watch(id, options = {}) {
      const [outcome] = await outcomesOf([idOf(id)], signalOf(options));
      return outcome as OperationOutcome;
    },
    async waitAll(ids, options = {}) {
      const wanted = checkList("ids", ids, MOST_AWAITED).map((id, at) => checkOperationId(`ids/${at}`, id, limits.idLength));
      const signal = signalOf(options);
      const seen = new Set<string>();
      const twice = wanted.find((id) => seen.has(id) || !seen.add(id));
      if (twice !== undefined)
        throw opsError("invalid", "DuplicateWaitOperation", `ids names operation "${twice}" twice`, { id: twice });
      if (isWaiting) throw opsError("conflict", "WaitAlreadyActive", "another waitAll of this session goes on");
      isWaiting = true;
      try {
        return await outcomesOf(wanted, signal);
      } finally {
        isWaiting = false;
      }
    },
    async listSince(seq) {
      const after = checkWhole("seq", seq, 0);
      const ops = await look();
      return {
        entries: ops?.completionEntries.filter((entry) => entry.seq > after) ?? [],
        watermark: ops ? watermarkOf(ops) : 0,
      };
    },
    async waitForAdvance(seq, options = {}) {
      const after = checkWhole("seq", seq, 0);
      const signal = signalOf(options);
      let first: number | undefined;
      const read = async (shared: Shared) => {
        const ops = await shared(look, look);
        const watermark = ops ? watermarkOf(ops) : 0;
        first ??= watermark;
        // A sequence of an earlier feed may be far ahead of this one.
        return watermark > after || watermark !== first ? watermark : undefined;
      };
      refuseClosed();
      try {
        return await watch.until(runtimeId, read, within(signal), concerns);
      } catch (error) {
        if (!isAborted(signal)) refuseClosed();
        throw error;
      }
    },
    async collectCompleted() {
      refuseClosed();
      const { done, broken } = await corridor.run(collectOperations, owner);
      tell(broken);
      return done;
    },
    close(reason) {
      closing.abort(reason);
    },
  };
}

function shown(op: LiveOperation): OperationSnapshot {
  const { spec, status, peerReady, progressCount, startedAtMs, progress, peer, outcome } = op;
  return structuredClone({
    ...spec,
    status,
    peerReady,
    progressCount,
    startedAtMs,
    ...(progress && { progress }),
    ...(peer !== undefined && { peer }),
    ...(outcome && { terminalOutcome: outcome }),
  });
}

function shownEnded(
  ops: Ops,
  id: string,
  { status, peerReady, progressCount, terminalOutcome }: EndedOperation,
): OperationSnapshot {
  return { ...(ops.operationSpecs[id] as StoredOperationSpec), status, peerReady, progressCount, terminalOutcome };
}

function checkPercent(field: string, value: unknown): number {
  if (typeof value !== "number" || !(value >= 0 && value <= 100)) throw invalid(`${field} must be a number from 0 to 100`);
  return value;
}
