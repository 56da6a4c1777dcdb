import type { Ledger } from "../judge/ledger.js";
import type { Dice } from "../machine/dice.js";
import type { Life } from "../machine/machine.js";
import type { Guest } from "../tab/guest.js";

/** What all hosts' apps know together. */
export interface Commons {
  readonly dice: Dice;
  readonly processes: string[];
  readonly inputs: { sessionId: string; inputId: string }[];
  /** All is to go well from now on. */
  isCalm: boolean;
  latestWallMs(): number;
  /** Another host that is up, or the same. */
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

/** Every failure of a call is looked at; none ends the world. */
export async function told(
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
