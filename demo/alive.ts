// Liveness: the hosts and the agents that the kernel knows, and the agents of this tab.
import { type AgentRecord, type AgentRegistration, type HostRecord, isHoldfastError, type Kernel } from "holdfast";
import { type Tab, tabOf } from "./identity.js";
import { oneAtATime } from "./one-at-a-time.js";
import { whenMoving, whileMoving } from "./stillness.js";

export interface Alive {
  readonly hosts: readonly HostRecord[];
  /** Agents of all tabs, by id. */
  readonly agents: readonly AgentRecord[];
  /** Count of this tab's agents. */
  readonly own: number;
  add(count: number): Promise<void>;
  /** Registers the agents that this tab had before it was reloaded. */
  restore(): Promise<void>;
  /** Disposes of all of this tab's agents. */
  letGo(): Promise<void>;
}

/** A tab with a kernel. */
export interface Present {
  readonly tab: Tab;
  readonly self: boolean;
  /** The time without a beat, in milliseconds; 0 for a tab that is alive. */
  readonly silentMs: number;
}

export interface AliveParts {
  readonly kernel: Kernel;
  readonly tab: Tab;
  changed(): void;
  failed(error: unknown): void;
  readonly signal: AbortSignal;
}

const keptKey = "holdfast-playground:agents";
/** A slow read, for changes of agents that no event reported. */
const agentsEveryMs = 10_000;
/** A thousand events lead to one read. */
const gatherMs = 200;
const atOnce = 50;

/** This tab first. A tab that was reloaded may be there twice for a moment: its new kernel counts. */
export function presentIn(hosts: readonly HostRecord[], now: number): Present[] {
  const byId = new Map<string, Present>();
  for (const { hostId, self, alive, lastSeenAtMs } of hosts) {
    const tab = tabOf(hostId);
    if (tab && byId.get(hostId)?.silentMs !== 0)
      byId.set(hostId, { tab, self, silentMs: alive ? 0 : Math.max(1, now - lastSeenAtMs) });
  }
  return [...byId.values()].sort((a, b) => Number(b.self) - Number(a.self));
}

export function forgetAgents(): void {
  sessionStorage.removeItem(keptKey);
}

export function followAlive({ kernel, tab, changed, failed, signal }: AliveParts): Alive {
  const own = new Map<string, AgentRegistration>();
  const hosts = kernel.views.hosts();
  let agents: AgentRecord[] = [];

  const readAgents = oneAtATime(async () => {
    if (signal.aborted) return;
    try {
      agents = await kernel.lifecycle.list();
      changed();
    } catch (error) {
      const code = isHoldfastError(error) ? error.code : undefined;
      if (!signal.aborted && code !== "closed" && code !== "aborted") failed(error);
    }
  });
  let gathering: number | undefined;
  const gather = () => {
    gathering ??= window.setTimeout(() => {
      gathering = undefined;
      readAgents();
    }, gatherMs);
  };
  whileMoving(() => {
    readAgents();
    const timer = setInterval(readAgents, agentsEveryMs);
    const offs = [hosts.subscribe(changed), kernel.on("agentOnline", gather), kernel.on("agentOffline", gather)];
    return () => {
      for (const off of offs) off();
      clearInterval(timer);
      clearTimeout(gathering);
      gathering = undefined;
    };
  }, signal);

  const mine = () => [...own].filter(([, registration]) => !registration.signal.aborted);
  const keep = (ids: readonly string[] = []) => {
    const all = new Set([...mine().map(([id]) => id), ...ids]);
    sessionStorage.setItem(keptKey, JSON.stringify([...all]));
  };

  async function inTurn<T>(all: readonly T[], run: (one: T) => Promise<void>): Promise<void> {
    try {
      for (let at = 0; at < all.length; at += atOnce) {
        await whenMoving();
        await Promise.all(all.slice(at, at + atOnce).map(run));
      }
    } finally {
      // The stored list stays after a close: these agents come back with the kernel.
      if (!signal.aborted) keep();
      gather();
    }
  }

  /** The list is stored first: after a reload in the middle, all of them are registered. */
  function register(ids: readonly string[]): Promise<void> {
    keep(ids);
    return inTurn(ids, async (id) => void own.set(id, await kernel.agent(id)));
  }

  return {
    get hosts() {
      return hosts.get();
    },
    get agents() {
      return agents;
    },
    get own() {
      return mine().length;
    },
    add(count) {
      const ids: string[] = [];
      const taken = new Set(mine().map(([id]) => id));
      for (let n = 1; ids.length < count; n++) {
        const id = `${tab.hostId}/${n}`;
        if (!taken.has(id)) ids.push(id);
      }
      return register(ids);
    },
    restore() {
      const kept: string[] = JSON.parse(sessionStorage.getItem(keptKey) ?? "[]");
      // A copied tab has a copy of the other tab's list.
      return register(kept.filter((id) => id.startsWith(`${tab.hostId}/`)));
    },
    letGo() {
      return inTurn([...own], async ([id, registration]) => {
        await registration.close();
        own.delete(id);
      });
    },
  };
}
