import type { Corridor } from "../corridor/command.js";
import type { Timings } from "../domain/time.js";
import { faultOf } from "../kernel/host/fault.js";
import type { Fault, LoopPage, Pulse } from "../kernel/host/loop-contract.js";
import type { Presence } from "../kernel/host/presence.js";
import type { Clock } from "../ports/clock.js";
import { renewAttachments } from "../stores/host/beats.js";
import { renewLeases } from "../stores/process/leases.js";
import type { Agenda } from "./agenda.rules.js";
import type { ClaimReport } from "./claims.js";
import { beat } from "./heartbeat.js";

/**
 * The loop's side of its page: asks for the page's pulse, beats for it, renews its leases and tells it the results. A silent page is served
 * by its last pulse, until it has been silent for too long.
 */
export interface PageLink {
  /** The page's last pulse, however old. */
  readonly last: Pulse | undefined;
  /** Undefined if the page does not answer in time. */
  ask(hasBacklog: boolean): Promise<Pulse | undefined>;
  beat(pulse: Pulse | undefined): Promise<void>;
  renew(pulse: Pulse | undefined): Promise<void>;
  swept(report: ClaimReport, agentsOffline: string[]): void;
  fault(thrown: unknown): void;
  tell(fault: Fault): void;
}

interface PageLinkParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly presence: Presence;
  readonly page: LoopPage;
  readonly agenda: Agenda;
}

export function createPageLink(parts: PageLinkParts): PageLink {
  const { corridor, clock, timings, page, agenda } = parts;
  let last: (Pulse & { readonly atMs: number }) | undefined;
  let asking: Promise<Pulse> | undefined;

  function lastTold(pulse: Pulse | undefined): Pulse | undefined {
    if (pulse || !last) return pulse;
    return clock.monotonicMs() - last.atMs >= timings.leaseTtlMs - timings.leaseRenewMs ? undefined : last;
  }

  const tell = (fault: Fault) => unawaited(page.fault(fault));
  const fault = (thrown: unknown) => tell(faultOf("loop", thrown, "a turn of the loop failed"));

  return {
    get last() {
      return last;
    },
    /** A page that does not answer in time is asked no second time: its answer counts whenever it comes. */
    async ask(hasBacklog) {
      asking ??= page.pulse({ hasBacklog }).finally(() => {
        asking = undefined;
      });
      asking.catch(() => undefined);
      let cancel = () => {};
      const silence = new Promise<undefined>((resolve) => {
        cancel = clock.setTimer(() => resolve(undefined), timings.leaseRenewMs / 2);
      });
      const pulse = await Promise.race([asking, silence]);
      cancel();
      if (pulse) last = { ...pulse, atMs: clock.monotonicMs() };
      return pulse;
    },
    async beat(pulse) {
      agenda.beaten(clock.monotonicMs());
      const known = lastTold(pulse);
      if (!known) return;
      try {
        const moves = await beat({ ...parts, flushMs: timings.heartbeatFlushMs }, known);
        if (moves !== known.moves) unawaited(page.moved(moves));
      } catch (error) {
        agenda.beaten(clock.monotonicMs(), true);
        fault(error);
      }
    },
    async renew(pulse) {
      agenda.renewed(clock.monotonicMs());
      const known = lastTold(pulse);
      if (!known) return;
      const ttlMs = timings.leaseTtlMs;
      const attended = known.attending ? corridor.run(renewAttachments, { host: known.host, ttlMs }) : undefined;
      try {
        if (known.leases.length === 0) return await attended;
        // What the handlers of a silent page do is unknown: what is stored of their waits stays.
        const [renewals] = await Promise.all([
          corridor.run(renewLeases, { leases: known.leases, ttlMs, waiting: pulse?.waiting }),
          attended,
        ]);
        const idsWhere = (lost: boolean) =>
          known.leases.filter((_, at) => "lost" in (renewals[at] ?? {}) === lost).map(({ processId }) => processId);
        unawaited(page.renewed({ asOfMs: known.asOfMs, renewed: idsWhere(false), lost: idsWhere(true) }));
      } catch (error) {
        // A failed renewal says nothing of ownership: the loop tries again soon, and the page keeps its own deadline.
        agenda.renewed(clock.monotonicMs(), true);
        fault(error);
      }
    },
    swept({ claimed, skipped, faulted }, agentsOffline) {
      const codes = [...faulted].map(([processId, code]) => ({ processId, code }));
      unawaited(page.swept({ agentsOffline, claimed, skipped, faulted: codes }));
    },
    fault,
    tell,
  };
}

/** The page is told and not waited for: a blocked page must not delay its own renewals. */
function unawaited(call: Promise<void>): void {
  call.catch(() => undefined);
}
