import { accept, type Command, refuse } from "../../../corridor/command.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { ProcessLease } from "../../../domain/lease.js";
import { RESTARTED_EVENT } from "../../../domain/process/event-type.js";
import { ownKey } from "../../../domain/process/own-key.js";
import { countedWaitKey, givenWaitKey } from "../../../domain/process/wait.js";
import type { Reader, Write } from "../../../ports/storage.js";
import { awoken, fence, leaseChange, placeChange, released } from "../../host/leases.rules.js";
import type { LeaseRow } from "../../host/tables.js";
import { loadRow } from "../../schema.js";
import { loadReplay } from "../events.js";
import { type Appended, type AppendInput, append, eventChange } from "../events.rules.js";
import { unknownProcess } from "../processes.rules.js";
import type { EventRow, ProcessRow } from "../tables.js";
import { failedOf } from "../waits/step-tries.js";
import { dueChanges } from "./claimable.rules.js";
import { runningAgain } from "./running-again.rules.js";
import { stepOf } from "./steps.js";

export interface RestartProcess {
  readonly processId: string;
  /** The key of a step that was stored or that failed, or of a timer or wait that ended: it and every later one are forgotten. */
  readonly from?: string;
  /** The same command again is known by it. */
  readonly nonce: string;
  /** The lease of another process: the restart is refused if that lease is lost. */
  readonly lease?: ProcessLease;
}

interface RestartState {
  readonly process: ProcessRow | undefined;
  readonly held: LeaseRow | undefined;
  readonly caller: LeaseRow | undefined;
  readonly step: EventRow | undefined;
}

/**
 * Runs a process that ended failed or cancelled again under its id, in one write. A lease that a run before its end still holds is freed:
 * nothing that this run still writes is taken.
 */
export const restartProcess: Command<RestartProcess, RestartState, void> = {
  tables: ["processes", "events", "leases"],
  async load(reader: Reader, { processId, from, lease }) {
    const process = await loadRow(reader, "processes", processId);
    const events = from === undefined ? [] : resultsOf(processId, from);
    const [held, caller, ...found] = await Promise.all([
      loadRow(reader, "leases", processId),
      lease ? loadRow(reader, "leases", lease.processId) : undefined,
      ...events.map((event) => loadReplay(reader, event, process)),
    ]);
    return { process, held, caller, step: found.find((event) => event !== undefined) };
  },
  decide({ process, held, caller, step }, { processId, from, nonce, lease }, nowMs) {
    if (!process) return refuse(unknownProcess(processId));
    const fenced = lease && fence(caller, lease, nowMs);
    if (fenced instanceof HoldfastError) return refuse(fenced);
    if (process.restarts?.nonce === nonce) return accept(undefined);
    const refusal = whyNoRestart(process);
    if (refusal !== undefined) return refuse(new HoldfastError("conflict", `process "${processId}" ${refusal}`));
    if (from !== undefined && !step) {
      const message = `process "${processId}" has stored nothing of step "${from}"`;
      return refuse(new HoldfastError("not-found", message, { details: { processId, from } }));
    }
    const key = ownKey(processId, "restarted", `${(process.restarts?.count ?? 0) + 1}`);
    const appended = append(
      { process, eventTypes: undefined, lease: undefined, replayed: undefined },
      { processId, eventType: RESTARTED_EVENT, payload: from === undefined ? {} : { from }, own: true, ...key },
      undefined,
      nowMs,
    ) as Appended;
    const again = runningAgain(appended.process, step?.sequence, nonce, nowMs);
    const isUsed = held && (held.leaseToken !== undefined || held.fruitless > 0);
    const freed: Write[] = isUsed ? [{ table: "leases", put: { ...released(held, true), fruitless: 0 } }] : [];
    return accept(
      undefined,
      [...appended.writes, { table: "processes", put: again }, ...freed, ...(lease ? awoken(caller) : [])],
      [eventChange(appended.result.event), leaseChange(processId), ...dueChanges(again), ...(held ? placeChange(held) : [])],
    );
  },
  repeatable: () => true,
};

/** What may be stored under the key: a step's result, its first failed try, the end of a timer or of a wait. */
function resultsOf(processId: string, key: string): AppendInput[] {
  const step = stepOf(processId, key, null);
  return [
    step,
    failedOf(processId, { key, attempt: 1, message: "" }),
    { ...step, ...ownKey(processId, "sleep", key) },
    { ...step, ...ownKey(processId, "wait", givenWaitKey(key)) },
    { ...stepOf(processId, countedWaitKey(key, 1), null), ...ownKey(processId, "wait", countedWaitKey(key, 1)) },
  ];
}

/** Why the process cannot run again, if it cannot. */
function whyNoRestart({ state, inputType }: ProcessRow): string | undefined {
  if (state === "running") return "has not ended: only one that failed or was cancelled runs again";
  if (state === "completed") return "has completed: only one that failed or was cancelled runs again";
  if (inputType === "session_turn") return "is a turn of a session, whose input has ended: submit another input";
  return undefined;
}
