import type { EventMethods } from "../stores/events.js";
import type { HandleMethods } from "../stores/handles.js";
import type { LeaseMethods } from "../stores/leases.js";
import type { ProcessMethods } from "../stores/processes.js";
import type { WaitMethods } from "./waits.js";

/**
 * Durable processes: registered once, append-only events, replay keys, wakes, handle grants and single-owner leases.
 * Every method rejects with a HoldfastError; `invalid` names the argument and the rule, and nothing was written.
 */
export interface ProcessRegistry extends ProcessMethods, EventMethods, HandleMethods, LeaseMethods, WaitMethods {
  /** "inline" in memory, "durable" in IndexedDB; what the browser granted is in `kernel.status()`. */
  durabilityTier(): "inline" | "durable";
}
