import { accept, type Command, type StateOf } from "../../../corridor/command.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { Reader } from "../../../ports/storage.js";
import { grant, leaseOf } from "../../host/claims.rules.js";
import { isLive, leaseChange, placeChange, released } from "../../host/leases.rules.js";
import type { LeaseRow } from "../../host/tables.js";
import { readable } from "../../schema.js";
import { type Appended, append, endOf, eventChange } from "../events.rules.js";
import { type ClaimProcessLease, claimProcessLease } from "../leases.js";
import type { ProcessRow } from "../tables.js";
import { endChildren, loadChildren } from "./children.js";

/** The names of all handlers that the hosts of the database have; undefined if one of the hosts does not say. */
export type HandlerNames = ReadonlySet<string> | undefined;

export async function loadHandlerNames(reader: Reader): Promise<HandlerNames> {
  const rows = await reader.range("hosts", {});
  const hosts = readable("hosts", rows);
  const present = hosts.filter(({ end }) => end === undefined);
  if (hosts.length < rows.length || present.some(({ handlers }) => !handlers)) return undefined;
  return new Set(present.flatMap(({ handlers = [] }) => handlers));
}

/**
 * Ends a process as cancelled that was asked to cancel and that no host can run, under a lease of its own: the fencing token rises, so
 * that nothing that an earlier owner still writes is taken. Replies with whether it did. A session's turn is ended here only if no host
 * ever claimed it: else its input may wait in the session, and a host that has the session cancels that first.
 */
export const cancelUnowned: Command<
  ClaimProcessLease,
  {
    claimed: StateOf<typeof claimProcessLease>;
    handlerNames: HandlerNames;
    children: readonly ProcessRow[];
  },
  boolean
> = {
  tables: [...claimProcessLease.tables, "hosts", "events", "waits"],
  async load(reader, input) {
    const [claimed, handlerNames] = await Promise.all([claimProcessLease.load(reader, input), loadHandlerNames(reader)]);
    return { claimed, handlerNames, children: await loadChildren(reader, claimed.process) };
  },
  decide({ claimed: { process, lease, farewell, floor }, handlerNames, children }, { processId: resource, ...claim }, nowMs) {
    if (!process || isLive(lease, nowMs) || !isUnowned(process, lease, handlerNames)) return accept(false);
    const { progressFence, cancelRequested: message = "" } = process;
    const previous = { farewell, floor, ...(progressFence !== undefined && { progressFence }) };
    const row = grant(lease, { resource, ...claim }, previous, nowMs);
    if (row instanceof HoldfastError) return accept(false);
    const end = { ...endOf(resource, { type: "cancelled", message }), lease: leaseOf(row) };
    const appended = append(
      { process, eventTypes: undefined, lease: row, replayed: undefined },
      end,
      undefined,
      nowMs,
    ) as Appended;
    const below = endChildren(children, nowMs);
    return accept(
      true,
      [...appended.writes, ...below.writes, { table: "leases", put: released(row, true) }],
      [
        eventChange(appended.result.event),
        ...below.changes,
        { ...leaseChange(resource), member: "ended" },
        ...(lease ? placeChange(lease) : []),
      ],
    );
  },
  repeatable: () => true,
};

/** Whether the process was asked to cancel, and no host can run it. Its lease may still be live. */
export function isUnowned(process: ProcessRow, lease: LeaseRow | undefined, handlerNames: HandlerNames): boolean {
  if (process.cancelling === undefined || process.handler === undefined) return false;
  return process.inputType === "session_turn" ? lease === undefined : handlerNames?.has(process.handler) === false;
}
