import { checkFunction, checkOneOf, type Whole } from "../domain/check.js";
import { tellEach } from "../ports/listeners.js";
import type { StorageState } from "../ports/storage.js";
import type { Fault, SweepReport } from "./host/loop-contract.js";
import type { SessionEvent } from "./session/events.js";

/**
 * What a kernel tells its app. Hints like all notices: read again for the truth. `storage` and `fault` wait for their first listener, so
 * that what came while the kernel opened is heard.
 */
export interface KernelEvents {
  /** It was registered, and was not online before. */
  agentOnline: { agentId: string };
  /** Its incarnation is over: deregistered, silent for too long, or its host is gone. Once for each. */
  agentOffline: { agentId: string };
  /** Any tab or worker changed something of the process. `sequence` is its newest event's, where it was an event. */
  processChanged: { processId: string; sequence?: number };
  /** This host owns it now. */
  leaseClaimed: { processId: string; fencingToken: number };
  /** This host's handler goes on no more. */
  leaseLost: { processId: string };
  /** The loop looked at everything. */
  sweep: SweepReport;
  /** What became of a session's inputs and runs, by this kernel. */
  session: SessionEvent;
  /** What became of the database. "upgrading" and "blocked" come while the kernel opens, and "ready" only after one of the others. */
  storage: { state: StorageState };
  /** Trouble that no call could be told of. */
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

/** Of an app that never listens, the newest. */
const MOST_WAITING = 16;

export function createEmitter(): Emitter {
  const listeners = new Map<keyof KernelEvents, Set<(payload: never) => void>>();
  /** Until the first listener of their event. */
  const waiting = new Map<keyof KernelEvents, KernelEvents[keyof KernelEvents][]>([
    ["storage", []],
    ["fault", []],
  ]);

  function emit<E extends keyof KernelEvents>(event: E, payload: KernelEvents[E]): void {
    const early = waiting.get(event);
    if (early) {
      early.push(payload);
      if (early.length > MOST_WAITING) early.shift();
      return;
    }
    tellEach(listeners.get(event) ?? [], payload as never);
  }

  return {
    on(event, listener) {
      const name = checkOneOf("event", event, EVENTS satisfies Whole<keyof KernelEvents, typeof EVENTS>);
      checkFunction("listener", listener);
      const early = waiting.get(name);
      // After `on` has answered. What is told until then comes behind.
      if (early)
        queueMicrotask(() => {
          // It may have been taken off again at once: then all of it waits for the next one.
          if (!listeners.get(name)?.size) return;
          waiting.delete(name);
          for (const payload of early.splice(0)) emit(name, payload);
        });
      const known = listeners.get(name) ?? new Set();
      listeners.set(name, known);
      // A wrapper of its own, so that one function registered twice is heard twice.
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
