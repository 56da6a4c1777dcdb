import { HoldfastError } from "../../domain/errors.js";
import type { AgentRecord } from "../../domain/host/agent.js";
import { ROW_VERSION } from "../table.js";
import type { AgentRow, HostRow } from "./tables.js";

/**
 * An agent's state, computed on read from its own row and that of the host that beats for it:
 *
 *     any --register--> registered, one incarnation more
 *     registered --deregister, its host left--> deregistered
 *     registered --silence, its host crashed or was given up--> expired
 */
export interface AgentState {
  readonly registration: AgentRecord["registration"];
  readonly incarnation: number;
  readonly lastSeenAtMs: number;
  /** The others were told that this incarnation is over. */
  readonly isTold: boolean;
}

export interface Now {
  readonly nowMs: number;
  readonly staleAfterMs: number;
}

const ENDED_BY = { left: "deregistered", crashed: "expired", silent: "expired" } as const;

/** At the very millisecond of the threshold it is expired. */
export function stateOf(row: AgentRow, host: HostRow | undefined, { nowMs, staleAfterMs }: Now): AgentState {
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

/** Its host, where that beats for it. */
function vouchingFor(row: AgentRow, host: HostRow | undefined): HostRow | undefined {
  return row.bootId === undefined ? undefined : host;
}

function lastSeenOf(row: AgentRow, vouching: HostRow | undefined): number {
  return Math.max(row.lastSeenAtMs, vouching?.lastSeenAtMs ?? 0);
}

/** Each time that its host came back after it was given up, it is registered again without a write of its own. */
function incarnationOf(row: AgentRow, host: HostRow | undefined): number {
  return row.incarnation + (host ? (host.revivals ?? 0) - (row.revivals ?? 0) : 0);
}

export function recordOf(row: AgentRow, host: HostRow | undefined, now: Now): AgentRecord {
  const { agentId, registeredAtMs, hostId } = row;
  const { registration, incarnation, lastSeenAtMs } = stateOf(row, host, now);
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

export interface NewRegistration {
  readonly agentId: string;
  readonly ticket: string;
  /** Who beats for it, as its row will be. */
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

/** Never backwards, whatever the clock does. */
export function heard(row: AgentRow, nowMs: number): AgentRow {
  const lastSeenAtMs = Math.max(row.lastSeenAtMs, nowMs);
  return { ...row, lastSeenAtMs, ...(row.bootId === undefined && { loneSeenAtMs: lastSeenAtMs }) };
}

export function ended(row: AgentRow, host: HostRow | undefined, how: NonNullable<AgentRow["ended"]>, nowMs: number): AgentRow {
  const { bootId: _, loneSeenAtMs: __, revivals: ___, ...rest } = row;
  const vouching = vouchingFor(row, host);
  const stands = { incarnation: incarnationOf(row, vouching), lastSeenAtMs: lastSeenOf(row, vouching) };
  return { ...rest, ...stands, ended: how, endedAtMs: nowMs };
}

/** On its own from now on: it was heard later than its host. */
export function detached(row: AgentRow, host: HostRow): AgentRow {
  const { bootId: _, revivals: __, ...rest } = row;
  return { ...rest, incarnation: incarnationOf(row, host), loneSeenAtMs: row.lastSeenAtMs };
}

export function notRegistered(agentId: string): HoldfastError {
  return new HoldfastError("not-found", `agent "${agentId}" is not registered`, { details: { agentId } });
}
