import type { Corridor } from "../../corridor/command.js";
import { handlerOf, type ProcessInput, type ProcessRecord } from "../../domain/process/process.js";
import type { Clock } from "../../ports/clock.js";
import type { Host } from "../../stores/host/leases.rules.js";
import { type ClaimReply, type ClaimTerms, releaseLeases } from "../../stores/process/leases.js";
import { type RegisterProcess, registerProcess } from "../../stores/process/processes.js";
import { type FirstClaim, registerAndClaim } from "../../stores/process/runs/first-claim.js";
import type { Runnable } from "./definition/define.js";
import type { LimitKeys } from "./limit-keys.js";
import type { ProcessRunner } from "./runner.js";

/**
 * The tab that starts a process and could run it at once claims it in the same write: other tabs neither look nor claim in vain.
 * Correctness does not depend on it. If there is no head start, or its claim is lost, the loops find the process.
 */
export interface HeadStart {
  /** Free slots, less one for each claim under way. */
  readonly free: number;
  /** Ids of processes whose claim is under way. */
  readonly claiming: string[];
  /** Whether older processes wait for a slot: they go before a process that is started now. */
  heard(told: { hasBacklog: boolean }): void;
  /** Registers the process; claims and runs it too, if this host can run it at once. */
  register(register: RegisterProcess): Promise<ProcessRecord>;
}

interface HeadStartParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly ttlMs: number;
  readonly handlers: ReadonlyMap<string, Runnable>;
  /** What some of the handlers declare for a claim, by name. */
  readonly terms: ReadonlyMap<string, ClaimTerms>;
  readonly runner: Pick<ProcessRunner, "free" | "run">;
  readonly limitKeys: Pick<LimitKeys, "keyOf">;
  /**
   * This host while its loop is on and its lock is held; else `undefined`. Without the loop no lease is renewed. Without the lock other
   * tabs could not see that the owner lives.
   */
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
    const ownerId = `${host.hostId}:${nonce.slice(0, 12)}`;
    return { ownerId, ttlMs: parts.ttlMs, nonce, host, terms: parts.terms.get(handler) };
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
      const { id: processId, input, size, registrationHash } = register.registration;
      const claim = claimFor(input);
      if (!claim) return await corridor.run(registerProcess, register, { size });
      const mine = { processId };
      underway.add(mine);
      try {
        const key = parts.limitKeys.keyOf({ processId, registrationHash, input });
        const limitKey = typeof key === "object" ? await key.catch(() => undefined) : key;
        // Code that the key needs cannot be loaded: the loops try again.
        if (claim.terms?.limit && limitKey === undefined) return await corridor.run(registerProcess, register, { size });
        const asOfMs = clock.monotonicMs();
        const started = await corridor.run(registerAndClaim, { register, claim: { ...claim, limitKey } }, { size });
        // The process is registered even if its run cannot begin here: its lease runs out, or is freed when the host dies.
        if (started.claim) await take(started.claim, claim.host.bootId, asOfMs).catch(() => undefined);
        return started.record;
      } finally {
        underway.delete(mine);
      }
    },
  };
}
