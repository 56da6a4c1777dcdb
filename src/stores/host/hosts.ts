import { accept, type Command } from "../../corridor/command.js";
import type { Change } from "../../ports/notices.js";
import type { Reader, Row, Write } from "../../ports/storage.js";
import { loadRow, readable } from "../schema.js";
import { ROW_VERSION } from "../table.js";
import { over } from "./hosts.rules.js";
import { type HeldLeaseRow, isLive, leaseChange, placeChange, released } from "./leases.rules.js";
import type { AgentRow, HostRow, LeaseRow } from "./tables.js";

/** Whether the boot left a farewell that no host has acted on yet. */
export async function saidFarewell(reader: Reader, bootId: string | undefined): Promise<boolean> {
  return bootId !== undefined && (await reader.get("farewells", bootId)) !== undefined;
}

/** The lease on a resource, while its owner counts as alive by what is stored. An unreadable lease counts as none. */
export async function loadOwner(reader: Reader, resource: string, now: () => number): Promise<HeldLeaseRow | undefined> {
  const row = await reader.get("leases", resource);
  const [lease] = readable("leases", row ? [row] : []);
  const hasLeft = await saidFarewell(reader, lease?.bootId);
  return !hasLeft && isLive(lease, now()) ? lease : undefined;
}

export async function loadAgentsOf(reader: Reader, bootId: string): Promise<AgentRow[]> {
  return readable("agents", await reader.range("agents", { index: "byBoot", prefix: [bootId] }));
}

/** A host that beats, with its agents if listeners must be told that they are online again. */
export interface SeenHost {
  readonly row: HostRow | undefined;
  /** Whether this boot has left for good. */
  readonly isGone: boolean;
  readonly agents: readonly AgentRow[];
}

export async function loadSeen(reader: Reader, bootId: string): Promise<SeenHost> {
  const [row, farewell] = await Promise.all([loadRow(reader, "hosts", bootId), saidFarewell(reader, bootId)]);
  const isGone = farewell || row?.end === "left";
  return { row, isGone, agents: row?.end === undefined || isGone ? [] : await loadAgentsOf(reader, bootId) };
}

/** The changes that a beat causes: the host is new, or it was given up and its agents are online again. */
export function seenChanges({ row, agents }: SeenHost, bootId: string): Change[] {
  if (!row) return [{ about: "boot", id: bootId }];
  return agents.map(({ agentId }) => agentChange(agentId, "online"));
}

/** The result of freeing a host. */
interface Freed {
  /** The resources whose leases it held. */
  readonly resources: string[];
  /** The agents that went offline with it. */
  readonly agents: string[];
}

/**
 * Frees what a host that is gone still holds. Its lease tokens are removed, so that writes of handlers that still run there are refused.
 * Its agents go offline. Only for a boot whose Web Lock is free, that left a farewell, or that is the caller itself.
 */
export const freeHost: Command<
  { bootId: string; self?: boolean; inOrder?: boolean },
  { leases: LeaseRow[]; attachments: Row[]; farewell: boolean; row: HostRow | undefined; agents: readonly AgentRow[] },
  Freed
> = {
  tables: ["leases", "hosts", "farewells", "attachments", "agents"],
  async load(reader, { bootId }) {
    const [leases, attachments, farewell, row, agents] = await Promise.all([
      reader.range("leases", { index: "byBoot", prefix: [bootId] }),
      reader.range("attachments", { index: "byBoot", prefix: [bootId] }),
      saidFarewell(reader, bootId),
      reader.get("hosts", bootId),
      loadAgentsOf(reader, bootId),
    ]);
    return { leases: readable("leases", leases), attachments, farewell, row: row && readable("hosts", [row])[0], agents };
  },
  decide({ leases, attachments, farewell, row, agents }, { bootId, self, inOrder }, nowMs) {
    const isInOrder = farewell || self === true || inOrder === true;
    const writes: Write[] = leases.map((lease) => ({ table: "leases", put: released(lease, isInOrder) }));
    for (const { runtimeId } of attachments) writes.push({ table: "attachments", drop: [String(runtimeId), bootId] });
    if (farewell) writes.push({ table: "farewells", drop: bootId });
    // The host's row is kept while an agent is read through it.
    if (row && agents.length === 0) writes.push({ table: "hosts", drop: bootId });
    else if (row && (row.end === undefined || row.end === "silent"))
      writes.push({ table: "hosts", put: over(row, isInOrder ? "left" : "crashed", nowMs) });
    const offline = row && row.end === undefined ? agents.map(({ agentId }) => agentId) : [];
    const resources = leases.map(({ resource }) => resource);
    return accept({ resources, agents: offline }, writes, [
      ...resources.map(leaseChange),
      ...leases.flatMap(placeChange),
      ...offline.map((agentId) => agentChange(agentId, "offline")),
    ]);
  },
  repeatable: () => true,
};

/**
 * The farewell of a page that unloads: one blind write, because an answer from the storage would come too late. Its leases count as
 * ended in order, and any host that reads the row frees them.
 */
export const bidFarewell: Command<{ hostId: string; bootId: string; atMs: number }, void, void> = {
  tables: ["farewells"],
  load: async () => undefined,
  decide: (_, { hostId, bootId, atMs }) =>
    accept(
      undefined,
      [{ table: "farewells", put: { v: ROW_VERSION, bootId, hostId, endedAtMs: atMs } }],
      [{ about: "host", id: bootId }],
    ),
  repeatable: () => true,
  durability: "relaxed",
};

export function agentChange(agentId: string, member: "online" | "offline" | "moved"): Change {
  return { about: "agent", id: agentId, member };
}
