import type { Corridor } from "../../corridor/command.js";
import type { Timings } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import { type Host, isLive } from "../../stores/host/leases.rules.js";
import type { HostRow } from "../../stores/host/tables.js";
import { readable } from "../../stores/schema.js";
import type { Presence } from "./presence.js";

/** A tab or process of the database. */
export interface HostRecord {
  hostId: string;
  /** New at every `createKernel`, and when a page comes back from the back/forward cache. */
  bootId: string;
  /** Epoch milliseconds: its row's, or the last beat that was heard. */
  lastSeenAtMs: number;
  /** Seen less than `timings.staleAfterMs` ago, and not known to be dead by its Web Lock. */
  alive: boolean;
  /** It is this kernel. */
  self: boolean;
  /** That it beats for. */
  agents: number;
  /** Live ones that it holds. */
  leases: number;
  /** It holds its Web Lock: when it dies, the others know at once. */
  locked: boolean;
}

export async function listHosts(parts: {
  corridor: Corridor;
  presence: Presence;
  clock: Clock;
  timings: Timings;
  self: Host;
  lockName(bootId: string): string;
  /** The names of all locks that are held; nothing where nobody can tell. */
  held(): Promise<ReadonlySet<string> | undefined>;
}): Promise<HostRecord[]> {
  const { corridor, presence, clock, self } = parts;
  const { staleAfterMs, livenessTtlMs } = parts.timings;
  const [held, stored] = await Promise.all([
    parts.held(),
    corridor.query(["hosts", "agents", "leases"], async (reader) => {
      const known = readable("hosts", await reader.range("hosts", {}));
      // The row of one that is gone stays only for its agents.
      const rows: (Pick<HostRow, "bootId" | "hostId" | "end" | "locked"> & { lastSeenAtMs?: number })[] = known.filter(
        ({ end }) => end === undefined || end === "silent",
      );
      // Its first beat is still to come, or it has no loop.
      if (!rows.some(({ bootId }) => bootId === self.bootId)) rows.push({ bootId: self.bootId, hostId: self.hostId });
      return await Promise.all(
        rows.map(async (row) => {
          const query = { index: "byBoot", prefix: [row.bootId] };
          const [agents, leases] = await Promise.all([reader.range("agents", query), reader.range("leases", query)]);
          return { row, agents: agents.length, leases: readable("leases", leases) };
        }),
      );
    }),
  ]);
  const nowMs = clock.now();
  return stored
    .map(({ row, agents, leases }): HostRecord => {
      const { bootId, hostId } = row;
      const isSelf = bootId === self.bootId;
      const rowSeenMs = row.lastSeenAtMs ?? nowMs;
      // What was only heard counts as long as it does for the sweeper: anybody of the origin may have said it.
      const heardMs = nowMs - rowSeenMs < staleAfterMs + livenessTtlMs ? presence.lastBeat(bootId) : undefined;
      const lastSeenAtMs = Math.max(rowSeenMs, heardMs ?? 0);
      const isDead = row.locked === 1 && held !== undefined && !held.has(parts.lockName(bootId));
      return {
        hostId,
        bootId,
        lastSeenAtMs,
        alive: isSelf || (row.end === undefined && !isDead && nowMs - lastSeenAtMs < staleAfterMs),
        self: isSelf,
        agents,
        leases: leases.filter((lease) => isLive(lease, nowMs)).length,
        locked: isSelf ? self.locked : row.locked === 1 && !isDead,
      };
    })
    .sort((a, b) => (a.hostId < b.hostId ? -1 : a.hostId > b.hostId ? 1 : a.bootId < b.bootId ? -1 : 1));
}
