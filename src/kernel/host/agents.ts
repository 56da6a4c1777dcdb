import type { Corridor } from "../../corridor/command.js";
import { checkId, optionsOf } from "../../domain/check.js";
import { type ErrorCode, HoldfastError, isHoldfastError } from "../../domain/errors.js";
import type { Limits, Timings } from "../../domain/time.js";
import type { Notices } from "../../ports/notices.js";
import { loadAgentsOf } from "../../stores/host/hosts.js";
import type { Host } from "../../stores/host/leases.rules.js";
import { deregisterAgent, registerAgent } from "../../stores/host/lifecycle.js";
import { readable } from "../../stores/schema.js";
import { disposable } from "./disposable.js";
import { type LifecycleStore, lifecycleMethods } from "./lifecycle.js";
import type { Presence } from "./presence.js";

export { listHosts } from "./host-list.js";

/** An agent that this host beats for, until it is closed. Closing deregisters it, unless another registration replaced it. */
export interface AgentRegistration extends AsyncDisposable {
  readonly agentId: string;
  /** Aborts when another registration replaced this one, or the agent was deregistered; its reason is a HoldfastError. */
  readonly signal: AbortSignal;
  /** Deregisters the agent, as disposing does. Idempotent. */
  close(): Promise<void>;
}

/** The agents of this page. Their host's one row beats for all of them; the page has to know only which are still its own. */
export interface Agents {
  register(agentId: string): Promise<AgentRegistration>;
  readonly isEmpty: boolean;
  /** How many of its agents the host is known to have lost to others. */
  readonly moves: number;
  /** The host's row says that agents went to others, or were deregistered. */
  learnMoves(moves: number): Promise<void>;
  /** Called for a new boot, and when the page was away: agents that no other host took are registered again. */
  review(): Promise<void>;
  readonly lifecycle: LifecycleStore;
  /** Waits for what is under way; registers nothing more. */
  close(): Promise<void>;
}

interface AgentsParts {
  readonly corridor: Corridor;
  readonly presence: Presence;
  readonly notices: Notices;
  readonly limits: Limits;
  readonly timings: Timings;
  host(): Host;
  newNonce(): string;
  fault(error: unknown): void;
}

interface Own {
  readonly agentId: string;
  readonly ticket: string;
  readonly ending: AbortController;
}

export function createAgents(parts: AgentsParts): Agents {
  const { corridor, presence, limits } = parts;
  const { staleAfterMs } = parts.timings;
  const own = new Map<string, Own>();
  const underway = new Set<Promise<unknown>>();
  let moves = 0;
  let closed = false;
  let reviewing: Promise<void> | undefined;
  let again = false;

  /** Registers the agent under the current boot; if that ends meanwhile, under the next one. */
  async function enroll(agentId: string, ticket: string, over?: string): Promise<void> {
    for (;;) {
      const host = parts.host();
      const isCurrent = () => parts.host().bootId === host.bootId;
      try {
        await corridor.run(registerAgent, { agentId, ticket, host, staleAfterMs, ...(over !== undefined && { over }) });
        if (isCurrent()) return presence.join(host.bootId, [agentId]);
      } catch (error) {
        if (isCurrent()) throw error;
      }
    }
  }

  async function register(agentId: string, options: unknown = {}): Promise<AgentRegistration> {
    const id = checkId("agentId", agentId, limits.idLength);
    optionsOf("agent", options, []);
    if (closed) throw new HoldfastError("closed", "the kernel is closed");
    const ticket = parts.newNonce();
    await track(enroll(id, ticket));
    const made: Own = { agentId: id, ticket, ending: new AbortController() };
    const before = own.get(id);
    own.set(id, made);
    if (before) end(before, "conflict", "was registered once more");
    const leave = async () => {
      if (own.get(id) !== made) return;
      own.delete(id);
      presence.leave(parts.host().bootId, id);
      if (!closed) await track(corridor.run(deregisterAgent, { agentId: id, ticket: made.ticket, staleAfterMs }));
    };
    let leaving: Promise<void> | undefined;
    const close = () => {
      leaving ??= leave();
      return leaving;
    };
    return disposable({ agentId: id, signal: made.ending.signal, close }, close);
  }

  function end(gone: Own, code: ErrorCode, what: string): void {
    if (own.get(gone.agentId) === gone) {
      own.delete(gone.agentId);
      presence.leave(parts.host().bootId, gone.agentId);
    }
    gone.ending.abort(new HoldfastError(code, `agent "${gone.agentId}" ${what}`));
  }

  /** Reviews run one at a time; all calls during one ask for one more. */
  function review(): Promise<void> {
    if (closed) return Promise.resolve();
    again = true;
    reviewing ??= reviewAll();
    return reviewing;
  }

  async function reviewAll(): Promise<void> {
    while (again && !closed) {
      again = false;
      await lookAfter().catch(parts.fault);
    }
    reviewing = undefined;
  }

  async function lookAfter(): Promise<void> {
    if (own.size === 0 || closed) return;
    const { bootId } = parts.host();
    const mine = [...own.values()];
    const [ours, rest] = await corridor.query(["agents"], async (reader) => {
      const enrolled = new Map((await loadAgentsOf(reader, bootId)).map(({ agentId, ticket }) => [agentId, ticket]));
      const missing = mine.filter(({ agentId, ticket }) => enrolled.get(agentId) !== ticket);
      const rows = await Promise.all(missing.map(({ agentId }) => reader.get("agents", agentId)));
      return [
        enrolled,
        readable(
          "agents",
          rows.filter((row) => row !== undefined),
        ),
      ];
    });
    const rows = new Map(rest.map((row) => [row.agentId, row]));
    await Promise.all(
      mine.map(async (one) => {
        if (ours.get(one.agentId) === one.ticket || own.get(one.agentId) !== one) return;
        const row = rows.get(one.agentId);
        if (!row || row.ended === "deregistered") return end(one, "not-found", "was deregistered: it is not registered any more");
        if (row.ticket !== one.ticket) return end(one, "conflict", "was registered elsewhere");
        // No other registration took the agent: only its host is another now, or was silent for too long.
        await enroll(one.agentId, one.ticket, one.ticket).catch((error: unknown) => {
          // The agent was taken in this moment: the next look finds its new owner.
          if (!isHoldfastError(error) || error.code !== "not-found") throw error;
          again = true;
        });
      }),
    );
  }

  function track<T>(work: Promise<T>): Promise<T> {
    underway.add(work);
    void work.catch(() => undefined).finally(() => underway.delete(work));
    return work;
  }

  const unsubscribe = parts.notices.subscribe((changes) => {
    if (changes.some(({ about, id }) => about === "agent" && own.has(id))) void review();
  });

  return {
    register,
    lifecycle: lifecycleMethods({ ...parts, liveness: presence.store }),
    get isEmpty() {
      return own.size === 0;
    },
    get moves() {
      return moves;
    },
    async learnMoves(heard) {
      moves = heard;
      await review();
    },
    review,
    async close() {
      closed = true;
      unsubscribe();
      await Promise.allSettled(underway);
    },
  };
}
