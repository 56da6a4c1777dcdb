import { ATTEMPT_FAILED_EVENT, RESTARTED_EVENT } from "../../domain/process/event-type.js";
import type { LeaseRow } from "../../stores/host/tables.js";
import type { EventRow, ProcessRow, RegistrationRow } from "../../stores/process/tables.js";
import { FLOW_LIMITS, type FlowShape, flowLimitKey } from "../flows.js";
import type { ObservedRows } from "../machine/rows.js";
import type { Commit } from "../machine/storage.js";

/** The key under which the runs of a process are limited. */
export function limitKeyOf(rows: ObservedRows, processId: string): string | undefined {
  const process = rows.get<ProcessRow>("processes", processId);
  const input = rows.get<RegistrationRow>("registrations", processId)?.input;
  const args = input?.type === "task" ? (input.args as unknown as FlowShape | undefined) : undefined;
  return args && flowLimitKey(process?.handler, args);
}

/** When the runs began that a limit's rate counts. */
export class Starts {
  readonly #rows: ObservedRows;
  /** Processes whose run was counted, and whose handler did not throw since. */
  readonly #counted = new Set<string>();
  readonly #startsMs = new Map<string, number[]>();

  constructor(rows: ObservedRows) {
    this.#rows = rows;
  }

  /** The starts of the commit that came too soon after those before. */
  note({ changes, sinceMs, untilMs }: Commit): string[] {
    const tooSoon: string[] = [];
    for (const [key, startsMs] of this.#startsMs) {
      const perMs = FLOW_LIMITS[key]?.rate?.perMs ?? 0;
      this.#startsMs.set(
        key,
        startsMs.filter((startMs) => startMs + perMs > untilMs),
      );
    }
    for (const { table, before, after } of changes) {
      const lease = table === "leases" ? (after as LeaseRow | undefined) : undefined;
      if (lease?.leaseToken === undefined || lease.leaseToken === before?.leaseToken) continue;
      const { resource } = lease;
      const key = limitKeyOf(this.#rows, resource);
      const rate = key === undefined ? undefined : FLOW_LIMITS[key]?.rate;
      // A process whose end was asked for is only ended.
      const isEnded = this.#rows.get<ProcessRow>("processes", resource)?.cancelRequested !== undefined;
      if (!rate || key === undefined || isEnded || this.#counted.has(resource)) continue;
      this.#counted.add(resource);
      // What the clock once showed to be over may be forgotten, also if it is set back then.
      const startsMs = this.#startsMs.get(key) ?? [];
      if (startsMs.length >= rate.count)
        tooSoon.push(`${resource} began at ${untilMs}, and others of ${key} at ${startsMs.join(", ")}`);
      this.#startsMs.set(key, [...startsMs, sinceMs]);
    }
    for (const { table, before, after } of changes) {
      const event = table === "events" && !before ? (after as EventRow | undefined) : undefined;
      if (event?.eventType === ATTEMPT_FAILED_EVENT || event?.eventType === RESTARTED_EVENT)
        this.#counted.delete(event.processId);
    }
    return tooSoon;
  }

  clear(): void {
    this.#counted.clear();
    this.#startsMs.clear();
  }
}
