import type { Corridor } from "../corridor/command.js";
import type { Timings } from "../domain/time.js";
import type { Pulse } from "../kernel/host/loop-contract.js";
import type { Presence } from "../kernel/host/presence.js";
import type { Clock } from "../ports/clock.js";
import type { Locks } from "../ports/locks.js";
import { readHoldings } from "../stores/host/beats.js";
import { freeHost } from "../stores/host/hosts.js";
import type { LeaseRow } from "../stores/host/tables.js";
import { loadRow } from "../stores/schema.js";
import { watchHosts } from "./host-watch.js";

/** The other hosts: which of them live, and the leases of those that are dead. */
export interface Neighbours {
  /** There are other hosts, as far as notices and rows tell. */
  readonly areThere: boolean;
  /** A host has come: its lock is watched from the next turn on, not only from the next sweep. */
  came(bootId: string): void;
  /** A host says farewell. A page that goes into the back/forward cache can say so, but its farewell row comes too late. */
  saidFarewell(bootId: string): void;
  /** All farewells that the page has heard, also those that it told before. */
  passedOn(bootIds: readonly string[]): void;
  /** True while the lock of the lease's host is held, as far as is known; begins to watch it. */
  isAlive(lease: Pick<LeaseRow, "bootId" | "locked">, pulse: Pulse): boolean;
  watchNew(pulse: Pulse): Promise<void>;
  /** Frees what dead hosts held. */
  freeDead(): Promise<void>;
  /** Reads which hosts are there, and frees what hosts held that left a farewell. Resolves with the leases of this host. */
  survey(pulse: Pulse): Promise<readonly LeaseRow[]>;
  /** When the leases of the next dead host are to be freed, in monotonic time. */
  nextMs(): number;
  /** Agents that went offline with their hosts since this was last asked. */
  takeOffline(): string[];
  close(): void;
}

interface NeighboursParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly locks: Locks | undefined;
  readonly timings: Timings;
  readonly databaseId: string;
  readonly presence: Presence;
  /** How long a page's farewell may still come after its lock fell free. */
  readonly farewellMs: number;
  onDeath(): void;
  /** Processes and sessions whose leases were freed. */
  onFreed(resources: readonly string[]): void;
  onFault(error: unknown): void;
}

export function createNeighbours(parts: NeighboursParts): Neighbours {
  const { corridor, clock } = parts;
  /** When hosts said farewell, by boot id. */
  const farewells = new Map<string, number>();
  /** When the locks of hosts fell free, by boot id. */
  const deaths = new Map<string, number>();
  const newcomers = new Set<string>();
  const agentsOffline: string[] = [];
  const watch = watchHosts(parts);
  let areThere = false;

  function isAlive({ bootId, locked }: Pick<LeaseRow, "bootId" | "locked">, pulse: Pulse): boolean {
    return locked === 1 && bootId !== undefined && bootId !== pulse.host.bootId && watch.isAlive(bootId);
  }

  async function free(bootId: string, inOrder?: boolean): Promise<void> {
    const { resources, agents } = await corridor.run(freeHost, { bootId, ...(inOrder && { inOrder }) });
    parts.onFreed(resources);
    agentsOffline.push(...agents);
    // These agents are dead, whatever other tabs have in memory.
    if (agents.length > 0) parts.presence.forget(agents);
  }

  return {
    get areThere() {
      return areThere;
    },
    came: (bootId) => void newcomers.add(bootId),
    saidFarewell: (bootId) => void farewells.set(bootId, clock.monotonicMs()),
    passedOn(bootIds) {
      for (const bootId of bootIds) if (!farewells.has(bootId)) farewells.set(bootId, clock.monotonicMs());
    },
    isAlive,
    async watchNew(pulse) {
      if (newcomers.size === 0) return;
      const bootIds = [...newcomers];
      newcomers.clear();
      const rows = await corridor.query(["hosts"], (reader) =>
        Promise.all(bootIds.map((bootId) => loadRow(reader, "hosts", bootId))),
      );
      for (const row of rows) {
        if (!row || row.end !== undefined) continue;
        isAlive(row, pulse);
        areThere ||= row.bootId !== pulse.host.bootId;
      }
    },
    async freeDead() {
      for (const bootId of watch.dead) {
        const sinceMs = deaths.get(bootId) ?? clock.monotonicMs();
        deaths.set(bootId, sinceMs);
        // An old farewell does not count: the host lived on, or another script of the origin sent it.
        const inOrder = sinceMs - (farewells.get(bootId) ?? Number.NEGATIVE_INFINITY) < parts.timings.leaseRenewMs;
        if (!inOrder && clock.monotonicMs() < sinceMs + parts.farewellMs) continue;
        deaths.delete(bootId);
        farewells.delete(bootId);
        await free(bootId, inOrder);
        watch.forget(bootId);
      }
    },
    async survey({ host: { bootId: own } }) {
      const tables = ["leases", "attachments", "hosts", "farewells"];
      const found = await corridor.query(tables, (reader) => readHoldings(reader, own));
      watch.only(new Set([...found.boots].flatMap(([bootId, locked]) => (locked && bootId !== own ? [bootId] : []))));
      areThere = found.present.some((bootId) => bootId !== own);
      for (const bootId of farewells.keys()) if (!found.boots.has(bootId)) farewells.delete(bootId);
      for (const bootId of found.farewells) if (bootId !== own) await free(bootId);
      return found.own;
    },
    nextMs() {
      let soonest = Number.POSITIVE_INFINITY;
      for (const sinceMs of deaths.values()) soonest = Math.min(soonest, sinceMs + parts.farewellMs);
      return soonest;
    },
    takeOffline: () => agentsOffline.splice(0),
    close: watch.close,
  };
}
