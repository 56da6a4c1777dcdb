import { accept, type Command } from "../../corridor/command.js";
import type { Key, Reader, Write } from "../../ports/storage.js";
import { loadRow, type RowIn, readable } from "../schema.js";
import { firstOfEach } from "./first-of-each.js";
import { agentChange, loadAgentsOf, loadSeen, type SeenHost, seenChanges } from "./hosts.js";
import { isAhead, isSilent, over, type Silence, seen } from "./hosts.rules.js";
import type { Host } from "./leases.rules.js";
import { detached, endedAgent } from "./lifecycle.rules.js";
import type { AgentRow, HostRow, LeaseRow } from "./tables.js";

/** One beat of a host counts for all its agents. A beat that arrives after the host's farewell was under way before it, and changes nothing. */
export const beatHost: Command<{ host: Host }, SeenHost, { moves: number }> = {
  tables: ["hosts", "farewells", "agents"],
  load: (reader, { host }) => loadSeen(reader, host.bootId),
  decide(state, { host }, nowMs) {
    const reply = { moves: state.row?.moves ?? 0 };
    if (state.isGone) return accept(reply);
    return accept(reply, [{ table: "hosts", put: seen(state.row, host, nowMs) }], seenChanges(state, host.bootId));
  },
  repeatable: () => true,
  durability: "relaxed",
};

/** Gives up a silent host and its agents. Replies with the ids of the agents that went offline. */
export const expireHost: Command<
  { bootId: string; silence: Silence },
  { row: HostRow | undefined; agents: readonly AgentRow[] },
  string[]
> = {
  tables: ["hosts", "agents"],
  async load(reader, { bootId }) {
    const [row, agents] = await Promise.all([loadRow(reader, "hosts", bootId), loadAgentsOf(reader, bootId)]);
    return { row, agents };
  },
  decide({ row, agents }, { silence }, nowMs) {
    // The clock was set back since the sweep began: how long the host was silent is unknown.
    if (!row || row.end !== undefined || nowMs < silence.asOfMs) return accept([]);
    if (isAhead(row.lastSeenAtMs, silence)) return accept([], [{ table: "hosts", put: { ...row, lastSeenAtMs: nowMs } }]);
    if (!isSilent(row.lastSeenAtMs, silence)) return accept([]);
    // Agents that another caller touched lately, and not before the clock was set back.
    const isHeard = ({ lastSeenAtMs }: AgentRow) => !isSilent(lastSeenAtMs, silence) && !isAhead(lastSeenAtMs, silence);
    const heard = agents.filter(isHeard);
    const offline = agents.filter((agent) => !isHeard(agent)).map(({ agentId }) => agentId);
    return accept(
      offline,
      [
        { table: "hosts", put: over(row, "silent", nowMs) },
        ...heard.map((agent): Write => ({ table: "agents", put: detached(agent, row) })),
      ],
      offline.map((agentId) => agentChange(agentId, "offline")),
    );
  },
  repeatable: () => true,
  durability: "relaxed",
};

/** Drops the rows of hosts that have ended, unless an agent is still read through one. */
export const dropHosts: Command<{ bootIds: readonly string[] }, { row: HostRow | undefined; isNeeded: boolean }[], void> = {
  tables: ["hosts", "agents"],
  load: (reader, { bootIds }) =>
    Promise.all(
      bootIds.map(async (bootId) => {
        const query = { index: "byBoot", prefix: [bootId], limit: 1 };
        const [row, agents] = await Promise.all([loadRow(reader, "hosts", bootId), reader.range("agents", query)]);
        return { row, isNeeded: agents.length > 0 };
      }),
    ),
  decide: (states) =>
    accept(
      undefined,
      states.flatMap(({ row, isNeeded }) => (row?.end && !isNeeded ? [{ table: "hosts", drop: row.bootId }] : [])),
    ),
  repeatable: () => true,
  durability: "relaxed",
};

/** What a turn of the loop must know about the hosts. */
interface Holdings {
  /** The leases of this boot. */
  readonly own: LeaseRow[];
  /** Every boot that has a row, a lease or an attachment, and whether it holds a Web Lock. */
  readonly boots: ReadonlyMap<string, boolean>;
  /** Boots whose row has no end. */
  readonly present: readonly string[];
  readonly farewells: string[];
}

/**
 * Reads one row for each boot instead of all leases: the leases of a live host are not needed, and those of a dead host are read when it
 * is freed. Unreadable rows are left to a newer version.
 */
export async function readHoldings(reader: Reader, bootId: string): Promise<Holdings> {
  const [own, holders, attached, known, farewells] = await Promise.all([
    reader.range("leases", { index: "byBoot", prefix: [bootId] }),
    firstOfEach(reader, "leases", "byBoot"),
    firstOfEach(reader, "attachments", "byBoot"),
    reader.range("hosts", {}),
    reader.range("farewells", {}),
  ]);
  const hosts = readable("hosts", known);
  const boots = new Map<string, boolean>();
  for (const row of [...holders, ...attached, ...hosts]) {
    const boot = String(row.bootId);
    boots.set(boot, boots.get(boot) === true || row.locked === 1);
  }
  return {
    own: readable("leases", own),
    boots,
    present: hosts.flatMap((host) => (host.end === undefined ? [host.bootId] : [])),
    farewells: readable("farewells", farewells).map((row) => row.bootId),
  };
}

/** Expires silent agents that no host beats for. Replies with the ids of those that went offline. */
export const expireAgents: Command<{ agentIds: readonly string[]; silence: Silence }, (AgentRow | undefined)[], string[]> = {
  tables: ["agents"],
  load: (reader, { agentIds }) => Promise.all(agentIds.map((agentId) => loadRow(reader, "agents", agentId))),
  decide(rows, { silence }, nowMs) {
    const writes: Write[] = [];
    const offline: string[] = [];
    if (nowMs < silence.asOfMs) return accept(offline);
    for (const row of rows) {
      if (row?.loneSeenAtMs === undefined) continue;
      if (isAhead(row.loneSeenAtMs, silence))
        writes.push({ table: "agents", put: { ...row, lastSeenAtMs: nowMs, loneSeenAtMs: nowMs } });
      if (!isSilent(row.loneSeenAtMs, silence)) continue;
      writes.push({ table: "agents", put: endedAgent(row, undefined, "expired", nowMs) });
      offline.push(row.agentId);
    }
    return accept(
      offline,
      writes,
      offline.map((agentId) => agentChange(agentId, "offline")),
    );
  },
  repeatable: () => true,
  durability: "relaxed",
};

/** Agents that no host beats for and that were seen too long ago, or in the future. `after` is the last key of the previous page. */
export async function readDoubtfulAgents(
  reader: Reader,
  { asOfMs, staleAfterMs, aheadMs }: Silence,
  page: { after?: Key; limit: number },
): Promise<{ rows: AgentRow[]; last: Key | undefined }> {
  const { limit, after } = page;
  const [silent, ahead] = await Promise.all([
    // The tuple of the next millisecond is the first one that is not silent.
    reader.range("agents", {
      index: "lone",
      upTo: [asOfMs - staleAfterMs + 1, ""],
      limit,
      ...(after !== undefined && { after }),
    }),
    after === undefined ? reader.range("agents", { index: "lone", after: [asOfMs + aheadMs + 1, ""], limit }) : [],
  ]);
  const last = silent.length < limit ? undefined : silent.at(-1);
  return {
    rows: readable("agents", [...silent, ...ahead]),
    last: last && [Number(last.loneSeenAtMs), String(last.agentId)],
  };
}

/** Runs beside the renewal of the host's leases, so that one transaction carries both. */
export const renewAttachments: Command<{ host: Host; ttlMs: number }, RowIn<"attachments">[], void> = {
  tables: ["attachments"],
  load: async (reader, { host }) =>
    readable("attachments", await reader.range("attachments", { index: "byBoot", prefix: [host.bootId] })),
  decide: (rows, { host, ttlMs }, nowMs) =>
    accept(
      undefined,
      rows.map((row) => ({
        table: "attachments",
        put: { ...row, expiresAtMs: nowMs + ttlMs, ...(host.locked && { locked: 1 as const }) },
      })),
    ),
  repeatable: () => true,
  durability: "relaxed",
};
