import { checkFunction, checkOneOf, type Whole } from "../domain/check.js";
import { tellEach } from "../ports/listeners.js";
import type { StorageState } from "../ports/storage.js";
import { faultOfApp } from "./host/fault.js";
import type { Fault, SweepReport } from "./host/loop-contract.js";
import type { SessionEvent } from "./session/events.js";

/**
 * Events that a kernel sends to its app. They are hints, like all notices: read again for the truth. `storage` and `fault` wait for their
 * first listener, so that events of the opening are heard.
 */
export interface KernelEvents {
  /** The agent was registered, and was not online before. */
  agentOnline: { agentId: string };
  /** An agent's incarnation is over: it was deregistered, it was silent for too long, or its host is gone. Sent once for each. */
  agentOffline: { agentId: string };
  /** A tab or worker changed the process. `sequence` is that of its newest event, if an event was appended. */
  processChanged: { processId: string; sequence?: number };
  /** This host owns the process now. */
  leaseClaimed: { processId: string; fencingToken: number };
  /** This host has lost the process's lease: its handler goes on no more. */
  leaseLost: { processId: string };
  /** What the loop claimed and found when it looked at everything, and agents that it took offline. */
  sweep: SweepReport;
  /** What this kernel made of a session's inputs and runs. */
  session: SessionEvent;
  /** The state of the database. "upgrading" and "blocked" come while the kernel opens, and "ready" only after one of the others. */
  storage: { state: StorageState };
  /** An error that no call could reject with: `Fault.area` says what it is about. `KernelOptions.log` has those that an app must mend. */
  fault: Fault;
}

const EVENTS = [
  "agentOnline",
  "agentOffline",
  "processChanged",
  "leaseClaimed",
  "leaseLost",
  "sweep",
  "session",
  "storage",
  "fault",
] as const;

export interface Emitter {
  on<E extends keyof KernelEvents>(event: E, listener: (event: KernelEvents[E]) => void): () => void;
  emit<E extends keyof KernelEvents>(event: E, payload: KernelEvents[E]): void;
  clear(): void;
}

/** How many events are kept for an app that never listens: the newest. */
const MOST_WAITING = 16;

/** `log` is told of every fault at once, also of those that wait for a listener. */
export function createEmitter(log: (fault: Fault) => void): Emitter {
  const listeners = new Map<keyof KernelEvents, Set<(payload: never) => void>>();
  /** Events that wait for their first listener. */
  const waiting = new Map<keyof KernelEvents, KernelEvents[keyof KernelEvents][]>([
    ["storage", []],
    ["fault", []],
  ]);

  function emit<E extends keyof KernelEvents>(event: E, payload: KernelEvents[E]): void {
    if (event === "fault") log(payload as Fault);
    const early = waiting.get(event);
    if (early) {
      early.push(payload);
      if (early.length > MOST_WAITING) early.shift();
      return;
    }
    tell(event, payload);
  }

  function tell<E extends keyof KernelEvents>(event: E, payload: KernelEvents[E]): void {
    tellEach(listeners.get(event) ?? [], payload as never, (error) => threw(event, error));
  }

  function threw(event: keyof KernelEvents, error: unknown): void {
    const fault = faultOfApp("listener", `a listener of "${event}"`, error);
    // A listener of faults would be told of its own error for ever.
    if (event === "fault") log(fault);
    else emit("fault", fault);
  }

  return {
    on(event, listener) {
      const name = checkOneOf("event", event, EVENTS satisfies Whole<keyof KernelEvents, typeof EVENTS>);
      checkFunction("listener", listener);
      const early = waiting.get(name);
      // Sent after `on` has returned. Events of the meantime come behind these.
      if (early)
        queueMicrotask(() => {
          // The listener may have been removed again at once: then all events wait for the next one.
          if (!listeners.get(name)?.size) return;
          waiting.delete(name);
          for (const payload of early.splice(0)) tell(name, payload);
        });
      const known = listeners.get(name) ?? new Set();
      listeners.set(name, known);
      // Each registration has a wrapper, so that a function that is registered twice is called twice.
      const heard = (payload: never) => listener(payload);
      known.add(heard);
      return () => known.delete(heard);
    },
    emit,
    clear() {
      listeners.clear();
      waiting.clear();
    },
  };
}
