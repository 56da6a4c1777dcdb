import { accept, type Command, type Corridor } from "../../corridor/command.js";
import { isRuntimeId } from "../../domain/runtime-id.js";
import type { Key, Query, Reader, Write } from "../../ports/storage.js";
import { findRow, type RowIn, readable } from "../schema.js";
import { loadFloor, raiseFloor } from "./floors.js";
import { isLive } from "./leases.rules.js";
import type { LeaseRow } from "./tables.js";

/** What the sweeper removes, and how many milliseconds after its end. A member that is absent removes nothing. */
export interface Retention {
  /** Agents that are offline. */
  offlineAgentsMs?: number;
  /** Ended processes with their events, except those that are granted to a session, have a wake to deliver, or were started by a process that still runs. */
  terminalProcessesMs?: number;
  /**
   * External processes that still run, and to which nothing was written for so long (no event, no reference): the program that did their
   * work counts as gone. Counted from the last write, not from an end. Those that are granted, wait to deliver a wake, were started by a
   * process that still runs, or are leased stay, too.
   */
  externalProcessesMs?: number;
}

/** Removes what may go among the rows of one page. Resolves with whether the next page must be looked at soon. */
export type RemovePage = (asOfMs: number) => Promise<boolean>;

/** Rows that one transaction looks at: few enough not to delay the commands that wait for it. */
const PAGE = 25;
/** Pages that one sweep looks at again if none of their rows may go. */
const PAGES_AGAIN = 4;

/** Removes agents that ended at `beforeMs` or earlier, by themselves or with their host. Replies with how many were removed. */
const removeAgents: Command<
  { agentIds: readonly string[]; beforeMs: number },
  { agentId: string; endedAtMs: number | undefined }[],
  number
> = {
  tables: ["agents", "hosts"],
  load: (reader, { agentIds }) =>
    Promise.all(
      agentIds.map(async (agentId) => {
        const row = await findRow(reader, "agents", agentId);
        if (row === undefined || row === "unreadable") return { agentId, endedAtMs: undefined };
        const host = row.bootId === undefined ? undefined : await findRow(reader, "hosts", row.bootId);
        return { agentId, endedAtMs: row.endedAtMs ?? (host === "unreadable" ? undefined : host?.endedAtMs) };
      }),
    ),
  decide(states, { beforeMs }) {
    const over = states.filter(({ endedAtMs }) => endedAtMs !== undefined && endedAtMs <= beforeMs);
    return accept(
      over.length,
      over.map(({ agentId }): Write => ({ table: "agents", drop: agentId })),
    );
  },
  repeatable: () => true,
  durability: "relaxed",
};

function agentPages(corridor: Corridor, olderThanMs: number): RemovePage {
  return async (asOfMs) => {
    const beforeMs = asOfMs - olderThanMs;
    const agentIds = await corridor.query(["agents", "hosts"], async (reader) => {
      // The tuple of the next millisecond is the first one that is too young.
      const alone = await reader.range("agents", { index: "ended", upTo: [beforeMs + 1, ""], limit: PAGE });
      const found = alone.map(({ agentId }) => String(agentId));
      for (const { bootId, endedAtMs } of readable("hosts", await reader.range("hosts", {}))) {
        if (found.length >= PAGE) break;
        if (endedAtMs === undefined || endedAtMs > beforeMs) continue;
        const rows = await reader.range("agents", { index: "byBoot", prefix: [bootId], limit: PAGE - found.length });
        found.push(...rows.map(({ agentId }) => String(agentId)));
      }
      return found;
    });
    const removed = agentIds.length === 0 ? 0 : await corridor.run(removeAgents, { agentIds, beforeMs });
    return removed > 0 && agentIds.length >= PAGE;
  };
}

interface Removable {
  readonly process: RowIn<"processes">;
  readonly lease: LeaseRow | undefined;
}

/** `undefined` if the process is still needed: by a session that it is granted to, by its own pending wake, or by the process that started it. */
async function loadRemovable(reader: Reader, processId: string): Promise<Removable | undefined> {
  const process = await findRow(reader, "processes", processId);
  if (process === undefined || process === "unreadable") return undefined;
  const cause = process.provenance.causedBy;
  const isStarted = cause?.type === "process" || cause?.type === "process_event";
  const parentId = isStarted && typeof cause.processId === "string" ? cause.processId : undefined;
  const [grants, wakes, parent, lease] = await Promise.all([
    reader.range("grants", { index: "byProcess", prefix: [processId], limit: 1 }),
    reader.range("events", { index: "pendingWakes", prefix: [processId], limit: 1 }),
    parentId === undefined ? undefined : findRow(reader, "processes", parentId),
    findRow(reader, "leases", processId),
  ]);
  const isParentOver = parent !== "unreadable" && parent?.state !== "running";
  if (grants.length > 0 || wakes.length > 0 || !isParentOver || lease === "unreadable") return undefined;
  return { process, lease };
}

/** The column of the time from which a process may go, by its index. */
const GOES_FROM = { ended: "endedAtMs", external: "externalAtMs" } as const;
type GoingIndex = keyof typeof GOES_FROM;

/** Removes all rows of processes and their leases; the floor keeps the fencing tokens. Replies with how many were removed. */
const removeProcesses: Command<
  { processIds: readonly string[]; beforeMs: number; index: GoingIndex },
  { removable: readonly Removable[]; floor: number },
  number
> = {
  tables: ["processes", "registrations", "events", "grants", "leases", "floors"],
  async load(reader, { processIds }) {
    const found = await Promise.all(processIds.map((processId) => loadRemovable(reader, processId)));
    return { removable: found.filter((one) => one !== undefined), floor: await loadFloor(reader, "leases") };
  },
  decide({ removable, floor }, { beforeMs, index }, nowMs) {
    const over = removable.filter(({ process, lease }) => {
      const atMs = process[GOES_FROM[index]];
      // A host that holds the lease of an ended process does not know of its end yet.
      return atMs !== undefined && atMs <= beforeMs && !isLive(lease, nowMs);
    });
    const writes = over.flatMap(({ process: { processId }, lease }): Write[] => [
      { table: "processes", drop: processId },
      { table: "registrations", drop: processId },
      { table: "events", dropPrefix: [processId] },
      ...(lease ? [{ table: "leases", drop: processId }] : []),
    ]);
    const fences = over.flatMap(({ lease }) => (lease ? [lease.fencingToken] : []));
    return accept(
      over.length,
      [...writes, ...raiseFloor("leases", floor, fences)],
      over.map(({ process: { processId } }) => ({ about: "record", id: processId })),
    );
  },
  repeatable: () => true,
  durability: "relaxed",
};

/**
 * Looks at processes in the order in which they may go, each once at first. A process that was still needed is passed over, and looked at
 * again later, a few pages at a time. So processes that end later are found without reading past all that are kept.
 */
function processPages(corridor: Corridor, olderThanMs: number, index: GoingIndex): RemovePage {
  let reached: Key | undefined;
  let again: Key | undefined;
  let looks = 0;

  async function page(beforeMs: number, bounds: Pick<Query, "after" | "upTo">) {
    const rows = await corridor.query(["processes"], (reader) => reader.range("processes", { index, limit: PAGE, ...bounds }));
    const processIds = rows.map(({ processId }) => String(processId));
    const removed = processIds.length === 0 ? 0 : await corridor.run(removeProcesses, { processIds, beforeMs, index });
    const last = rows.at(-1);
    return {
      isFull: rows.length === PAGE,
      removed,
      ...(last && { last: [Number(last[GOES_FROM[index]]), String(last.processId)] }),
    };
  }

  return async (asOfMs) => {
    const beforeMs = asOfMs - olderThanMs;
    const ahead = await page(beforeMs, { upTo: [beforeMs + 1, ""], ...(reached !== undefined && { after: reached }) });
    reached = ahead.last ?? reached;
    if (ahead.isFull || reached === undefined) return ahead.isFull;
    const behind = await page(beforeMs, { upTo: reached, ...(again !== undefined && { after: again }) });
    again = behind.isFull ? behind.last : undefined;
    return behind.isFull && (behind.removed > 0 || ++looks % PAGES_AGAIN !== 0);
  };
}

/** Removes the free leases of processes and sessions that are gone. Replies with how many were removed. */
const removeLeases: Command<{ resources: readonly string[] }, { orphans: readonly LeaseRow[]; floor: number }, number> = {
  tables: ["leases", "processes", "runtimes", "floors"],
  async load(reader, { resources }) {
    const rows = await Promise.all(resources.map((resource) => loadOrphan(reader, resource)));
    return { orphans: rows.filter((row) => row !== undefined), floor: await loadFloor(reader, "leases") };
  },
  decide({ orphans, floor }, _, nowMs) {
    const free = orphans.filter((lease) => !isLive(lease, nowMs));
    const fences = free.map(({ fencingToken }) => fencingToken);
    const drops = free.map(({ resource }): Write => ({ table: "leases", drop: resource }));
    return accept(free.length, [...drops, ...raiseFloor("leases", floor, fences)]);
  },
  repeatable: () => true,
  durability: "relaxed",
};

async function loadOrphan(reader: Reader, resource: string): Promise<LeaseRow | undefined> {
  const lease = await findRow(reader, "leases", resource);
  if (lease === undefined || lease === "unreadable") return undefined;
  if (!isRuntimeId(resource)) return (await reader.get("processes", resource)) ? undefined : lease;
  const runtime = await findRow(reader, "runtimes", resource);
  return runtime !== "unreadable" && runtime?.state === undefined ? lease : undefined;
}

/** Leases that schemas before 5 left behind when they removed a process or a session. All leases are looked through once. */
function orphanPages(corridor: Corridor): RemovePage {
  let after: Key | undefined;
  let isDone = false;
  return async () => {
    if (isDone) return false;
    const bound = after === undefined ? {} : { after };
    const { last, resources } = await corridor.query(["leases", "processes", "runtimes"], async (reader) => {
      const rows = await reader.range("leases", { ...bound, limit: PAGE });
      const found = await Promise.all(rows.map(({ resource }) => loadOrphan(reader, String(resource))));
      return { last: rows.length < PAGE ? undefined : rows.at(-1), resources: found.flatMap((row) => row?.resource ?? []) };
    });
    if (resources.length > 0) await corridor.run(removeLeases, { resources });
    after = last && String(last.resource);
    isDone = last === undefined;
    // A page without an orphan is no reason to stop: orphans lie anywhere among the leases that are needed.
    return !isDone;
  };
}

/** Removes the rows of rates that bound nothing any more. Replies with how many were removed. */
const removeRates: Command<{ keys: readonly string[] }, RowIn<"rates">[], number> = {
  tables: ["rates"],
  async load(reader, { keys }) {
    const rows = await Promise.all(keys.map((key) => findRow(reader, "rates", key)));
    return rows.filter((row) => row !== undefined && row !== "unreadable");
  },
  decide(rows, _, nowMs) {
    const over = rows.filter(({ overAtMs }) => overAtMs <= nowMs);
    return accept(
      over.length,
      over.map(({ limitKey }): Write => ({ table: "rates", drop: limitKey })),
    );
  },
  repeatable: () => true,
  durability: "relaxed",
};

function ratePages(corridor: Corridor): RemovePage {
  return async (asOfMs) => {
    const upTo = [asOfMs, ""];
    const rows = await corridor.query(["rates"], (reader) => reader.range("rates", { index: "over", upTo, limit: PAGE }));
    const keys = rows.map(({ limitKey }) => String(limitKey));
    const removed = keys.length === 0 ? 0 : await corridor.run(removeRates, { keys });
    return removed > 0 && rows.length === PAGE;
  };
}

/** What bounds nothing any more, and the kinds of rows that the settings name. */
export function pagesOf(corridor: Corridor, retention: Retention): RemovePage[] {
  const { offlineAgentsMs, terminalProcessesMs, externalProcessesMs } = retention;
  return [
    ratePages(corridor),
    ...(offlineAgentsMs === undefined ? [] : [agentPages(corridor, offlineAgentsMs)]),
    ...(terminalProcessesMs === undefined ? [] : [processPages(corridor, terminalProcessesMs, "ended"), orphanPages(corridor)]),
    ...(externalProcessesMs === undefined ? [] : [processPages(corridor, externalProcessesMs, "external")]),
  ];
}
