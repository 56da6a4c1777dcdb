import { isTerminal } from "../../domain/session/input.js";
import type { AgentRow, HostRow, LeaseRow } from "../../stores/host/tables.js";
import type { ProcessRow } from "../../stores/process/tables.js";
import type { InputRow } from "../../stores/session/inputs/tables.js";
import type { RuntimeRow } from "../../stores/session/tables.js";
import type { ObservedRows } from "../machine/rows.js";

/** What is looked at beside the rows. */
export interface BesideRows {
  readonly nowMs: number;
  readonly staleAfterMs: number;
  /** Calls whose callers still wait for them. */
  readonly waiting: readonly string[];
  /** The life whose app has a registration of the agent. */
  keeperOf(agentId: string): { readonly name: string } | undefined;
}

/** What has not finished yet, in the order in which it is looked at. */
export function unfinished(rows: ObservedRows, beside: BesideRows): string[] {
  const open: string[] = [];
  for (const { processId, state } of rows.all<ProcessRow>("processes"))
    if (state === "running") open.push(`process ${processId} runs`);
  for (const { inputId, record } of rows.all<InputRow>("inputs"))
    if (!isTerminal(record.currentState)) open.push(`input ${inputId} is ${record.currentState}`);
  for (const { runtimeId, run } of rows.all<RuntimeRow>("runtimes")) if (run) open.push(`${runtimeId} is in run ${run.runId}`);
  for (const { resource, leaseToken } of rows.all<LeaseRow>("leases")) if (leaseToken) open.push(`${resource} is leased`);
  open.push(...beside.waiting);
  for (const agent of rows.all<AgentRow>("agents")) open.push(...troubleOf(agent, rows, beside));
  return open;
}

/** An agent is online where an app has it, and nowhere else. */
function troubleOf(agent: AgentRow, rows: ObservedRows, { nowMs, staleAfterMs, keeperOf }: BesideRows): string[] {
  const { agentId, bootId, ended } = agent;
  const host = bootId === undefined ? undefined : rows.get<HostRow>("hosts", bootId);
  const lastSeenAtMs = Math.max(agent.lastSeenAtMs, host?.lastSeenAtMs ?? 0);
  const isOnline = ended === undefined && host?.end === undefined && nowMs - lastSeenAtMs < staleAfterMs;
  const keeper = keeperOf(agentId);
  if (keeper && !isOnline) return [`agent ${agentId} of ${keeper.name} is offline`];
  if (!keeper && isOnline) return [`agent ${agentId} is online, and no app has it`];
  return [];
}
