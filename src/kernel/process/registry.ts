import type { EventMethods } from "../../stores/process/events.js";
import type { HandleMethods } from "../../stores/process/handles.js";
import type { LeaseMethods } from "../../stores/process/leases-by-hand.js";
import type { ProcessMethods } from "../../stores/process/processes.js";
import type { SignalMethods, WaitMethods } from "./handle.js";

/**
 * Durable processes: registered once, append-only events, replay keys, wakes, handle grants and single-owner leases.
 * Every method rejects with a HoldfastError; `invalid` names the argument and the rule, and nothing was written.
 */
export interface ProcessRegistry extends ProcessMethods, EventMethods, HandleMethods, LeaseMethods, WaitMethods, SignalMethods {
  /** "inline" in memory, "durable" in IndexedDB. `kernel.status()` says what the browser granted. */
  durabilityTier(): "inline" | "durable";
}
