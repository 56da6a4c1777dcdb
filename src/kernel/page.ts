import type { Timings } from "../domain/time.js";
import type { Clock } from "../ports/clock.js";
import type { ChannelFactory, FarewellNotes } from "../ports/notices.js";
import type { Emitter } from "./emitter.js";
import type { Agents } from "./host/agents.js";
import type { CurrentHost, HostWork } from "./host/host.js";
import type { HeldLeases } from "./host/leases/held-leases.js";
import type { LoopPage } from "./host/loop-contract.js";
import type { Presence } from "./host/presence.js";
import type { Lazy } from "./lazy.js";
import type { LazyRuns } from "./lazy-runs.js";
import type { Schedules } from "./process/schedules/schedules.js";
import type { Sessions } from "./session/sessions.js";

/** What runs in this page or program. */
export interface PageParts {
  readonly clock: Clock;
  readonly timings: Timings;
  readonly concurrency: number;
  readonly handlers: ReadonlyMap<string, unknown>;
  readonly heldLeases: HeldLeases;
  readonly runs: LazyRuns;
  readonly sessions: Sessions;
  readonly agents: Lazy<Agents>;
  readonly schedules: Lazy<Schedules>;
  readonly presence: Presence;
  readonly host: Readonly<CurrentHost>;
  readonly farewellNotes: FarewellNotes | undefined;
  readonly channel: ChannelFactory | undefined;
  readonly emitter: Emitter;
}

/** The page as the loop sees it. */
export function loopPage(parts: PageParts): LoopPage {
  const { clock, timings, heldLeases, runs, sessions, agents, host, emitter } = parts;
  let answeredMs = clock.monotonicMs();
  /** Messages about handlers that no host has, told once each: the next worker's loop tells of them again. */
  const toldHandlers = new Set<string>();
  return {
    async pulse(told) {
      const attached = sessions.attached;
      // A process may be a turn of one of these sessions.
      if (attached.length > 0) runs.load();
      runs.loaded?.headStart.heard(told);
      // The page was silent for so long that other hosts may have its leases by now.
      if (clock.monotonicMs() - answeredMs >= timings.leaseTtlMs - timings.leaseRenewMs) await heldLeases.recheckAll();
      answeredMs = clock.monotonicMs();
      return {
        asOfMs: answeredMs,
        host: host.identity,
        leases: heldLeases.leases,
        waiting: runs.loaded?.runner.waiting ?? [],
        abandoned: runs.loaded?.runner.abandoned ?? [],
        claiming: runs.loaded?.headStart.claiming ?? [],
        free: runs.free,
        slots: parts.concurrency,
        handlers: [...parts.handlers.keys()],
        terms: runs.loaded?.terms ?? new Map(),
        sessions: attached,
        attending: sessions.isAttending,
        farewells: parts.farewellNotes?.said() ?? [],
        moves: agents.loaded?.moves ?? 0,
      };
    },
    async run(claims, asOfMs) {
      // A start of this page may have taken a slot since the loop asked how many there are.
      const taken = claims.slice(0, runs.free);
      const refused = await runs.run(taken, asOfMs);
      return [...refused, ...claims.slice(taken.length).map(({ lease }) => lease.processId)];
    },
    limitKeys: runs.limitKeys,
    schedulesDue: async (sinceMs) => await (await parts.schedules.load()).runDue(sinceMs),
    async renewed({ asOfMs, renewed, lost }) {
      heldLeases.extend(renewed, asOfMs);
      await heldLeases.recheck(lost);
    },
    moved: async (moves) => agents.loaded?.learnMoves(moves),
    async swept(report) {
      emitter.emit("sweep", report);
      // A loop in a worker is heard over the channel; if there is none, the page tells its app here.
      if (!parts.channel && host.loop?.kind === "worker")
        for (const agentId of report.agentsOffline) emitter.emit("agentOffline", { agentId });
    },
    async fault(event) {
      if (event.area === "handlers") {
        if (toldHandlers.has(event.message)) return;
        toldHandlers.add(event.message);
      }
      emitter.emit("fault", event);
    },
  };
}

/** The page's work as the host sees it. */
export function hostWork({ heldLeases, runs, sessions, agents, presence }: PageParts): HostWork {
  return {
    get isHolding() {
      return (
        !heldLeases.isEmpty ||
        !!runs.loaded?.headStart.claiming.length ||
        !!runs.loaded?.runner.abandoned.length ||
        sessions.isAttending ||
        agents.loaded?.isEmpty === false
      );
    },
    async wake() {
      presence.open();
      await Promise.all([heldLeases.recheckAll(), agents.loaded?.review()]);
    },
    settle: async () => agents.loaded?.close(),
    endAll(reason) {
      runs.endAll(reason);
      sessions.endAll(reason);
    },
  };
}
