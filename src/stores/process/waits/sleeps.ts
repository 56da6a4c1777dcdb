import { accept, type Command } from "../../../corridor/command.js";
import { invalid } from "../../../domain/errors.js";
import { TEN_YEARS_MS } from "../../../domain/time.js";
import { beginWait, endWait, loadWaiting, storedDue, WAIT_TABLES, type WaitOf, type WaitState } from "./waiting.js";

/** A timer of a run: when it was first asked for, it was due so much later, or at that time. */
export type SleepWait = WaitOf & { readonly kind: "timer" } & ({ readonly durationMs: number } | { readonly atMs: number });

/** It has ended, or it is due then. */
export type SleepState = { readonly answer: null } | { readonly dueAtMs: number };

/** Ends the timer if it is due. If it never began, its due time is stored first, and counts for every later owner. */
export const settleSleep: Command<SleepWait, WaitState, SleepState> = {
  tables: WAIT_TABLES,
  load: loadWaiting,
  decide(state, timer, nowMs) {
    if (state.ended) return accept({ answer: null });
    const dueAtMs = storedDue(state)?.dueAtMs ?? firstDue(timer, nowMs);
    return dueAtMs <= nowMs
      ? endWait(state, timer, null, { answer: null }, nowMs)
      : beginWait(state, timer, dueAtMs, { dueAtMs }, nowMs);
  },
  repeatable: () => true,
};

function firstDue(timer: SleepWait, nowMs: number): number {
  if ("durationMs" in timer) return nowMs + timer.durationMs;
  if (timer.atMs > nowMs + TEN_YEARS_MS) throw invalid("atMs must be at most ten years ahead");
  return timer.atMs;
}
