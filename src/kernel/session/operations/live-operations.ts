import type { Corridor } from "../../../corridor/command.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { OperationOutcome, StoredOperationSpec } from "../../../domain/session/ops.js";
import type { Clock } from "../../../ports/clock.js";
import { collectOperations, endOperations, type OpsOwner, queryOps } from "../../../stores/session/ops.js";
import {
  type Ended,
  invalidTransition,
  OPS_TRANSITIONS,
  type Ops,
  type OpsAction,
  type OpsSettings,
} from "../../../stores/session/ops.rules.js";
import type { Fault } from "../../host/loop-contract.js";
import {
  endingOf,
  type LiveOperation,
  newOperation,
  permitOf,
  refusalOfAbsent,
  refusalOfRegistration,
  storedEndOf,
} from "./live-operation.rules.js";

export interface LiveOperationsParts {
  readonly owner: OpsOwner;
  readonly settings: OpsSettings;
  readonly corridor: Corridor;
  readonly clock: Clock;
  newEpochId(): string;
  fault(event: Fault): void;
}

/** The operations that live in this tab, and the stored ends of those of any tab. Every call rejects `closed` after `close`. */
export interface LiveOperations {
  /** All that live, in the order of their registration. */
  readonly all: readonly LiveOperation[];
  get(id: string): LiveOperation | undefined;
  /** Reads what is stored. Operations that ended under the same id in another tab have ended here too. */
  look(): Promise<Ops | undefined>;
  register(spec: StoredOperationSpec): Promise<void>;
  /** Calls `act` at once where the table allows it; waits for an end under way first. */
  on(action: OpsAction, id: string, act: (op: LiveOperation) => void): Promise<void>;
  moveOn(action: "provisioningSucceeded" | "requestRetire", id: string): Promise<void>;
  end(action: OpsAction, id: string, outcome: OperationOutcome): Promise<void>;
  endAll(outcome: OperationOutcome): Promise<void>;
  collect(): Promise<{ id: string; outcome: OperationOutcome }[]>;
  refuseClosed(): void;
  /** Aborts at `close`, with its reason. */
  readonly closing: AbortSignal;
  close(reason: string): void;
}

export function createLiveOperations(parts: LiveOperationsParts): LiveOperations {
  const { owner, settings, corridor, clock } = parts;
  const live = new Map<string, LiveOperation>();
  /** Ends that are being stored, until that write is over. None of these promises rejects. */
  const endings = new Map<LiveOperation, Promise<void>>();
  const closing = new AbortController();
  let isBroken = false;

  function refuseClosed(): void {
    if (closing.signal.aborted) throw new HoldfastError("closed", "the operations of this session are closed");
  }

  /** A broken feed is reported once, and stops nothing: the next end begins a new feed. */
  function tell(broken: HoldfastError | undefined): void {
    if (broken && !isBroken) parts.fault({ area: "ops", code: broken.code, message: broken.message });
    isBroken = broken !== undefined;
  }

  function settle(op: LiveOperation, outcome: OperationOutcome | undefined): void {
    if (!outcome || op.outcome) return;
    op.outcome = outcome;
    op.status = outcome.outcomeType;
    const { id } = op.spec;
    if (live.get(id) === op) live.delete(id);
  }

  async function look(): Promise<Ops | undefined> {
    refuseClosed();
    // Operations that are registered while the row is read are left out: the row may be older than they are.
    const here = [...live.values()];
    const { ops, broken } = await queryOps(corridor, owner);
    tell(broken);
    if (ops) for (const op of here) settle(op, storedEndOf(op, ops));
    return ops;
  }

  async function register(spec: StoredOperationSpec): Promise<void> {
    const { id } = spec;
    const wasLive = live.has(id);
    const ops = await look();
    refuseClosed();
    const isLive = wasLive || live.has(id);
    const refusal = refusalOfRegistration(id, { isLive, ops }, { active: live.size, limit: settings.maxConcurrent });
    if (refusal) throw refusal;
    live.set(id, newOperation(spec, ops, clock.now()));
  }

  async function on(action: OpsAction, id: string, act: (op: LiveOperation) => Promise<void> | void): Promise<void> {
    for (;;) {
      refuseClosed();
      const op = live.get(id);
      if (!op) throw refusalOfAbsent(action, id, await look());
      const permit = permitOf(action, op, endings.has(op));
      if (permit.kind === "refuse") throw permit.error;
      if (permit.kind === "act") return await act(op);
      await endings.get(op);
    }
  }

  /** Stores the end first and changes the memory after that, so that a failed write has changed nothing. */
  async function store(ops: readonly LiveOperation[], outcome: OperationOutcome): Promise<Ended[]> {
    let over = () => {};
    const ending = new Promise<void>((resolve) => {
      over = resolve;
    });
    for (const op of ops) endings.set(op, ending);
    try {
      const input = { ...owner, endings: ops.map((op) => endingOf(op, outcome)), settings, epochId: parts.newEpochId() };
      const size = JSON.stringify(outcome).length * ops.length;
      const { done, broken } = await corridor.run(endOperations, input, { size });
      tell(broken);
      for (const [at, op] of ops.entries()) settle(op, done[at]?.outcome);
      return done;
    } finally {
      for (const op of ops) endings.delete(op);
      over();
    }
  }

  return {
    get all() {
      return [...live.values()];
    },
    get: (id) => live.get(id),
    look,
    register,
    on,
    moveOn: (action, id) =>
      on(action, id, (op) => {
        op.status = OPS_TRANSITIONS[action].to;
      }),
    end: (action, id, outcome) =>
      on(action, id, async (op) => {
        const [ended] = await store([op], outcome);
        if (ended?.late) throw invalidTransition(action, id, ended.outcome.outcomeType);
      }),
    async endAll(outcome) {
      for (;;) {
        refuseClosed();
        const underway = [...live.values()].flatMap((op) => endings.get(op) ?? []);
        if (underway.length === 0) break;
        await Promise.all(underway);
      }
      if (live.size > 0) await store([...live.values()], outcome);
    },
    async collect() {
      refuseClosed();
      const { done, broken } = await corridor.run(collectOperations, owner);
      tell(broken);
      return done;
    },
    refuseClosed,
    closing: closing.signal,
    close: (reason) => closing.abort(reason),
  };
}
