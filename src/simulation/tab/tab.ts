import type { FaultKind } from "../fault-kinds.js";
import type { Life, Trap } from "../machine/machine.js";
import type { Guest } from "./guest.js";

/** A host through all its lives: "h1" boots as "h1.1", crashes, and boots as "h1.2". */
export interface Tab {
  readonly name: string;
  readonly life: Life | undefined;
  /** Set once its kernel is open. */
  readonly guest: Guest | undefined;
  boot(): void;
  trap(trap: Omit<Trap, "spring">, backMs?: number): void;
  leave(backMs: number): void;
  freeze(forMs: number, kind?: "freeze" | "slowWake"): void;
  loseLocks(backMs: number): void;
  /** Loads its page again. */
  reload(backMs: number): void;
  /** Ends the faults that strike the tab; it is up, or will be. */
  heal(): void;
  end(): void;
}

interface TabParts {
  readonly name: string;
  newLife(boot: number): Life;
  open(life: Life, hasLocks: boolean): Promise<Guest>;
  /** Does what the app there does first. */
  startApp(guest: Guest): void;
  after(delayMs: number, run: () => void): void;
  happened(kind: FaultKind, life: Life): void;
  log(who: string, what: string): void;
  failed(error: unknown, life: Life): void;
  /** The life's kernel closed, which was asked for at `askedMs`. */
  closed(life: Life, askedMs: number, of: "leases" | "locks"): void;
  nowMs(): number;
}

const REOPEN_MS = 1_000;
const LONGEST_CLOSE_MS = 10_000;
/** Long enough for earlier calls of its app to be answered, and for their locks to be let go. */
const SETTLE_MS = 50;

export function createTab(parts: TabParts): Tab {
  const { name, log, happened } = parts;
  let life: Life | undefined;
  let guest: Guest | undefined;
  let boots = 0;
  let hasLocks = true;
  let isPlanned = false;

  function boot(): void {
    isPlanned = false;
    if (life) return;
    const born = parts.newLife(++boots);
    life = born;
    log(born.name, "boots");
    parts.open(born, hasLocks).then(
      (opened) => {
        if (life !== born) return;
        guest = opened;
        parts.startApp(opened);
      },
      (error: unknown) => {
        parts.failed(error, born);
        if (life === born) end(REOPEN_MS, "could not open");
      },
    );
  }

  /** The life is gone from this moment on. */
  function end(backMs: number, why: string): void {
    if (!life) return;
    log(life.name, why);
    const gone = life;
    life = undefined;
    guest = undefined;
    gone.end();
    if (isPlanned) return;
    isPlanned = true;
    parts.after(backMs, boot);
  }

  return {
    name,
    get life() {
      return life;
    },
    get guest() {
      return guest;
    },
    boot,
    trap(trap, backMs = 0) {
      const victim = life;
      victim?.traps.push({
        ...trap,
        spring() {
          happened("crash", victim);
          if (life === victim) end(backMs, "crashes");
        },
      });
    },
    leave(backMs) {
      const leaving = guest;
      if (!leaving || leaving.life.isLeaving || leaving.life.state !== "up") return;
      happened("leave", leaving.life);
      leaving.life.isLeaving = true;
      const askedMs = parts.nowMs();
      const over = () => {
        if (life === leaving.life) end(backMs, "has left");
      };
      // A page does not wait for ever either.
      parts.after(LONGEST_CLOSE_MS, over);
      const closed = () => {
        parts.closed(leaving.life, askedMs, "leases");
        parts.after(SETTLE_MS, () => {
          parts.closed(leaving.life, askedMs, "locks");
          over();
        });
      };
      void leaving.kernel.close().then(closed, (error: unknown) => parts.failed(error, leaving.life));
    },
    freeze(forMs, kind = "freeze") {
      const frozen = life;
      if (frozen?.state !== "up") return;
      happened(kind, frozen);
      frozen.freeze();
      parts.after(forMs, () => {
        if (frozen.state === "frozen") log(frozen.name, "thaws");
        frozen.thaw();
      });
    },
    loseLocks(backMs) {
      if (!life) return;
      happened("lockless", life);
      hasLocks = false;
      end(backMs, "is reloaded");
    },
    reload: (backMs) => end(backMs, "is reloaded"),
    heal() {
      if (!life) return;
      life.traps.length = 0;
      life.thaw();
    },
    end() {
      isPlanned = true;
      end(0, "ends");
    },
  };
}
