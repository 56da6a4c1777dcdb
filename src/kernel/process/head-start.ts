import type { Corridor } from "../../corridor/command.js";
import { handlerOf, type ProcessInput, type ProcessRecord } from "../../domain/process/process.js";
import type { Clock } from "../../ports/clock.js";
import type { Host } from "../../stores/host/leases.rules.js";
import { type FirstClaim, registerAndClaim } from "../../stores/process/first-claim.js";
import { type ClaimReply, releaseLeases } from "../../stores/process/leases.js";
import { type RegisterProcess, registerProcess } from "../../stores/process/processes.js";
import type { Runner } from "./runner.js";

/**
 * The tab that starts a process and could run it at once claims it in the same write: no other tab has to look, and none of them claims in
 * vain. Nothing depends on it. Where it does not apply, and where its claim is lost, the loops find the process.
 */
export interface HeadStart {
  /** Slots that are free and that no claim under way will take. */
  readonly free: number;
  /** Ids of processes whose claim is under way. */
  readonly claiming: string[];
  /** Processes that are there already wait for a slot: they go before what is started now. */
  heard(told: { hasBacklog: boolean }): void;
  /** Registers; where this host can run it at once it is claimed, too, and run. */
  register(register: RegisterProcess): Promise<ProcessRecord>;
}

export interface HeadStartParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly ttlMs: number;
  readonly handlers: ReadonlyMap<string, unknown>;
  readonly runner: Pick<Runner, "free" | "run">;
  /** This host, while its loop is on: without one no lease is renewed, and before its lock is held a claim says nothing of its life. */
  host(): Host | undefined;
  newNonce(): string;
}

export function createHeadStart(parts: HeadStartParts): HeadStart {
  const { corridor, clock, runner } = parts;
  const underway = new Set<{ readonly processId: string }>();
  let hasBacklog = false;
  const free = () => Math.max(0, runner.free - underway.size);

  function claimFor(input: ProcessInput): (FirstClaim & { host: Host }) | undefined {
    const handler = input.type === "session_turn" ? undefined : handlerOf(input);
    const host = parts.host();
    if (handler === undefined || !parts.handlers.has(handler) || !host) return undefined;
    hasBacklog ||= free() === 0;
    if (hasBacklog) return undefined;
    const nonce = parts.newNonce();
    return { ownerId: `${host.hostId}:${nonce.slice(0, 12)}`, ttlMs: parts.ttlMs, nonce, host };
  }

  async function take(claim: ClaimReply, bootId: string, asOfMs: number): Promise<void> {
    const isHere = parts.host()?.bootId === bootId;
    const refused = isHere ? await runner.run([claim], asOfMs) : [claim.lease.processId];
    if (refused.length > 0) await corridor.run(releaseLeases, { leases: [claim.lease] });
  }

  return {
    get free() {
      return free();
    },
    get claiming() {
      return [...underway].map(({ processId }) => processId);
    },
    heard(told) {
      hasBacklog = told.hasBacklog || (hasBacklog && free() === 0);
    },
    async register(register) {
      const { id: processId, input, size } = register.registration;
      const claim = claimFor(input);
      if (!claim) return await corridor.run(registerProcess, register, { size });
      const mine = { processId };
      underway.add(mine);
      try {
        const asOfMs = clock.monotonicMs();
        const started = await corridor.run(registerAndClaim, { register, claim }, { size });
        // It is registered, whatever becomes of its lease: that runs out, or dies with its host.
        if (started.claim) await take(started.claim, claim.host.bootId, asOfMs).catch(() => undefined);
        return started.record;
      } finally {
        underway.delete(mine);
      }
    },
  };
}
