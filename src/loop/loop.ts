import type { Corridor } from "../corridor/command.js";
import { asHoldfastError } from "../domain/errors.js";
import { isRuntimeId } from "../domain/runtime-id.js";
import type { Timings } from "../domain/time.js";
import type { Loop, LoopPage, Pulse, SweepReport } from "../kernel/host/loop-contract.js";
import type { Gossip } from "../kernel/host/presence.js";
import type { Clock } from "../ports/clock.js";
import type { Locks } from "../ports/locks.js";
import type { Change, Notices } from "../ports/notices.js";
import { readHoldings, renewAttachments } from "../stores/host/beats.js";
import { freeHost } from "../stores/host/hosts.js";
import type { Retention } from "../stores/host/retention.js";
import type { LeaseRow } from "../stores/host/tables.js";
import { releaseLeases, renewLeases } from "../stores/process/leases.js";
import { loadRow } from "../stores/schema.js";
import { type ClaimReport, createClaims } from "./claims.js";
import { beat } from "./heartbeat.js";
import { watchHosts } from "./host-watch.js";
import { createSweeper } from "./sweeper.js";

/**
 * When to beat, renew, claim, sweep and give up. One turn at a time:
 *
 *     ask the page -> beat for it, renew its leases -> free what dead hosts held -> claim what is free -> hand it to the page
 *                                                           (beside it, every sweepMs: tell who is silent, clear away)
 *
 * A turn looks at everything every `sweepMs` and when a host died, and in between only at the processes that a notice named, whose
 * lease runs out, or that wait for a slot that fell free. A process that another host registered is left to that host for a moment.
 */
export interface LoopParts {
  readonly corridor: Corridor;
  readonly notices: Notices;
  readonly clock: Clock;
  readonly locks: Locks | undefined;
  readonly timings: Timings;
  readonly databaseId: string;
  readonly gossip: Gossip;
  readonly retention: Retention;
  readonly page: LoopPage;
  /** How long after its lock fell free a page's goodbye may still come. */
  readonly goodbyeMs: number;
  newNonce(): string;
}

interface Report extends ClaimReport {
  readonly agentsOffline: string[];
}

/** A page's goodbye takes the way over another page, and its lock none. */
export const GOODBYE_MS = 100;

const SOONEST_MS = 20;
/** How long a new process is left to the host that registered it, and by how much hosts differ in that; a busy host waits longer. */
const LEAVE_MS = 40;

export function createLoop(parts: LoopParts): Loop & { readonly failedTurns: number } {
  const { corridor, clock, timings, page } = parts;
  const hints = new Set<string>();
  /** New processes that another host may claim first, and when they are looked at. */
  const left = new Set<string>();
  let leftUntilMs = Number.POSITIVE_INFINITY;
  /** What this turn looks at: heard of before it asked the page, so that what the page told holds for it. */
  const due = new Set<string>();
  /** Hosts that were heard to go in order, and when. A page that goes into the back/forward cache can say so, and its farewell row comes too late. */
  const goodbyes = new Map<string, number>();
  /** Hosts whose lock fell free, and when. */
  const deaths = new Map<string, number>();
  /** Hosts that were heard to come: their locks are watched from then on, not from the next sweep. */
  const newHosts = new Set<string>();
  /** Agents that went offline with their hosts since the last report. */
  const agentsOffline: string[] = [];
  const stopping = new AbortController();
  /** Of the same source as the nonces, so that a world with a seed stays the same. */
  const chance = () => Number.parseInt(parts.newNonce().slice(0, 8), 16) / 2 ** 32;
  const claims = createClaims({ ...parts, stopping: stopping.signal, isHostAlive, chance });
  const sweeper = createSweeper({
    ...parts,
    onOffline: (agentIds) => unheard(page.swept({ ...tellable(newReport()), agentsOffline: agentIds })),
    onFault: tell,
  });
  const hosts = watchHosts({
    locks: parts.locks,
    databaseId: parts.databaseId,
    onDeath() {
      everything = true;
      turnNow();
    },
    onFault: tell,
  });
  let everything = true;
  let hasNeighbours = false;
  let lastPulse: (Pulse & { atMs: number }) | undefined;
  let asking: Promise<Pulse> | undefined;
  // At once: the loop that was here before may have died long after its last renewal.
  let renewAtMs = clock.monotonicMs();
  let beatAtMs = clock.monotonicMs();
  let sweepAtMs = clock.monotonicMs() + timings.sweepMs;
  let dueMs = Number.POSITIVE_INFINITY;
  let cancelTimer = () => {};
  let turning: Promise<void> | undefined;
  let again = false;
  let failedTurns = 0;

  const unsubscribe = parts.notices.subscribe((changes: readonly Change[]) => {
    let heard = false;
    for (const { about, id, member } of changes) {
      // The hosts that have a session open are watched since they told that they opened it: who holds its lease is one of them.
      if (about === "lease" && member !== undefined && isRuntimeId(id)) continue;
      if (about === "lease" && member !== undefined) {
        unleave(id);
        hints.delete(id);
        if (member === "held") claims.isHeld(id);
        else claims.hasEnded(id);
      } else if (about === "registered" && isFull()) claims.isNew(id);
      else if (about === "registered" && hasNeighbours) leave(id);
      else if (about === "registered" || (about === "lease" && !claims.isForeign(id))) hints.add(id);
      else if (about === "boot") newHosts.add(id);
      else if (about === "host") {
        everything = true;
        goodbyes.set(id, clock.monotonicMs());
      }
      heard ||= about === "boot" || about === "host";
    }
    if (heard || hints.size > 0) turnNow();
  });

  /** All slots were taken and others wait for one: a slot that falls free brings a turn that looks through all of them. */
  function isFull(): boolean {
    return claims.hasBacklog && lastPulse?.free === 0;
  }

  function leave(processId: string): void {
    const isFirst = left.size === 0;
    left.add(processId);
    if (!isFirst) return;
    const { free, slots } = lastPulse ?? { free: 0, slots: 1 };
    leftUntilMs = clock.monotonicMs() + Math.ceil(LEAVE_MS * (1 - free / slots + chance()));
    if (leftUntilMs < dueMs) reschedule();
  }

  /** Another host has it. */
  function unleave(processId: string): void {
    if (!left.delete(processId) || left.size > 0) return;
    leftUntilMs = Number.POSITIVE_INFINITY;
    reschedule();
  }

  function reschedule(): void {
    if (turning) return;
    cancelTimer();
    schedule();
  }

  function turnNow(): void {
    if (stopping.signal.aborted) return;
    if (turning) {
      again = true;
      return;
    }
    cancelTimer();
    turning = Promise.resolve()
      .then(turn)
      .then(
        () => {
          failedTurns = 0;
        },
        (error: unknown) => {
          failedTurns++;
          everything = true;
          tell(error);
        },
      )
      .finally(() => {
        turning = undefined;
        sweeper.end();
        if (again) {
          again = false;
          turnNow();
        } else schedule();
      });
  }

  function schedule(): void {
    if (stopping.signal.aborted) return;
    const nowMs = clock.monotonicMs();
    let soonest = Math.min(sweepAtMs, renewAtMs, beatAtMs, claims.nextMs());
    for (const sinceMs of deaths.values()) soonest = Math.min(soonest, sinceMs + parts.goodbyeMs);
    if (failedTurns > 0) soonest = nowMs + timings.leaseRenewMs / 4;
    dueMs = Math.min(Math.max(soonest, nowMs + SOONEST_MS), leftUntilMs);
    cancelTimer = clock.setTimer(turnNow, Math.max(0, dueMs - nowMs));
  }

  async function turn(): Promise<void> {
    const startedMs = clock.monotonicMs();
    claims.begin(dueMs);
    sweeper.begin(dueMs);
    dueMs = Number.POSITIVE_INFINITY;
    for (const id of hints) due.add(id);
    hints.clear();
    if (startedMs >= leftUntilMs) {
      for (const id of left) due.add(id);
      left.clear();
      leftUntilMs = Number.POSITIVE_INFINITY;
    }
    const pulse = await askPage();
    if (stopping.signal.aborted) return;
    for (const bootId of pulse?.goodbyes ?? []) if (!goodbyes.has(bootId)) goodbyes.set(bootId, clock.monotonicMs());
    await Promise.all([startedMs >= beatAtMs && beatFor(pulse), startedMs >= renewAtMs && renew(pulse)]);
    if (!pulse || stopping.signal.aborted) return;
    await watchNewHosts(pulse);
    await freeDeadHosts();
    if (startedMs >= sweepAtMs) {
      everything = true;
      sweepAtMs = startedMs + timings.sweepMs;
    }
    for (const processId of claims.ripe()) due.add(processId);
    if (everything) await sweep(pulse);
    else if (claims.hasBacklog && pulse.free > 0) await workOff(pulse);
    else if (due.size > 0) await lookAtHinted(pulse);
    claims.end();
  }

  /** A page that does not answer in time is asked no second time: its answer counts whenever it comes. */
  async function askPage(): Promise<Pulse | undefined> {
    asking ??= page.pulse({ hasBacklog: claims.hasBacklog }).finally(() => {
      asking = undefined;
    });
    asking.catch(() => undefined);
    let cancel = () => {};
    const silence = new Promise<undefined>((resolve) => {
      cancel = clock.setTimer(() => resolve(undefined), timings.leaseRenewMs / 2);
    });
    const pulse = await Promise.race([asking, silence]);
    cancel();
    if (pulse) lastPulse = { ...pulse, atMs: clock.monotonicMs() };
    return pulse;
  }

  /** A silent page is served as it last told, until it has been silent for too long. */
  function lastTold(pulse: Pulse | undefined): Pulse | undefined {
    if (pulse || !lastPulse) return pulse;
    return clock.monotonicMs() - lastPulse.atMs >= timings.leaseTtlMs - timings.leaseRenewMs ? undefined : lastPulse;
  }

  async function beatFor(pulse: Pulse | undefined): Promise<void> {
    beatAtMs = clock.monotonicMs() + timings.heartbeatMs;
    const known = lastTold(pulse);
    if (!known) return;
    try {
      const moves = await beat({ ...parts, flushMs: timings.heartbeatFlushMs }, known);
      if (moves !== known.moves) unheard(page.moved(moves));
    } catch (error) {
      beatAtMs = clock.monotonicMs() + timings.heartbeatMs / 4;
      tell(error);
    }
  }

  async function renew(pulse: Pulse | undefined): Promise<void> {
    renewAtMs = clock.monotonicMs() + timings.leaseRenewMs;
    const known = lastTold(pulse);
    if (!known) return;
    const ttlMs = timings.leaseTtlMs;
    const attended = known.attending ? corridor.run(renewAttachments, { host: known.host, ttlMs }) : undefined;
    try {
      if (known.leases.length === 0) return await attended;
      const [renewals] = await Promise.all([corridor.run(renewLeases, { leases: known.leases, ttlMs }), attended]);
      const idsWhere = (lost: boolean) =>
        known.leases.filter((_, at) => "lost" in (renewals[at] ?? {}) === lost).map(({ processId }) => processId);
      unheard(page.renewed({ asOfMs: known.asOfMs, renewed: idsWhere(false), lost: idsWhere(true) }));
    } catch (error) {
      // Says nothing of ownership: try again soon, the page keeps its own deadline.
      renewAtMs = clock.monotonicMs() + timings.leaseRenewMs / 4;
      tell(error);
    }
  }

  async function freeDeadHosts(): Promise<void> {
    for (const bootId of hosts.dead) {
      const sinceMs = deaths.get(bootId) ?? clock.monotonicMs();
      deaths.set(bootId, sinceMs);
      // Who said goodbye long ago and lived on did not mean it, or did not say it.
      const inOrder = sinceMs - (goodbyes.get(bootId) ?? Number.NEGATIVE_INFINITY) < timings.leaseRenewMs;
      if (!inOrder && clock.monotonicMs() < sinceMs + parts.goodbyeMs) continue;
      deaths.delete(bootId);
      goodbyes.delete(bootId);
      await freeBoot(bootId, inOrder);
      hosts.forget(bootId);
    }
  }

  async function freeBoot(bootId: string, inOrder?: boolean): Promise<void> {
    const { resources, agents } = await corridor.run(freeHost, { bootId, ...(inOrder && { inOrder }) });
    for (const resource of resources) due.add(resource);
    agentsOffline.push(...agents);
    // Dead, whatever the others' memory says.
    if (agents.length > 0) parts.gossip.forget(agents);
  }

  async function watchNewHosts(pulse: Pulse): Promise<void> {
    if (newHosts.size === 0) return;
    const bootIds = [...newHosts];
    newHosts.clear();
    const rows = await corridor.query(["hosts"], (reader) =>
      Promise.all(bootIds.map((bootId) => loadRow(reader, "hosts", bootId))),
    );
    for (const row of rows) {
      if (!row || row.end !== undefined) continue;
      isHostAlive(row, pulse);
      hasNeighbours ||= row.bootId !== pulse.host.bootId;
    }
  }

  async function sweep(pulse: Pulse): Promise<void> {
    everything = false;
    const { bootId } = pulse.host;
    const tables = ["leases", "attachments", "hosts", "farewells"];
    const { own, boots, present, farewells } = await corridor.query(tables, (reader) => readHoldings(reader, bootId));
    hosts.only(new Set([...boots].flatMap(([of, locked]) => (locked && of !== bootId ? [of] : []))));
    hasNeighbours = present.some((of) => of !== bootId);
    for (const gone of goodbyes.keys()) if (!boots.has(gone)) goodbyes.delete(gone);
    for (const gone of farewells) if (gone !== bootId) await freeBoot(gone);
    sweeper.sweep();
    await releaseOrphans(own, pulse);

    const report = newReport(agentsOffline.splice(0));
    const heard = [...due];
    due.clear();
    await claims.sweep(pulse, heard, report);
    if (stopping.signal.aborted) return;
    await claims.skip(pulse, report);
    swept(report);
  }

  /** Orphans: leases claimed for this page by a loop that died before telling it. What the page claims itself, it knows. */
  async function releaseOrphans(own: readonly LeaseRow[], pulse: Pulse): Promise<void> {
    const unknownTo = ({ leases, abandoned, claiming }: Pulse) => {
      const known = new Set([...leases.map(({ processId }) => processId), ...abandoned, ...claiming]);
      return own.flatMap(({ resource: processId, leaseToken }) =>
        isRuntimeId(processId) || known.has(processId) || leaseToken === undefined ? [] : [{ processId, leaseToken }],
      );
    };
    if (unknownTo(pulse).length === 0) return;
    // The page may have claimed it after it was asked.
    const now = await askPage();
    const orphans = now ? unknownTo(now) : [];
    if (orphans.length > 0) await corridor.run(releaseLeases, { leases: orphans });
  }

  /** A slot fell free, and some wait for one. */
  async function workOff(pulse: Pulse): Promise<void> {
    const report = newReport();
    await claims.sweep(pulse, await takeDue(pulse), report);
    if (!stopping.signal.aborted) swept(report);
  }

  /** Their turns are claimed by pages; whether those live is watched here. */
  async function watchSessions(runtimeIds: readonly string[], pulse: Pulse): Promise<void> {
    const rows = await corridor.query(["leases", "attachments"], async (reader) => {
      const found = await Promise.all(
        runtimeIds.map(async (id) => [await reader.get("leases", id), ...(await reader.range("attachments", { prefix: [id] }))]),
      );
      return found.flat();
    });
    for (const row of rows) if (row) isHostAlive(row as Pick<LeaseRow, "bootId" | "locked">, pulse);
  }

  /** The processes that are due; the sessions among them are looked at here. */
  async function takeDue(pulse: Pulse): Promise<string[]> {
    const ids = [...due];
    due.clear();
    const sessions = ids.filter(isRuntimeId);
    if (sessions.length > 0) await watchSessions(sessions, pulse);
    return ids.filter((id) => !isRuntimeId(id));
  }

  async function lookAtHinted(pulse: Pulse): Promise<void> {
    const ids = await takeDue(pulse);
    if (ids.length === 0) return;
    const report = newReport();
    await claims.lookAt(ids, pulse, report);
    if (report.faulted.size > 0) swept(report);
  }

  function isHostAlive({ bootId, locked }: Pick<LeaseRow, "bootId" | "locked">, pulse: Pulse): boolean {
    return locked === 1 && bootId !== undefined && bootId !== pulse.host.bootId && hosts.isAlive(bootId);
  }

  function swept(report: Report): void {
    unheard(page.swept(tellable(report)));
  }

  function tell(thrown: unknown): void {
    const { code, message } = asHoldfastError(thrown, "internal", "a turn of the loop failed");
    unheard(page.fault({ area: "loop", code, message }));
  }

  function kill(): void {
    stopping.abort();
    unsubscribe();
    cancelTimer();
    hosts.close();
    sweeper.kill();
  }

  turnNow();
  return {
    kind: "inline",
    get failedTurns() {
      return failedTurns;
    },
    poke(processIds) {
      for (const processId of processIds ?? []) hints.add(processId);
      turnNow();
    },
    async stop() {
      kill();
      await turning;
    },
    kill,
  };
}

function newReport(agentsOffline: string[] = []): Report {
  return { agentsOffline, claimed: [], skipped: [], faulted: new Map() };
}

function tellable({ agentsOffline, claimed, skipped, faulted }: Report): SweepReport {
  return {
    agentsOffline,
    claimed,
    skipped,
    faulted: [...faulted].map(([processId, code]) => ({ processId, code })),
  };
}

/** What is only told is not waited for: a page that is blocked must not keep its own leases from being renewed. */
function unheard(call: Promise<void>): void {
  call.catch(() => undefined);
}
