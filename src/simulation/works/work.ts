import type { Ledger } from "../judge/ledger.js";
import type { Dice } from "../machine/dice.js";
import type { Life } from "../machine/machine.js";
import type { Guest } from "../tab/guest.js";

/** What the apps of all hosts know together. */
export interface Commons {
  readonly dice: Dice;
  readonly processes: string[];
  /** Processes that sleep and wait for signals. */
  readonly flows: string[];
  /** Ids of schedules that may be there. */
  readonly schedules: Set<string>;
  readonly inputs: { sessionId: string; inputId: string }[];
  /** Handlers no longer fail, hang or die by chance. */
  isCalm: boolean;
  latestWallMs(): number;
  /** A host that is up, maybe the same. */
  anyGuest(dice: Dice): Guest | undefined;
  /** The host dies at its next storage await: what it runs kills its tab. */
  kill(life: Life): void;
}

export const SESSIONS = ["s0", "s1"] as const;

/** One kind of work: how often it is drawn, and what it does. */
export interface Work {
  readonly weight: number;
  work(guest: Guest, commons: Commons, dice: Dice, number: number): { told: string; done: Promise<void> };
}

/** Runs a call: every failure is looked at, and none ends the world. */
export async function runCall(
  ledger: Ledger,
  call: string,
  work: () => Promise<void>,
  more: Parameters<Ledger["failed"]>[2] = [],
): Promise<void> {
  try {
    await work();
  } catch (error) {
    ledger.failed(call, error, more);
  }
}
