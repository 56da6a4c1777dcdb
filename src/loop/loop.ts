import type { Corridor } from "../corridor/command.js";
import { rollOf } from "../domain/retry.rules.js";
import { isRuntimeId } from "../domain/runtime-id.js";
import type { Timings } from "../domain/time.js";
import type { Loop, LoopPage } from "../kernel/host/loop-contract.js";
import type { Presence } from "../kernel/host/presence.js";
import type { Clock } from "../ports/clock.js";
import type { Locks } from "../ports/locks.js";
import type { Change, Notices } from "../ports/notices.js";
import type { Retention } from "../stores/host/retention.js";
import { createAgenda, leaveMs } from "./agenda.rules.js";
import { runnableHere } from "./candidates.js";
import { createClaims, newReport } from "./claims.js";
import { createNeighbours } from "./neighbours.js";
import { createPageLink } from "./page-link.js";
import { createDueProcesses } from "./process/due.js";
import { createLacking } from "./process/lacking.js";
import { createHeldBackLooks } from "./process/limits.js";
import { createDueSchedules } from "./process/schedules.js";
import { createScheduler } from "./scheduler.js";
import { createSearches } from "./searches.js";
import { createSweeper } from "./sweeper.js";

/**
 * When to beat, renew, claim, sweep and give up. One turn at a time:
 *
 *     ask the page -> beat for it, renew its leases -> free what dead hosts held -> claim what is free -> hand it to the page
 *                                           (beside it, every sweepMs: tell which hosts are silent, remove what may go)
 *
 * A turn looks at everything every `sweepMs` and when a host died. Other turns look only at processes that a notice named, whose lease
 * runs out, that are due, or that wait for a slot that fell free. A process that another host registered is left to that host for a moment.
 */
interface LoopParts {
  readonly corridor: Corridor;
  readonly notices: Notices;
  readonly clock: Clock;
  readonly locks: Locks | undefined;
  readonly timings: Timings;
  readonly databaseId: string;
  readonly presence: Presence;
  readonly retention: Retention;
  readonly page: LoopPage;
  /** How long a page's farewell may still come after its lock fell free. */
  readonly farewellMs: number;
  newNonce(): string;
}

/** A farewell comes by way of another page, so it may come later than the free lock. */
export const FAREWELL_MS = 100;

export function createLoop(parts: LoopParts): Loop & { readonly failedTurns: number } {
  const { clock } = parts;
  const stopping = new AbortController();
  const chance = () => rollOf(parts.newNonce());
  const agenda = createAgenda(parts.timings, clock.monotonicMs());
  const page = createPageLink({ ...parts, agenda });
  const scheduler = createScheduler({ clock, turn, nextMs });
  const neighbours = createNeighbours({
    ...parts,
    onDeath() {
      agenda.searchAll();
      scheduler.now();
    },
    onFreed: agenda.add,
    onFault: page.fault,
  });
  const due = createDueProcesses({ ...parts, onDue: scheduler.now });
  const claims = createClaims({ ...parts, stopping: stopping.signal, due, isHostAlive: neighbours.isAlive, chance });
  const sweeper = createSweeper({
    ...parts,
    onOffline: (agentIds) => page.swept(newReport(), agentIds),
    onFault: page.fault,
  });
  const lacking = createLacking({ ...parts, stopping: stopping.signal, tell: page.tell });
  const heldBack = createHeldBackLooks({ ...parts, leaveMs: () => (neighbours.areThere ? momentMs() : 0) });
  const schedules = createDueSchedules({ ...parts, tell: page.tell });
  const stages = { neighbours, due, claims, lacking, heldBack, sweeper, schedules };
  const searches = createSearches({ ...parts, ...stages, agenda, page, stopping: stopping.signal });
  const unsubscribe = parts.notices.subscribe(hear);

  function hear(changes: readonly Change[]): void {
    let isNews = false;
    for (const change of changes) {
      const { about, id, member, sequence } = change;
      if (about === "parked") due.heard(id, sequence ?? 0);
      else if ((about === "lease" || about === "registered") && member !== undefined) heardOfHolder(change);
      else if (about === "registered") heardOfNew(id);
      else if (about === "limit") heardOfLimit(id);
      else if (about === "lease" && !claims.isForeign(id)) agenda.hear(id);
      else if (about === "schedule") schedules.look();
      else if (about === "boot") neighbours.came(id);
      else if (about === "host") {
        agenda.searchAll();
        neighbours.saidFarewell(id);
      }
      isNews ||= about === "boot" || about === "host";
    }
    if (isNews || agenda.hasHeard) scheduler.now();
  }

  /** A runner holds the process, it has ended, or no host may claim it yet. */
  function heardOfHolder({ id, member }: Change): void {
    // Hosts that have a session open are watched since they opened it, and the holder of its lease is one of them.
    if (isRuntimeId(id)) return;
    if (agenda.drop(id)) scheduler.reschedule();
    if (member === "held") claims.noteHeld(id);
    else claims.noteEnded(id);
  }

  function heardOfNew(processId: string): void {
    // All slots are taken and processes wait for one: the next free slot brings a turn that looks through them all.
    if (claims.hasBacklog && page.last?.free === 0) claims.noteNew(processId);
    else if (neighbours.areThere) leave(processId);
    else agenda.hear(processId);
  }

  function leave(processId: string): void {
    const untilMs = agenda.leftUntilMs ?? clock.monotonicMs() + momentMs();
    agenda.leave(processId, untilMs);
    scheduler.notLater(untilMs);
  }

  /** The moment for which other hosts are let go first. */
  const momentMs = () => leaveMs(page.last ?? { free: 0, slots: 1 }, chance());

  function heardOfLimit(key: string): void {
    heldBack.heard(key, page.last);
    scheduler.notLater(heldBack.nextMs());
  }

  function nextMs(nowMs: number): number {
    return agenda.nextMs(nowMs, Math.min(claims.nextMs(), neighbours.nextMs(), heldBack.nextMs()));
  }

  async function turn(dueMs: number): Promise<void> {
    try {
      await work(dueMs);
      agenda.succeeded();
    } catch (error) {
      agenda.failed();
      page.fault(error);
    } finally {
      sweeper.end();
    }
  }

  async function work(dueMs: number): Promise<void> {
    const startedMs = clock.monotonicMs();
    claims.begin(dueMs);
    sweeper.begin(dueMs);
    const { beats, renews } = agenda.begin(startedMs);
    const pulse = await page.ask(claims.hasBacklog || heldBack.hasBacklog);
    if (stopping.signal.aborted) return;
    neighbours.passedOn(pulse?.farewells ?? []);
    await Promise.all([beats && page.beat(pulse), renews && page.renew(pulse)]);
    if (!pulse || stopping.signal.aborted) return;
    await neighbours.watchNew(pulse);
    await neighbours.freeDead();
    agenda.add(claims.ripe());
    agenda.add(await due.take(runnableHere(pulse), false));
    const search = agenda.search(startedMs, { hasBacklog: claims.hasBacklog, free: pulse.free });
    if (search !== "nothing") await searches[search](pulse);
    else if (heldBack.nextMs() <= clock.monotonicMs() || heldBack.hasBacklog) await searches.due(pulse);
    claims.end();
  }

  function end(): Promise<void> {
    stopping.abort();
    unsubscribe();
    const isOver = scheduler.stop();
    neighbours.close();
    due.close();
    sweeper.kill();
    schedules.close();
    return isOver;
  }

  scheduler.now();
  return {
    kind: "inline",
    get failedTurns() {
      return agenda.failedTurns;
    },
    poke(processIds) {
      for (const processId of processIds ?? []) agenda.hear(processId);
      scheduler.now();
    },
    stop: end,
    kill: () => void end(),
  };
}
