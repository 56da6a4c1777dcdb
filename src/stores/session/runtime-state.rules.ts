import { HoldfastError } from "../../domain/errors.js";
import type { RuntimeState } from "../../domain/session/session.js";
import { ROW_VERSION } from "../table.js";
import type { RuntimeRow } from "./tables.js";

/**
 * The commands that a session's runtime takes, by its state:
 *
 *     idle --run--> running --end--> idle        idle, running --retire--> retired --run--> running --end--> retired
 *     retired --reset, recycle--> idle           anything alive --shutdown--> stopped        all but destroyed --destroy--> destroyed
 *
 * "attached" means idle, seen from a tab that has a turn handler. It is never stored, so it is not in the table.
 */
export type RuntimeCommand = "run" | "retire" | "reset" | "shutdown" | "destroy" | "recycle";

const TABLE: Readonly<Record<RuntimeCommand, Partial<Record<RuntimeState, RuntimeState>>>> = {
  run: { initializing: "running", idle: "running", retired: "running" },
  retire: { initializing: "retired", idle: "retired", running: "retired", retired: "retired" },
  reset: { initializing: "idle", idle: "idle", retired: "idle" },
  shutdown: { initializing: "stopped", idle: "stopped", running: "stopped", retired: "stopped", stopped: "stopped" },
  destroy: {
    initializing: "destroyed",
    idle: "destroyed",
    running: "destroyed",
    retired: "destroyed",
    stopped: "destroyed",
  },
  recycle: { initializing: "idle", idle: "idle", retired: "idle" },
};

/** The state as it is stored: "attached" is stored as "idle". */
export function withoutAttached(state: RuntimeState): RuntimeState {
  return state === "attached" ? "idle" : state;
}

/** The state after the command, or the refusal. */
export function after(command: RuntimeCommand, state: RuntimeState): RuntimeState | HoldfastError {
  return TABLE[command][withoutAttached(state)] ?? notReady(state, command);
}

export function mayRun(state: RuntimeState): boolean {
  return TABLE.run[state] !== undefined;
}

export function acceptsInput(state: RuntimeState): boolean {
  return state === "initializing" || state === "idle" || state === "attached" || state === "running";
}

/** The state after a run. A runtime that was retired, stopped or destroyed during the run keeps that state. */
export function afterRun(state: RuntimeState, before: RuntimeState): RuntimeState {
  return state === "running" ? before : state;
}

export function notReady(state: RuntimeState, action: string): HoldfastError {
  return new HoldfastError("not-ready", `the session's runtime is ${state}: ${action} is refused`, {
    details: { state, action },
  });
}

/** The row of a runtime of which nothing is stored yet. */
export function newRuntime(runtimeId: string, nowMs: number): RuntimeRow {
  return {
    v: ROW_VERSION,
    runtimeId,
    incarnation: 0,
    nextRank: 0,
    firstRank: 0,
    endedKeys: 0,
    messageCount: 0,
    digest: "",
    updatedAtMs: nowMs,
  };
}
