import type { Corridor } from "../../corridor/command.js";
import type { Timings } from "../../domain/time.js";
import type { Fault, Pulse } from "../../kernel/host/loop-contract.js";
import type { Clock } from "../../ports/clock.js";
import type { Reader, Row } from "../../ports/storage.js";
import { firstOfEach } from "../../stores/host/first-of-each.js";
import { isLive } from "../../stores/host/leases.rules.js";
import { cancelUnowned, type HandlerNames, isUnowned, loadHandlerNames } from "../../stores/process/ends/unowned.js";
import type { ProcessRow } from "../../stores/process/tables.js";
import { findRow, readable } from "../../stores/schema.js";
import { runnableHere } from "../candidates.js";
import type { ClaimReport } from "../claims.js";

/**
 * Running processes that this host cannot run: it reports one for each handler and session that it lacks, tells of a handler that no host
 * has, and ends what was asked to cancel and waits for such a handler.
 */
export interface Lacking {
  look(pulse: Pulse, report: ClaimReport): Promise<void>;
}

interface LackingParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly stopping: AbortSignal;
  newNonce(): string;
  /** The page tells each handler once, however often it is called. */
  tell(fault: Fault): void;
}

/** How many handlers and sessions one look tells of. */
const MOST_LACKING = 64;
/** How many processes of one handler a look ends. */
const MOST_CANCELLED = 256;

export function createLacking(parts: LackingParts): Lacking {
  const { corridor, clock, timings } = parts;
  /** Since when no host was seen to have the handler, in monotonic time. */
  let missing = new Map<string, number>();

  function tell(firsts: readonly ProcessRow[], nowMs: number): void {
    const before = missing;
    missing = new Map();
    for (const { processId, handler } of firsts) {
      if (handler === undefined) continue;
      const sinceMs = before.get(handler) ?? nowMs;
      missing.set(handler, sinceMs);
      if (nowMs - sinceMs < timings.sweepMs) continue;
      const message = `processes wait for the handler "${handler}", which no host of this database has`;
      parts.tell({ area: "handlers", code: "not-found", message, processId });
    }
  }

  /** Those that need a handler that no host has. One under a live lease has an owner, which claimed it by hand. */
  async function untended(reader: Reader, firsts: readonly Row[], handlerNames: HandlerNames): Promise<ProcessRow[]> {
    const found = await Promise.all(
      readable("processes", firsts).map(async (process) => {
        const { processId, handler, inputType } = process;
        if (handler === undefined || inputType === "session_turn" || handlerNames?.has(handler) !== false) return [];
        const lease = await findRow(reader, "leases", processId);
        return lease !== "unreadable" && isLive(lease, clock.now()) ? [] : [process];
      }),
    );
    return found.flat();
  }

  async function cancel(processIds: readonly string[], { host }: Pulse): Promise<void> {
    if (parts.stopping.aborted) return;
    const ttlMs = timings.leaseTtlMs;
    await Promise.all(
      processIds.map((processId) => {
        const nonce = parts.newNonce();
        const ownerId = `${host.hostId}:${nonce.slice(0, 12)}`;
        return corridor.run(cancelUnowned, { processId, ownerId, ttlMs, nonce, host });
      }),
    );
  }

  return {
    async look(pulse, report) {
      const nowMs = clock.monotonicMs();
      const runnable = runnableHere(pulse);
      const lacking = (row: { readonly [column: string]: unknown }, column: string) => !runnable.has(String(row[column]));
      const found = await corridor.query(["processes", "hosts", "leases"], async (reader) => {
        const handlerNames = await loadHandlerNames(reader);
        const [found, limited, parked, asked] = await Promise.all([
          firstOfEach(reader, "processes", "runnable", runnable.size + MOST_LACKING),
          firstOfEach(reader, "processes", "limited", runnable.size + MOST_LACKING),
          dueElsewhere(reader, runnable, clock.now()),
          // Handlers that other hosts have take no place of those that no host has.
          firstOfEach(reader, "processes", "cancelling", runnable.size + (handlerNames?.size ?? 0) + MOST_LACKING),
        ]);
        const lacked = [...limited, ...found].filter(
          ({ limited: name, runnable: needed }) => !runnable.has(String(needed ?? name)),
        );
        const first = new Map([...parked, ...lacked].map((row) => [row.runnable ?? row.parked ?? row.limited, row]));
        const firsts = [...first.values()].slice(0, MOST_LACKING);
        const names = asked.filter((row) => lacking(row, "cancelling")).map(({ cancelling }) => String(cancelling));
        const cancelled = await Promise.all(names.map((name) => unowned(reader, name, handlerNames)));
        return { firsts, untended: await untended(reader, firsts, handlerNames), cancelled: cancelled.flat() };
      });
      report.skipped.push(...found.firsts.map(({ processId }) => String(processId)));
      tell(found.untended, nowMs);
      await cancel(found.cancelled, pulse);
    },
  };
}

/**
 * One process of each handler that this host lacks, parked and due. Those of its own handlers are not read: there may be very many, which
 * are not due.
 */
async function dueElsewhere(reader: Reader, runnable: ReadonlySet<string>, nowMs: number): Promise<Row[]> {
  const own = [...runnable].filter((name) => name.startsWith("handler:")).sort();
  const gaps = [undefined, ...own].map((behind, at) =>
    firstOfEach(reader, "processes", "due", MOST_LACKING, { behind, before: own[at] ?? "session:" }),
  );
  return (await Promise.all(gaps)).flat().filter(({ dueAtMs }) => Number(dueAtMs) <= nowMs);
}

/** The processes that need `name`, were asked to cancel and have no host. The command that ends them looks again. */
async function unowned(reader: Reader, name: string, handlerNames: HandlerNames): Promise<string[]> {
  const rows = await reader.range("processes", { index: "cancelling", prefix: [name], limit: MOST_CANCELLED });
  const found = await Promise.all(
    readable("processes", rows).map(async (process) => {
      const lease = await findRow(reader, "leases", process.processId);
      return lease !== "unreadable" && isUnowned(process, lease, handlerNames) ? [process.processId] : [];
    }),
  );
  return found.flat();
}
