import type { Clock } from "../../ports/clock.js";
import type { Dice } from "./dice.js";
import type { Timeline } from "./timeline.js";

/** The machine that all hosts run on: one wall clock, which may be set, under many hosts. */
export interface Machine {
  readonly timeline: Timeline;
  wallMs(): number;
  /** The latest that the wall clock ever showed. */
  readonly latestWallMs: number;
  /** The virtual time until which a fault strikes all hosts. */
  readonly troubledUntilMs: number;
  setWall(byMs: number): void;
  trouble(forMs: number): void;
}

const WALL_START_MS = 1_700_000_000_000;

export function createMachine(timeline: Timeline): Machine {
  let offsetMs = 0;
  let latestOffsetMs = 0;
  let troubledUntilMs = 0;
  const wallMs = () => WALL_START_MS + timeline.nowMs + offsetMs;
  const machine: Machine = {
    timeline,
    wallMs,
    get latestWallMs() {
      return WALL_START_MS + timeline.nowMs + latestOffsetMs;
    },
    get troubledUntilMs() {
      return troubledUntilMs;
    },
    setWall(byMs) {
      offsetMs += byMs;
      latestOffsetMs = Math.max(latestOffsetMs, offsetMs);
    },
    trouble(forMs) {
      troubledUntilMs = Math.max(troubledUntilMs, timeline.nowMs + forMs);
    },
  };
  return machine;
}

/** A fault that strikes when `left` storage awaits have passed; "cut" counts transactions, and "unheard" commits. */
export interface Trap {
  readonly kind: "crash" | "aborted" | "cut" | "unheard";
  left: number;
  /** Only commits that write to this table are counted. */
  readonly table?: string | undefined;
  spring(): void;
}

/** One life of a host, from its boot until it is gone. Nothing reaches a life that is gone; a frozen one gets all when it wakes. */
export interface Life {
  /** Host and boot: "h1.3". */
  readonly name: string;
  readonly host: string;
  readonly state: "up" | "frozen" | "gone";
  readonly dice: Dice;
  readonly clock: Clock;
  /** How slow this life's storage requests and timers are; 1 is quick. */
  slowness: number;
  isFull: boolean;
  readonly traps: Trap[];
  /** The virtual time since which no fault strikes it; in the future while one does. */
  wellSinceMs: number;
  /** The life ends in order: what it holds may go to others. */
  isLeaving: boolean;
  /** Calls `run` now, when the life wakes, or never. */
  deliver(run: () => void): void;
  after(delayMs: number, run: () => void): () => void;
  pause(delayMs: number): Promise<void>;
  freeze(): void;
  thaw(): void;
  end(): void;
  /** Calls `hear` when the life freezes or is gone. Returns the unsubscribe. */
  onInterrupted(hear: (how: "frozen" | "gone") => void): () => void;
}

export function createLife(machine: Machine, name: string, dice: Dice): Life {
  const { timeline } = machine;
  const bornMs = timeline.nowMs;
  /** Origins of monotonic time differ from tab to tab. */
  const originMs = dice.below(100_000);
  const waiting: (() => void)[] = [];
  const interrupted = new Set<(how: "frozen" | "gone") => void>();
  let state: Life["state"] = "up";

  function interrupt(how: "frozen" | "gone"): void {
    for (const hear of [...interrupted]) hear(how);
  }

  const life: Life = {
    name,
    host: name.slice(0, name.indexOf(".")),
    get state() {
      return state;
    },
    dice,
    clock: {
      now: machine.wallMs,
      monotonicMs: () => originMs + timeline.nowMs - bornMs,
      setTimer(run, delayMs) {
        let isOff = false;
        const late = life.slowness > 1 ? dice.below(100 * life.slowness) : dice.chance(0.2) ? dice.below(5) : 0;
        const cancel = timeline.after(Math.max(0, Math.ceil(delayMs)) + late, () => life.deliver(() => isOff || run()));
        return () => {
          isOff = true;
          cancel();
        };
      },
    },
    slowness: 1,
    isFull: false,
    traps: [],
    wellSinceMs: timeline.nowMs,
    isLeaving: false,
    deliver(run) {
      if (state === "up") run();
      else if (state === "frozen") waiting.push(run);
    },
    after: (delayMs, run) => timeline.after(delayMs, () => life.deliver(run)),
    pause: (delayMs) => new Promise((resolve) => life.after(delayMs, resolve)),
    freeze() {
      if (state !== "up") return;
      state = "frozen";
      interrupt("frozen");
    },
    thaw() {
      if (state !== "frozen") return;
      state = "up";
      life.wellSinceMs = Math.max(life.wellSinceMs, timeline.nowMs);
      // One task each, as a page that wakes runs them.
      for (const run of waiting.splice(0)) life.after(0, run);
    },
    end() {
      if (state === "gone") return;
      state = "gone";
      waiting.length = 0;
      interrupt("gone");
      interrupted.clear();
    },
    onInterrupted(hear) {
      interrupted.add(hear);
      return () => interrupted.delete(hear);
    },
  };
  return life;
}
