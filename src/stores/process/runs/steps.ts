import type { Command } from "../../../corridor/command.js";
import type { JsonValue } from "../../../domain/json.js";
import { STEP_EVENT } from "../../../domain/process/event-type.js";
import { ownKey } from "../../../domain/process/own-key.js";
import { APPEND_TABLES, acceptEvent, appendOwn, loadAppend } from "../events.js";
import type { AppendInput, AppendState } from "../events.rules.js";
import type { WaitRow } from "../tables.js";
import { dropWait } from "../waits/waits.rules.js";

/**
 * Stores a step of the process's handler, under its lease. The same step again gets the stored result. `settles` is the row of the waits
 * table that goes with the result.
 */
export const storeStep: Command<AppendInput & { settles?: Pick<WaitRow, "kind" | "key"> }, AppendState, JsonValue> = {
  tables: APPEND_TABLES,
  load: loadAppend,
  decide(state, { settles, ...step }, nowMs) {
    const appended = appendOwn(state, step, nowMs);
    if (settles && appended.writes.length > 0) appended.writes.push(dropWait({ processId: step.processId, ...settles }));
    return acceptEvent(appended, resultOfStep(appended.result.event), state, nowMs);
  },
  repeatable: () => true,
};

export function stepOf(processId: string, key: string, result: JsonValue): AppendInput {
  return { processId, eventType: STEP_EVENT, payload: { key, result }, own: true, ...ownKey(processId, "step", key) };
}

export function resultOfStep({ payload }: { payload: JsonValue }): JsonValue {
  return (payload as { result?: JsonValue }).result ?? null;
}
