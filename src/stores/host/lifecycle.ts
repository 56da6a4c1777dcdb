import { accept, type Command, refuse } from "../../corridor/command.js";
import { HoldfastError } from "../../domain/errors.js";
import type { AgentRecord } from "../../domain/host/agent.js";
import type { Change } from "../../ports/notices.js";
import type { Reader, Write } from "../../ports/storage.js";
import { loadRow, readable } from "../schema.js";
import { agentChange, loadSeen, type SeenHost, seenChanges } from "./hosts.js";
import { moved, seen } from "./hosts.rules.js";
import type { Host } from "./leases.rules.js";
import { ended, heard, type Now, notRegistered, recordOf, registered, stateOf } from "./lifecycle.rules.js";
import type { AgentRow, HostRow } from "./tables.js";

interface StoredAgent {
  readonly row: AgentRow | undefined;
  /** Who beats for it. */
  readonly host: HostRow | undefined;
}

async function loadAgent(reader: Reader, agentId: string): Promise<StoredAgent> {
  const row = await loadRow(reader, "agents", agentId);
  return { row, host: row?.bootId === undefined ? undefined : await loadRow(reader, "hosts", row.bootId) };
}

interface AgentRef {
  readonly agentId: string;
  readonly staleAfterMs: number;
}

export interface RegisterAgent extends AgentRef {
  /** The same one under the same boot again changes nothing. */
  readonly ticket: string;
  /** That beats for it from now on; it is seen by this, too. */
  readonly host?: Host;
  /** Only over exactly this registration: nobody has registered or deregistered it since. */
  readonly over?: string;
}

/** The later registration of an id is the one that counts. */
export const registerAgent: Command<RegisterAgent, StoredAgent & { own: SeenHost | undefined }, void> = {
  tables: ["agents", "hosts", "farewells"],
  async load(reader, { agentId, host }) {
    const [stored, own] = await Promise.all([loadAgent(reader, agentId), host && loadSeen(reader, host.bootId)]);
    return { ...stored, own };
  },
  decide({ row, host: before, own }, { agentId, ticket, host, over, staleAfterMs }, nowMs) {
    if (row?.ticket === ticket && row.bootId === host?.bootId && row.ended === undefined) return accept(undefined);
    if (over !== undefined && (row?.ticket !== over || row.ended === "deregistered")) return refuse(notRegistered(agentId));
    // A page on its way out: it comes back under another boot, or not at all.
    if (host && own?.isGone) return refuse(new HoldfastError("unavailable", `host "${host.bootId}" is gone`));
    const hostRow = host && seen(own?.row, host, nowMs);
    const put = registered(row, before, { agentId, ticket, host: hostRow }, nowMs);
    const writes: Write[] = [{ table: "agents", put }];
    if (hostRow) writes.push({ table: "hosts", put: hostRow });
    if (before && before.bootId !== host?.bootId) writes.push({ table: "hosts", put: moved(before) });
    const state = row && stateOf(row, before, { nowMs, staleAfterMs });
    const changes = own && host ? seenChanges(own, host.bootId).filter(({ id }) => id !== agentId) : [];
    // Silent for too long, and nobody had said so yet.
    if (state?.registration === "expired" && !state.isTold) changes.push(agentChange(agentId, "offline"));
    changes.push(agentChange(agentId, state?.registration === "registered" ? "moved" : "online"));
    return accept(undefined, writes, changes);
  },
  repeatable: () => true,
};

/** Raises nobody from the dead: who is not online must register. */
export const heartbeatAgent: Command<AgentRef, StoredAgent, void> = {
  tables: ["agents", "hosts"],
  load: (reader, { agentId }) => loadAgent(reader, agentId),
  decide({ row, host }, { agentId, staleAfterMs }, nowMs) {
    if (!row || stateOf(row, host, { nowMs, staleAfterMs }).registration !== "registered") return refuse(notRegistered(agentId));
    return accept(undefined, [{ table: "agents", put: heard(row, nowMs) }]);
  },
  repeatable: () => true,
  durability: "relaxed",
};

/** Where a ticket is given, only the registration that it stands for. */
export const deregisterAgent: Command<AgentRef & { ticket?: string }, StoredAgent, void> = {
  tables: ["agents", "hosts"],
  load: (reader, { agentId }) => loadAgent(reader, agentId),
  decide({ row, host }, { agentId, ticket, staleAfterMs }, nowMs) {
    if (!row || row.ended === "deregistered" || (ticket !== undefined && row.ticket !== ticket)) return accept(undefined);
    const writes: Write[] = [{ table: "agents", put: ended(row, host, "deregistered", nowMs) }];
    // Its own host knows what it does.
    if (host && ticket === undefined) writes.push({ table: "hosts", put: moved(host) });
    const { isTold } = stateOf(row, host, { nowMs, staleAfterMs });
    const changes: Change[] = isTold ? [] : [agentChange(agentId, "offline")];
    return accept(undefined, writes, changes);
  },
  repeatable: () => true,
};

/** The time is asked for when the rows are there. */
export async function readAgent(reader: Reader, agentId: string, now: () => Now): Promise<AgentRecord | undefined> {
  const { row, host } = await loadAgent(reader, agentId);
  return row && recordOf(row, host, now());
}

/** By agent id. */
export async function listAgents(reader: Reader, now: () => Now): Promise<AgentRecord[]> {
  const [agents, hosts] = await Promise.all([reader.range("agents", {}), reader.range("hosts", {})]);
  const byBoot = new Map(readable("hosts", hosts).map((host) => [host.bootId, host]));
  const at = now();
  return readable("agents", agents).map((row) =>
    recordOf(row, row.bootId === undefined ? undefined : byBoot.get(row.bootId), at),
  );
}
