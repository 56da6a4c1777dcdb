import type { Corridor } from "../corridor/command.js";
import { isRuntimeId } from "../domain/runtime-id.js";
import type { Pulse } from "../kernel/host/loop-contract.js";
import type { LeaseRow } from "../stores/host/tables.js";
import { releaseLeases } from "../stores/process/leases.js";
import type { Agenda, Search } from "./agenda.rules.js";
import { runnableHere } from "./candidates.js";
import { type ClaimReport, type Claims, newReport } from "./claims.js";
import type { Neighbours } from "./neighbours.js";
import type { PageLink } from "./page-link.js";
import type { DueProcesses } from "./process/due.js";
import type { Lacking } from "./process/lacking.js";
import type { HeldBackLooks } from "./process/limits.js";
import type { DueSchedules } from "./process/schedules.js";
import type { Sweeper } from "./sweeper.js";

/** Looks for work, once the page has answered: at everything, at the backlog or at what is due. */
type Searches = Record<Exclude<Search, "nothing">, (pulse: Pulse) => Promise<void>>;

interface SearchesParts {
  readonly corridor: Corridor;
  readonly agenda: Agenda;
  readonly page: PageLink;
  readonly neighbours: Neighbours;
  readonly due: DueProcesses;
  readonly claims: Claims;
  readonly lacking: Lacking;
  readonly heldBack: HeldBackLooks;
  readonly sweeper: Sweeper;
  readonly schedules: DueSchedules;
  readonly stopping: AbortSignal;
}

export function createSearches(parts: SearchesParts): Searches {
  const { corridor, agenda, page, neighbours, claims, lacking, heldBack, sweeper, schedules, stopping } = parts;

  /** Orphans: leases claimed for this page by a loop that died before telling it. The page knows of the leases that it claims itself. */
  async function releaseOrphans(own: readonly LeaseRow[], pulse: Pulse): Promise<void> {
    if (orphansOf(own, pulse).length === 0) return;
    // The page may have claimed a lease after it was asked.
    const newest = await page.ask(claims.hasBacklog);
    const leases = newest ? orphansOf(own, newest) : [];
    if (leases.length > 0) await corridor.run(releaseLeases, { leases });
  }

  /** The processes that are due. Turns of sessions are claimed by pages: the loop only watches their hosts. */
  async function takeDue(pulse: Pulse): Promise<string[]> {
    const ids = agenda.take();
    const sessions = ids.filter(isRuntimeId);
    if (sessions.length > 0) await watchSessions(sessions, pulse);
    return ids.filter((id) => !isRuntimeId(id));
  }

  async function watchSessions(runtimeIds: readonly string[], pulse: Pulse): Promise<void> {
    const rows = await corridor.query(["leases", "attachments"], async (reader) => {
      const found = await Promise.all(
        runtimeIds.map(async (id) => [await reader.get("leases", id), ...(await reader.range("attachments", { prefix: [id] }))]),
      );
      return found.flat();
    });
    for (const row of rows) if (row) neighbours.isAlive(row as Pick<LeaseRow, "bootId" | "locked">, pulse);
  }

  /** The page's free slots, without those that this turn has filled. */
  const left = (pulse: Pulse, { claimed }: ClaimReport): Pulse => ({ ...pulse, free: Math.max(0, pulse.free - claimed.length) });

  async function claimHeldBack(pulse: Pulse, report: ClaimReport, which: "due" | "all" = "due"): Promise<void> {
    if (stopping.aborted) return;
    const now = left(pulse, report);
    const ids = await heldBack.take(now, now.free, which);
    if (ids.length > 0) await claims.lookAt(ids, now, report, true);
  }

  return {
    async everything(pulse) {
      const own = await neighbours.survey(pulse);
      sweeper.sweep();
      schedules.look();
      await releaseOrphans(own, pulse);

      const agentsOffline = neighbours.takeOffline();
      const report = newReport();
      agenda.add(await parts.due.take(runnableHere(pulse), true));
      await claims.sweep(pulse, agenda.take(), report);
      await claimHeldBack(pulse, report, "all");
      if (stopping.aborted) return;
      await lacking.look(pulse, report);
      page.swept(report, agentsOffline);
    },
    async backlog(pulse) {
      const report = newReport();
      // They were there before, and waited for their places.
      await claimHeldBack(pulse, report);
      await claims.sweep(left(pulse, report), await takeDue(pulse), report);
      if (!stopping.aborted) page.swept(report, []);
    },
    async due(pulse) {
      const ids = await takeDue(pulse);
      const report = newReport();
      if (ids.length > 0) await claims.lookAt(ids, pulse, report);
      await claimHeldBack(pulse, report);
      if (report.faulted.size > 0) page.swept(report, []);
    },
  };
}

function orphansOf(own: readonly LeaseRow[], { leases, abandoned, claiming }: Pulse) {
  const known = new Set([...leases.map(({ processId }) => processId), ...abandoned, ...claiming]);
  return own.flatMap(({ resource: processId, leaseToken }) =>
    isRuntimeId(processId) || known.has(processId) || leaseToken === undefined ? [] : [{ processId, leaseToken }],
  );
}
