import type { Corridor } from "../../corridor/command.js";
import { checkId, checkOneOf, optionsOf } from "../../domain/check.js";
import type { AgentRecord } from "../../domain/host/agent.js";
import type { Limits, Timings } from "../../domain/time.js";
import { deregisterAgent, heartbeatAgent, listAgents, readAgent, registerAgent } from "../../stores/host/lifecycle.js";
import type { LivenessStore } from "../../stores/host/liveness.js";

/** The agents that should be there. Their rows are the authority; every call also tells the liveness store, whose errors are ignored. */
export interface LifecycleStore {
  /** Registers the agent, seen now: one incarnation more if it was known before. Rejects `invalid` for a broken id. */
  register(agentId: string): Promise<void>;
  /** The agent is seen now; its time never goes back. Rejects `not-found` if it is unknown, deregistered or expired: it registers again. */
  heartbeat(agentId: string): Promise<void>;
  /** The agent ends in order. Resolves for an unknown agent, too, and the second time. */
  deregister(agentId: string): Promise<void>;
  /** The agent as it is at this moment: silence of `timings.staleAfterMs` is computed, not waited for. */
  get(agentId: string): Promise<AgentRecord | undefined>;
  /** All agents that were ever registered, or those of one status; ordered by agent id. */
  list(filter?: { status?: "online" | "offline" }): Promise<AgentRecord[]>;
}

export function lifecycleMethods(parts: {
  corridor: Corridor;
  liveness: LivenessStore;
  limits: Limits;
  timings: Timings;
  newNonce(): string;
}): LifecycleStore {
  const { corridor, liveness } = parts;
  const { staleAfterMs, livenessTtlMs } = parts.timings;
  const idOf = (agentId: unknown) => checkId("agentId", agentId, parts.limits.idLength);
  const touch = (agentId: string) => liveness.touch(agentId, livenessTtlMs).catch(() => undefined);
  return {
    async register(agentId) {
      const id = idOf(agentId);
      await corridor.run(registerAgent, { agentId: id, ticket: parts.newNonce(), staleAfterMs });
      await touch(id);
    },
    async heartbeat(agentId) {
      const id = idOf(agentId);
      await corridor.run(heartbeatAgent, { agentId: id, staleAfterMs });
      await touch(id);
    },
    async deregister(agentId) {
      const id = idOf(agentId);
      await corridor.run(deregisterAgent, { agentId: id, staleAfterMs });
      await liveness.forget(id);
    },
    async get(agentId) {
      const id = idOf(agentId);
      return await corridor.query(["agents", "hosts"], (reader, now) =>
        readAgent(reader, id, () => ({ nowMs: now(), staleAfterMs })),
      );
    },
    async list(filter = {}) {
      const { status } = optionsOf("list", filter, ["status"], "filter");
      const wanted = status === undefined ? undefined : checkOneOf("filter.status", status, ["online", "offline"]);
      const all = await corridor.query(["agents", "hosts"], (reader, now) =>
        listAgents(reader, () => ({ nowMs: now(), staleAfterMs })),
      );
      return wanted === undefined ? all : all.filter((agent) => agent.status === wanted);
    },
  };
}
