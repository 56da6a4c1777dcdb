import { HoldfastError } from "../../domain/errors.js";
import type { AgentRecord } from "../../domain/host/agent.js";
import { ROW_VERSION } from "../table.js";
import type { AgentRow, HostRow } from "./tables.js";

/**
 * An agent's state is computed on read, from its own row and the row of the host that beats for it:
 *
 *     any --register--> registered, one incarnation more
 *     registered --deregister, its host left--> deregistered
 *     registered --silence, its host crashed or was given up--> expired
 */
interface AgentState {
  readonly registration: AgentRecord["registration"];
  readonly incarnation: number;
  readonly lastSeenAtMs: number;
  /** Whether listeners were told that this incarnation is over. */
  readonly isTold: boolean;
}

export interface Now {
  readonly nowMs: number;
  readonly staleAfterMs: number;
}

const ENDED_BY = { left: "deregistered", crashed: "expired", silent: "expired" } as const;

/** An agent is expired at the very millisecond of the threshold. */
export function agentStateOf(row: AgentRow, host: HostRow | undefined, { nowMs, staleAfterMs }: Now): AgentState {
  const vouching = vouchingFor(row, host);
  const lastSeenAtMs = lastSeenOf(row, vouching);
  const end = row.ended ?? (vouching?.end && ENDED_BY[vouching.end]);
  return {
    registration: end ?? (nowMs - lastSeenAtMs >= staleAfterMs ? "expired" : "registered"),
    incarnation: incarnationOf(row, vouching),
    lastSeenAtMs,
    isTold: end !== undefined,
  };
}

/** The host's row if that host beats for the agent. */
function vouchingFor(row: AgentRow, host: HostRow | undefined): HostRow | undefined {
  return row.bootId === undefined ? undefined : host;
}

function lastSeenOf(row: AgentRow, vouching: HostRow | undefined): number {
  return Math.max(row.lastSeenAtMs, vouching?.lastSeenAtMs ?? 0);
}

/** Each revival of its host registers the agent again, without a write to the agent's row. */
function incarnationOf(row: AgentRow, host: HostRow | undefined): number {
  return row.incarnation + (host ? (host.revivals ?? 0) - (row.revivals ?? 0) : 0);
}

export function agentRecordOf(row: AgentRow, host: HostRow | undefined, now: Now): AgentRecord {
  const { agentId, registeredAtMs, hostId } = row;
  const { registration, incarnation, lastSeenAtMs } = agentStateOf(row, host, now);
  return {
    agentId,
    status: registration === "registered" ? "online" : "offline",
    registration,
    incarnation,
    registeredAtMs,
    lastSeenAtMs,
    ...(hostId !== undefined && { hostId }),
  };
}

interface NewRegistration {
  readonly agentId: string;
  readonly ticket: string;
  /** The row that the host which beats for it will have. */
  readonly host: HostRow | undefined;
}

export function registered(
  row: AgentRow | undefined,
  before: HostRow | undefined,
  { agentId, ticket, host }: NewRegistration,
  nowMs: number,
): AgentRow {
  return {
    v: ROW_VERSION,
    agentId,
    incarnation: (row ? incarnationOf(row, before) : 0) + 1,
    registeredAtMs: row?.registeredAtMs ?? nowMs,
    lastSeenAtMs: nowMs,
    ticket,
    ...(host
      ? { hostId: host.hostId, bootId: host.bootId, ...(host.revivals !== undefined && { revivals: host.revivals }) }
      : { loneSeenAtMs: nowMs }),
  };
}

/** The row after a heartbeat. The time never goes back, whatever the clock does. */
export function heard(row: AgentRow, nowMs: number): AgentRow {
  const lastSeenAtMs = Math.max(row.lastSeenAtMs, nowMs);
  return { ...row, lastSeenAtMs, ...(row.bootId === undefined && { loneSeenAtMs: lastSeenAtMs }) };
}

export function endedAgent(
  row: AgentRow,
  host: HostRow | undefined,
  how: NonNullable<AgentRow["ended"]>,
  nowMs: number,
): AgentRow {
  const { bootId: _, loneSeenAtMs: __, revivals: ___, ...rest } = row;
  const vouching = vouchingFor(row, host);
  const stands = { incarnation: incarnationOf(row, vouching), lastSeenAtMs: lastSeenOf(row, vouching) };
  return { ...rest, ...stands, ended: how, endedAtMs: nowMs };
}

/** The row of an agent that no host beats for any more, because it was heard later than its host. */
export function detached(row: AgentRow, host: HostRow): AgentRow {
  const { bootId: _, revivals: __, ...rest } = row;
  return { ...rest, incarnation: incarnationOf(row, host), loneSeenAtMs: row.lastSeenAtMs };
}

export function notRegistered(agentId: string): HoldfastError {
  return new HoldfastError("not-found", `agent "${agentId}" is not registered`, { details: { agentId } });
}
