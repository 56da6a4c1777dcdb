import type { FaultKind } from "../fault-kinds.js";
import type { Life, Machine } from "../machine/machine.js";
import { LONGEST_DELAY_MS, type Network } from "../machine/network.js";
import type { Tab } from "../tab/tab.js";
import type { Victims } from "./faults.js";

interface VictimsParts {
  readonly machine: Machine;
  readonly network: Network;
  readonly tabs: readonly Tab[];
  /** When the leases that the life holds are over, by the wall clock. */
  expiriesOf(life: Life): readonly number[];
  /** Messages may be lost or late until `untilMs`. */
  networkTrouble(untilMs: number): void;
  /** Deletes the database, and what is known of it. */
  wipe(): void;
  happened(kind: FaultKind, life?: Life): void;
  log(who: string, what: string): void;
}

/** The time between two tabs that are loaded again. */
const RELOAD_MS = 400;

export function createVictims(parts: VictimsParts): Victims {
  const { machine, network, tabs, happened } = parts;
  const { timeline } = machine;
  return {
    tabs,
    setWall: machine.setWall,
    sleep(forMs) {
      machine.trouble(forMs);
      happened("sleep");
      const lives = tabs.flatMap(({ life }) => (life?.state === "up" ? [life] : []));
      for (const life of lives) life.freeze();
      timeline.after(forMs, () => {
        for (const life of lives) life.thaw();
        parts.log("all", "wake");
      });
    },
    untilExpiryMs({ life }) {
      const soonest = life ? Math.min(...parts.expiriesOf(life)) - machine.wallMs() : Number.NaN;
      return soonest > 0 && Number.isFinite(soonest) ? soonest : undefined;
    },
    slow({ life }, factor, forMs) {
      if (!life) return;
      // The last request of the slow life is slow to its end.
      machine.trouble(forMs + LONGEST_DELAY_MS);
      life.slowness = factor;
      timeline.after(forMs, () => {
        life.slowness = 1;
      });
    },
    troubleNetwork(shares, forMs) {
      Object.assign(network.faults, shares);
      parts.networkTrouble(timeline.nowMs + forMs);
      timeline.after(forMs, () => {
        for (const kind of Object.keys(shares)) Object.assign(network.faults, { [kind]: 0 });
      });
    },
    fill({ life }, forMs) {
      if (!life) return;
      life.isFull = true;
      life.wellSinceMs = timeline.nowMs + forMs;
      timeline.after(forMs, () => {
        life.isFull = false;
      });
    },
    wipe() {
      machine.trouble(0);
      happened("wiped");
      parts.wipe();
      for (const [at, tab] of tabs.entries()) tab.reload(at * RELOAD_MS);
    },
  };
}
