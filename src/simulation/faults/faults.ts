import type { FaultKind } from "../fault-kinds.js";
import type { Dice } from "../machine/dice.js";
import type { Tab } from "../tab/tab.js";

/** What faults are done to. */
export interface Victims {
  readonly tabs: readonly Tab[];
  setWall(byMs: number): void;
  sleep(forMs: number): void;
  /** Until the first of its leases is over, to the millisecond; nothing where it holds none. */
  untilExpiryMs(tab: Tab): number | undefined;
  slow(tab: Tab, factor: number, forMs: number): void;
  troubleNetwork(share: { lost?: number; doubled?: number; delayed?: number }, forMs: number): void;
  fill(tab: Tab, forMs: number): void;
  wipe(): void;
}

/** One that is planned; some strike later, at an await, and count when they do. */
export interface PlannedFault {
  readonly weight: number;
  /** Instead of the one that was drawn. */
  victim?(world: Victims, drawn: Tab): Tab | undefined;
  /** Says what is done. */
  strike(world: Victims, tab: Tab, dice: Dice): string;
}

const seconds = (ms: number) => `${ms / 1_000} s`;

/** Planned kinds; "reordered" comes with "delayed". */
export const STRIKES: Readonly<Record<Exclude<FaultKind, "reordered">, PlannedFault>> = {
  crash: {
    weight: 16,
    strike(_, tab, dice) {
      const [left, backMs] = [dice.between(1, 40), dice.pick([dice.below(500), dice.below(10_000)])];
      tab.trap({ kind: "crash", left }, backMs);
      return `crashes at its storage await no. ${left} from now, and is back ${seconds(backMs)} later`;
    },
  },
  leave: {
    weight: 6,
    strike(_, tab, dice) {
      const backMs = dice.below(10_000);
      tab.leave(backMs);
      return `closes its kernel, and is back ${seconds(backMs)} later`;
    },
  },
  freeze: {
    weight: 14,
    strike(world, tab, dice) {
      const drawnMs = dice.pick([dice.below(3_000), dice.below(12_000), dice.below(45_000)]);
      const forMs = dice.chance(0.3) ? (world.untilExpiryMs(tab) ?? drawnMs) : drawnMs;
      tab.freeze(forMs);
      return `freezes for ${seconds(forMs)}`;
    },
  },
  slowWake: {
    weight: 6,
    victim: (world, drawn) => [drawn, ...world.tabs].find((tab) => world.untilExpiryMs(tab) !== undefined),
    strike(world, tab, dice) {
      const forMs = (world.untilExpiryMs(tab) ?? 0) + dice.below(4_000);
      const [factor, slowMs] = [dice.between(5, 30), dice.below(10_000)];
      tab.freeze(forMs, "slowWake");
      world.slow(tab, factor, forMs + slowMs);
      return `freezes for ${seconds(forMs)}, and is ${factor} times slower for ${seconds(slowMs)} then`;
    },
  },
  sleep: {
    weight: 2,
    strike(world, _, dice) {
      const forMs = dice.pick([dice.below(4_000), dice.below(8_000), dice.below(40_000)]);
      world.sleep(forMs);
      return `and all others sleep for ${seconds(forMs)}`;
    },
  },
  slow: {
    weight: 6,
    strike(world, tab, dice) {
      const [factor, forMs] = [dice.between(2, 30), dice.below(10_000)];
      world.slow(tab, factor, forMs);
      return `is ${factor} times slower for ${seconds(forMs)}`;
    },
  },
  clockForward: {
    weight: 4,
    strike(world, _, dice) {
      const byMs = dice.pick([dice.below(1_000), dice.below(8_000), dice.below(60_000)]);
      world.setWall(byMs);
      return `sees the wall clock go ${seconds(byMs)} forward`;
    },
  },
  clockBack: {
    weight: 4,
    strike(world, _, dice) {
      const byMs = dice.pick([dice.below(1_000), dice.below(8_000), dice.below(30_000)]);
      world.setWall(-byMs);
      return `sees the wall clock go ${seconds(byMs)} back`;
    },
  },
  lost: {
    weight: 4,
    strike(world, _, dice) {
      const [lost, forMs] = [dice.pick([0.2, 0.6, 1]), dice.below(15_000)];
      world.troubleNetwork({ lost }, forMs);
      return `and all others lose ${lost * 100} % of their messages for ${seconds(forMs)}`;
    },
  },
  doubled: {
    weight: 2,
    strike(world, _, dice) {
      const forMs = dice.below(15_000);
      world.troubleNetwork({ doubled: 0.5 }, forMs);
      return `and all others hear half of their messages twice for ${seconds(forMs)}`;
    },
  },
  delayed: {
    weight: 4,
    strike(world, _, dice) {
      const forMs = dice.below(15_000);
      world.troubleNetwork({ delayed: 0.5 }, forMs);
      return `and all others hear half of their messages late for ${seconds(forMs)}`;
    },
  },
  aborted: {
    weight: 10,
    strike(_, tab, dice) {
      const left = dice.between(1, 40);
      tab.trap({ kind: "aborted", left });
      return `has a transaction aborted at its storage await no. ${left} from now`;
    },
  },
  quota: {
    weight: 4,
    strike(world, tab, dice) {
      const forMs = dice.below(8_000);
      world.fill(tab, forMs);
      return `has no space left for ${seconds(forMs)}`;
    },
  },
  cut: {
    weight: 6,
    strike(_, tab, dice) {
      const left = dice.between(1, 20);
      tab.trap({ kind: "cut", left });
      return `loses its connection at its transaction no. ${left} from now`;
    },
  },
  unheard: {
    weight: 8,
    strike(_, tab, dice) {
      const [first, count] = [dice.between(1, 4), dice.pick([1, 1, 2, 3])];
      // Among events are those that no key makes harmless to repeat.
      const table = dice.chance(0.7) ? "events" : undefined;
      for (let at = 0; at < count; at++) tab.trap({ kind: "unheard", left: first + at, table });
      const which = `its commit no. ${first} from now${count > 1 ? ` and the next ${count - 1}` : ""}`;
      return `loses its connection under ${which}${table ? ", of those that store an event" : ""}`;
    },
  },
  wiped: {
    weight: 1,
    strike(world) {
      world.wipe();
      return "sees the database deleted";
    },
  },
  lockless: {
    weight: 2,
    strike(_, tab, dice) {
      const backMs = dice.below(3_000);
      tab.loseLocks(backMs);
      return "is reloaded without Web Locks";
    },
  },
};
