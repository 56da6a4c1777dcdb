import type { Corridor } from "../../corridor/command.js";
import type { Timings } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import { type Host, isLive } from "../../stores/host/leases.rules.js";
import type { HostRow } from "../../stores/host/tables.js";
import { readable } from "../../stores/schema.js";
import type { Presence } from "./presence.js";

/** An open kernel of the database, in a tab or a program. */
export interface HostRecord {
  hostId: string;
  /** New at every `createKernel`, and when a page comes back from the back/forward cache. */
  bootId: string;
  /** Epoch milliseconds: as its row says, or when its last beat was heard. */
  lastSeenAtMs: number;
  /** Seen less than `timings.staleAfterMs` ago, and not known to be dead by its Web Lock. */
  alive: boolean;
  /** The host is this kernel. */
  self: boolean;
  /** How many agents it beats for. */
  agents: number;
  /** How many live leases it holds. */
  leases: number;
  /** The host holds its Web Lock: when it dies, the others know at once. */
  locked: boolean;
}

export async function listHosts(parts: {
  corridor: Corridor;
  presence: Presence;
  clock: Clock;
  timings: Timings;
  self: Host;
  lockName(bootId: string): string;
  /** The names of all locks that are held; undefined if that is unknown. */
  held(): Promise<ReadonlySet<string> | undefined>;
}): Promise<HostRecord[]> {
  const { corridor, presence, clock, self } = parts;
  const { staleAfterMs, livenessTtlMs } = parts.timings;
  const [held, stored] = await Promise.all([
    parts.held(),
    corridor.query(["hosts", "agents", "leases"], async (reader) => {
      const known = readable("hosts", await reader.range("hosts", {}));
      // The row of a host that is gone stays only for its agents.
      const rows: (Pick<HostRow, "bootId" | "hostId" | "end" | "locked"> & { lastSeenAtMs?: number })[] = known.filter(
        ({ end }) => end === undefined || end === "silent",
      );
      // This host has no row while its first beat is still to come, or if it has no loop.
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
      // A beat that was only heard counts as long as it does for the sweeper: any page of the origin may have sent it.
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
