import { accept, type Command, refuse } from "../../corridor/command.js";
import { HoldfastError } from "../../domain/errors.js";
import type { AgentRecord } from "../../domain/host/agent.js";
import type { Change } from "../../ports/notices.js";
import type { Reader, Write } from "../../ports/storage.js";
import { loadRow, readable } from "../schema.js";
import { agentChange, loadSeen, type SeenHost, seenChanges } from "./hosts.js";
import { moved, seen } from "./hosts.rules.js";
import type { Host } from "./leases.rules.js";
import { agentRecordOf, agentStateOf, endedAgent, heard, type Now, notRegistered, registered } from "./lifecycle.rules.js";
import type { AgentRow, HostRow } from "./tables.js";

interface StoredAgent {
  readonly row: AgentRow | undefined;
  /** The host that beats for it. */
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

interface RegisterAgent extends AgentRef {
  /** The same ticket under the same boot again changes nothing. */
  readonly ticket: string;
  /** The host that beats for it from now on. The registration counts as a beat of that host, too. */
  readonly host?: Host;
  /** The ticket of the registration to replace. Refused if the agent was registered or deregistered since. */
  readonly over?: string;
}

/** Registers an agent. The latest registration of an id counts. */
export const registerAgent: Command<RegisterAgent, StoredAgent & { own: SeenHost | undefined }, void> = {
  tables: ["agents", "hosts", "farewells"],
  async load(reader, { agentId, host }) {
    const [stored, own] = await Promise.all([loadAgent(reader, agentId), host && loadSeen(reader, host.bootId)]);
    return { ...stored, own };
  },
  decide({ row, host: before, own }, { agentId, ticket, host, over, staleAfterMs }, nowMs) {
    if (row?.ticket === ticket && row.bootId === host?.bootId && row.ended === undefined) return accept(undefined);
    if (over !== undefined && (row?.ticket !== over || row.ended === "deregistered")) return refuse(notRegistered(agentId));
    // The page is unloading. It comes back under another boot, or not at all.
    if (host && own?.isGone) return refuse(new HoldfastError("unavailable", `host "${host.bootId}" is gone`));
    const hostRow = host && seen(own?.row, host, nowMs);
    const put = registered(row, before, { agentId, ticket, host: hostRow }, nowMs);
    const writes: Write[] = [{ table: "agents", put }];
    if (hostRow) writes.push({ table: "hosts", put: hostRow });
    if (before && before.bootId !== host?.bootId) writes.push({ table: "hosts", put: moved(before) });
    const state = row && agentStateOf(row, before, { nowMs, staleAfterMs });
    const changes = own && host ? seenChanges(own, host.bootId).filter(({ id }) => id !== agentId) : [];
    // The agent was silent for too long, and listeners were not told yet.
    if (state?.registration === "expired" && !state.isTold) changes.push(agentChange(agentId, "offline"));
    changes.push(agentChange(agentId, state?.registration === "registered" ? "moved" : "online"));
    return accept(undefined, writes, changes);
  },
  repeatable: () => true,
};

/** An agent that is not online is refused: it must register again. */
export const heartbeatAgent: Command<AgentRef, StoredAgent, void> = {
  tables: ["agents", "hosts"],
  load: (reader, { agentId }) => loadAgent(reader, agentId),
  decide({ row, host }, { agentId, staleAfterMs }, nowMs) {
    if (!row || agentStateOf(row, host, { nowMs, staleAfterMs }).registration !== "registered")
      return refuse(notRegistered(agentId));
    return accept(undefined, [{ table: "agents", put: heard(row, nowMs) }]);
  },
  repeatable: () => true,
  durability: "relaxed",
};

/** A given ticket limits this to its own registration. */
export const deregisterAgent: Command<AgentRef & { ticket?: string }, StoredAgent, void> = {
  tables: ["agents", "hosts"],
  load: (reader, { agentId }) => loadAgent(reader, agentId),
  decide({ row, host }, { agentId, ticket, staleAfterMs }, nowMs) {
    if (!row || row.ended === "deregistered" || (ticket !== undefined && row.ticket !== ticket)) return accept(undefined);
    const writes: Write[] = [{ table: "agents", put: endedAgent(row, host, "deregistered", nowMs) }];
    // With a ticket, the caller is the agent's own host, which needs no hint.
    if (host && ticket === undefined) writes.push({ table: "hosts", put: moved(host) });
    const { isTold } = agentStateOf(row, host, { nowMs, staleAfterMs });
    const changes: Change[] = isTold ? [] : [agentChange(agentId, "offline")];
    return accept(undefined, writes, changes);
  },
  repeatable: () => true,
};

/** The clock is read after the rows were read. */
export async function readAgent(reader: Reader, agentId: string, now: () => Now): Promise<AgentRecord | undefined> {
  const { row, host } = await loadAgent(reader, agentId);
  return row && agentRecordOf(row, host, now());
}

/** All agents, in the order of their ids. */
export async function listAgents(reader: Reader, now: () => Now): Promise<AgentRecord[]> {
  const [agents, hosts] = await Promise.all([reader.range("agents", {}), reader.range("hosts", {})]);
  const byBoot = new Map(readable("hosts", hosts).map((host) => [host.bootId, host]));
  const at = now();
  return readable("agents", agents).map((row) =>
    agentRecordOf(row, row.bootId === undefined ? undefined : byBoot.get(row.bootId), at),
  );
}
