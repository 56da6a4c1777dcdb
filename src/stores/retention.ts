import type { Key, Reader, Write } from "../ports/storage.js";
import { accept, type Command, type Corridor } from "./command.js";
import { type AgentRow, type HostRow, loadRow, type ProcessRow, readable } from "./schema.js";

/** What is removed by itself, and how long after its end, in milliseconds. Nothing is, unless it is asked for. */
export interface Retention {
  /** Agents that are offline. */
  offlineAgentsMs?: number;
  /** Ended processes with their events, but for those that are granted to a session, have a wake to deliver, or were started by a process that runs. */
  terminalProcessesMs?: number;
}

/** Rows in one sweep. */
const MOST = 100;

/** An agent that is over since `beforeMs` or longer, by itself or by its host. */
export const removeAgents: Command<
  { agentIds: readonly string[]; beforeMs: number },
  { row: AgentRow | undefined; host: HostRow | undefined }[],
  void
> = {
  tables: ["agents", "hosts"],
  load: (reader, { agentIds }) =>
    Promise.all(
      agentIds.map(async (agentId) => {
        const row = await loadRow(reader, "agents", agentId);
        return { row, host: row?.bootId === undefined ? undefined : await loadRow(reader, "hosts", row.bootId) };
      }),
    ),
  decide: (states, { beforeMs }) =>
    accept(
      undefined,
      states.flatMap(({ row, host }): Write[] => {
        const endedAtMs = row?.endedAtMs ?? host?.endedAtMs;
        return row && endedAtMs !== undefined && endedAtMs <= beforeMs ? [{ table: "agents", drop: row.agentId }] : [];
      }),
    ),
  repeatable: () => true,
  durability: "relaxed",
};

interface Removable {
  readonly process: ProcessRow | undefined;
  readonly isWanted: boolean;
}

async function loadRemovable(reader: Reader, processId: string): Promise<Removable> {
  const process = await loadRow(reader, "processes", processId);
  const cause = process?.provenance.causedBy;
  const parentId = cause?.type === "process" && typeof cause.processId === "string" ? cause.processId : undefined;
  const [grants, wakes, parent] = await Promise.all([
    reader.range("grants", { index: "byProcess", prefix: [processId], limit: 1 }),
    reader.range("events", { index: "pendingWakes", prefix: [processId], limit: 1 }),
    parentId === undefined ? undefined : loadRow(reader, "processes", parentId),
  ]);
  return { process, isWanted: grants.length > 0 || wakes.length > 0 || parent?.state === "running" };
}

/** All of an ended process but its lease's row: a fencing token never goes back, also when the id is used again. */
export const removeProcess: Command<{ processId: string; beforeMs: number }, Removable, boolean> = {
  tables: ["processes", "registrations", "events", "grants"],
  load: (reader, { processId }) => loadRemovable(reader, processId),
  decide({ process, isWanted }, { processId, beforeMs }) {
    if (process?.endedAtMs === undefined || process.endedAtMs > beforeMs || isWanted) return accept(false);
    const writes: Write[] = [
      { table: "processes", drop: processId },
      { table: "registrations", drop: processId },
      { table: "events", dropPrefix: [processId] },
    ];
    return accept(true, writes, [{ about: "record", id: processId }]);
  },
  repeatable: () => true,
  durability: "relaxed",
};

export async function removeOffline(corridor: Corridor, olderThanMs: number, asOfMs: number): Promise<void> {
  const beforeMs = asOfMs - olderThanMs;
  const agentIds = await corridor.query(["agents", "hosts"], async (reader) => {
    // The tuple of the next millisecond is the first that is too young.
    const alone = await reader.range("agents", { index: "ended", upTo: [beforeMs + 1, ""], limit: MOST });
    const found = alone.map(({ agentId }) => String(agentId));
    for (const { bootId, endedAtMs } of readable("hosts", await reader.range("hosts", {}))) {
      if (found.length >= MOST) break;
      if (endedAtMs === undefined || endedAtMs > beforeMs) continue;
      const rows = await reader.range("agents", { index: "byBoot", prefix: [bootId], limit: MOST - found.length });
      found.push(...rows.map(({ agentId }) => String(agentId)));
    }
    return found;
  });
  if (agentIds.length > 0) await corridor.run(removeAgents, { agentIds, beforeMs });
}

/** Looks at a page of the longest ended ones behind `after`; what is still wanted is passed over. Resolves with where to go on. */
export async function removeTerminal(
  corridor: Corridor,
  olderThanMs: number,
  asOfMs: number,
  after: Key | undefined,
): Promise<Key | undefined> {
  const beforeMs = asOfMs - olderThanMs;
  const query = { index: "ended", upTo: [beforeMs + 1, ""], limit: MOST, ...(after !== undefined && { after }) };
  const rows = await corridor.query(["processes"], (reader) => reader.range("processes", query));
  await Promise.all(rows.map(({ processId }) => corridor.run(removeProcess, { processId: String(processId), beforeMs })));
  const last = rows.length < MOST ? undefined : rows.at(-1);
  return last && [Number(last.endedAtMs), String(last.processId)];
}
