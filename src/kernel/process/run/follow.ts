import type { Corridor } from "../../../corridor/command.js";
import type { Shared, Watch } from "../../../corridor/watch.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { Timings } from "../../../domain/time.js";
import type { Clock } from "../../../ports/clock.js";
import { leaseLost } from "../../../stores/host/leases.rules.js";
import type { ProcessRow } from "../../../stores/process/tables.js";
import type { Fault } from "../../host/loop-contract.js";
import { processRow } from "../handle.js";
import { endRun, type ProcessRun } from "./run.js";
import { sleep, tellRunFault } from "./store-output.js";

interface FollowRunParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly watch: Watch;
  readonly timings: Timings;
  fault(fault: Fault): void;
}

/** Aborts the handler's signal on a cancel request, also an earlier one. Ends the run when the process ends in another way. */
export async function followProcess(parts: FollowRunParts, run: ProcessRun, processId: string): Promise<void> {
  const { corridor, watch, timings } = parts;
  // Once the handler has ended, its output decides.
  const isOver = () => run.ended.signal.aborted || run.over;
  const obey = (row: ProcessRow | undefined): void => {
    if (!row || isOver()) return;
    if (row.state !== "running")
      return endRun(run, new HoldfastError("terminal", `process "${processId}" is already terminal: ${row.state}`));
    // It ended and was restarted since: this run has no part in that.
    if ((row.restarts?.count ?? 0) !== run.restarts) return endRun(run, leaseLost(processId));
    run.heard();
    if (row.cancelRequested === undefined) return;
    run.cancelled ??= row.cancelRequested;
    run.abort.abort(new HoldfastError("aborted", row.cancelRequested, { details: { reason: "cancel-requested" } }));
    // A turn of a session ends with its input, which the session ends.
    if (row.inputType !== "session_turn") run.timer.cancelling();
  };
  const read = async (shared: Shared) => {
    obey(await shared("row", () => processRow(corridor, processId)));
    return isOver() ? true : undefined;
  };
  const goOn = async (): Promise<void> => {
    while (!isOver()) {
      try {
        await watch.until(processId, read, run.ended.signal);
      } catch (error) {
        if (isOver()) return;
        tellRunFault(parts, error, processId);
        await sleep(parts, timings.pollMs);
      }
    }
  };
  // The first read is awaited, so that the handler starts with an earlier request known. Later reads go on beside it until the run ends.
  obey(await processRow(corridor, processId));
  void goOn();
}
